"""A tunnel that has no socket says so: to whoever asked for it, and to whoever looks. What
served before goes on, and the next valid `set`, or time, heals it."""

import json
import socket
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from wgpy.lab.netns import Netns, wait_until
from wgpy.lab.traffic import ping
from wgpy.lab.tunnel import private_key, public_key
from wgpy.lab.two_sites import INSIDE4, TwoSites

pytestmark = pytest.mark.netns
WGPY = str(Path(sys.executable).with_name("wgpy"))
IN_USE = "Address already in use"


@contextmanager
def taken(host, port, family=socket.AF_INET):
    with host.entered():
        s = socket.socket(family, socket.SOCK_DGRAM)
    with s:
        s.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
        yield s


@pytest.fixture
def sites():
    with TwoSites("wgpyd", both_endpoints=True) as sites:
        yield sites


def shown(host, name="wg0"):
    return json.loads(host.run(WGPY, "show", name, "--json").stdout)[name]


def refused(host, *arguments):
    done = host.run("wg", "set", "wg0", *arguments, check=False)
    assert done.returncode and IN_USE in done.stderr, done


def test_a_port_in_use_is_refused_and_the_old_one_serves_on(sites):
    host = sites.a.host
    for family in (socket.AF_INET, socket.AF_INET6):
        with taken(host, 7000, family):
            refused(host, "listen-port", "7000")
            refused(host, "listen-port", "7000", "fwmark", "5")
        assert shown(host)["listen_port"] == sites.a.port and shown(host)["fwmark"] == 0
        assert ping(host, INSIDE4[1]).lost == 0


def test_a_port_in_use_is_refused_while_the_link_is_down(sites):
    host = sites.a.host
    host.ip("link", "set", "wg0", "down")
    wait_until(lambda: not shown(host)["up"], 20, "down")
    assert shown(host)["not_listening"] == "the interface is down"
    with taken(host, 7000):
        refused(host, "listen-port", "7000")
        assert host.run("wg", "show", "wg0", "listen-port").stdout.strip() == str(sites.a.port)
    sites.a.wg("set", "listen-port", "7000")
    host.ip("link", "set", "wg0", "up")
    wait_until(lambda: shown(host)["up"], 20, "up")
    assert shown(host)["not_listening"] is None and host.udp_open(7000)


@contextmanager
def up_without_port(sites):
    """The link comes up while another has its port."""
    host = sites.a.host
    host.ip("link", "set", "wg0", "down")
    wait_until(lambda: not shown(host)["up"], 20, "down")
    with taken(host, sites.a.port) as other:
        host.ip("link", "set", "wg0", "up")
        reason = f"UDP port {sites.a.port}: {IN_USE}"
        wait_until(lambda: shown(host)["not_listening"] == reason, 20, "the reason")
        assert not shown(host)["up"]
        assert f"not listening: {reason}" in host.run(WGPY, "show", "wg0").stdout
        yield other


def test_a_link_that_comes_up_without_its_port_heals_when_the_port_is_free(sites):
    with up_without_port(sites):
        pass
    wait_until(lambda: shown(sites.a.host)["up"], 60, "the port is tried again")
    assert sites.a.log().count("not listening") == 1, "said once, not with every try"
    assert ping(sites.a.host, INSIDE4[1]).lost == 0


def test_a_link_without_its_port_heals_by_set(sites):
    with up_without_port(sites):
        refused(sites.a.host, "listen-port", str(sites.a.port))
        sites.a.wg("set", "peer", sites.b.public_key, "persistent-keepalive", "0")
        assert shown(sites.a.host)["not_listening"], "a set of something else is no failure of that"
        sites.a.wg("set", "listen-port", "7001")
        assert sites.a.host.udp_open(7001) and shown(sites.a.host)["up"], "at once"
        assert ping(sites.a.host, INSIDE4[1]).lost == 0


def test_any_set_tries_again(sites):
    with up_without_port(sites) as other:
        other.close()
        sites.a.wg("set", "peer", sites.b.public_key, "persistent-keepalive", "0")
        assert shown(sites.a.host)["up"] and sites.a.host.udp_open(sites.a.port)


@pytest.mark.parametrize("mark", [0x80000000, 0xFFFFFFFF, 7])
def test_a_mark_has_32_bits(sites, mark):
    host = sites.a.host
    sites.a.wg("set", "fwmark", hex(mark))
    assert ping(host, INSIDE4[1]).lost == 0
    host.run("nft", "add table inet t; add chain inet t o { type filter hook output priority 0; }; "
             f"add rule inet t o udp dport {sites.b.port} meta mark != {mark:#x} drop")
    for way in ("down", "up"):
        host.ip("link", "set", "wg0", way)
        wait_until(lambda way=way: shown(host)["up"] == (way == "up"), 20, way)
    host.ip("route", "replace", f"{INSIDE4[1]}/32", "dev", "wg0")
    assert ping(host, INSIDE4[1]).lost == 0, "also of sockets that are opened with it"
    assert int(sites.a.wg("show", "fwmark"), 0) == mark


def test_up_with_a_port_in_use_fails_and_leaves_nothing(tmp_path):
    path = tmp_path / "q0.conf"
    path.write_text(f"[Interface]\nPrivateKey = {private_key()}\nAddress = 10.9.0.1/24\nListenPort = 7000\n"
                    f"[Peer]\nPublicKey = {public_key(private_key())}\nAllowedIPs = 0.0.0.0/0\n")
    path.chmod(0o600)
    state = (["ip", "link"], ["ip", "rule"], ["ip", "route", "show", "table", "all"], ["nft", "list", "ruleset"],
             ["ls", "/run/wireguard"])
    with Netns("host") as host:
        before = [host.settle().run(*c, check=False).stdout for c in state[:-1]]
        with taken(host, 7000):
            done = host.run(WGPY, "up", path, check=False)
        assert done.returncode == 1 and f"UDP port 7000: {IN_USE}" in done.stderr
        assert [host.run(*c, check=False).stdout for c in state[:-1]] == before
        assert host.run(*state[-1]).stdout == ""
        host.run(WGPY, "up", path)
        assert host.udp_open(7000)
