"""What ip(8) says about lines that it could not carry out, and what is made of it."""

import subprocess

import pytest

from wgpy.admin.faults import Fault
from wgpy.errors import HostError
from wgpy.node import ip_lines
from wgpy.node.ip_lines import Line

# as iproute2 6.1 wrote it
REFUSED = """Error: Nexthop has invalid gateway.
Command failed -:3
Warning: about a line that did not fail
RTNETLINK answers: No route to host
Command failed -:7
Cannot find device "nope"
Command failed -:9
"""
ENDED = """Error: mtu less than device minimum.
Command failed -:1
Error: No link layer address given.
"""


def test_reasons_are_given_to_their_lines():
    assert ip_lines.parse(REFUSED) == (
        {3: "Nexthop has invalid gateway", 7: "No route to host", 9: 'Cannot find device "nope"'}, "no reason given")
    assert ip_lines.parse(ENDED) == ({1: "mtu less than device minimum"}, "No link layer address given")
    assert ip_lines.parse("") == ({}, "no reason given")
    assert ip_lines.parse("Command failed -:1\n")[0] == {1: "no reason given"}
    assert ip_lines.parse("Command failed -:x\nError: " + "y" * 500) == ({}, "y" * 200)


class Ip:
    """Stands in for ip: `refuses` and goes on, or `ends` at lines with one of these words."""

    def __init__(self, refuses=(), ends=()):
        self.refuses, self.ends, self.tried, self.started = refuses, ends, [], 0

    def __call__(self, *command, text):
        assert command == ("ip", "-force", "-batch", "-")
        self.started += 1
        out, said = "", ""
        for number, line in enumerate(text.splitlines(), 1):
            if line == "link show dev lo":
                out += "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536\n    link/loopback 00:00:00:00:00:00\n"
                continue
            self.tried.append(line)
            if any(word in line.split() for word in self.ends):
                return subprocess.CompletedProcess(command, 2, out, said + f"Error: ended at {line}.\n")
            if any(word in line.split() for word in self.refuses):
                said += f"Error: refused {line}.\nCommand failed -:{number}\n"
        return subprocess.CompletedProcess(command, bool(said), out, said)


@pytest.fixture
def ip(monkeypatch):
    def stands_in(**how):
        fake = Ip(**how)
        monkeypatch.setattr(ip_lines, "run", fake)
        return fake
    return stands_in


def test_a_line_at_which_ip_ends_does_not_hide_the_others(ip):
    fake = ip(refuses=["b", "e"], ends=["c"])
    assert ip_lines.failures(["a", "b", "c", "d", "e", "f"]) == {
        "b": "refused b", "c": "ended at c", "e": "refused e"}
    assert fake.tried == ["a", "b", "c", "d", "e", "f"] and fake.started == 2
    assert ip_lines.failures([]) == {} and fake.started == 2


def test_an_ip_that_always_ends_is_given_up(ip):
    fake = ip(ends=["x"])
    with pytest.raises(HostError, match="again and again: ended at x 31"):
        ip_lines.failures([f"x {n}" for n in range(100)])
    assert fake.started == 32


def test_the_other_way_is_tried_where_the_first_is_not_known(ip):
    lines = [Line("neigh a managed", "neigh a none", needed=False), Line("neigh b managed", "neigh b none"), Line("route c")]
    fake = ip(ends=["managed"])
    assert ip_lines.faults("red", lines) == [] and fake.tried[-2:] == ["neigh a none", "neigh b none"]
    ip(ends=["managed"], refuses=["b", "c"])
    assert ip_lines.faults("red", lines) == [
        Fault("red", "neigh b managed", "ended at neigh b managed", True), Fault("red", "route c", "refused route c", True)]
    assert str(ip_lines.faults("red", lines)[1]) == "red: route c: refused route c"


def test_no_ip_at_all(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostError, match="ip is missing: apt-get install iproute2"):
        ip_lines.failures(["link show"])
