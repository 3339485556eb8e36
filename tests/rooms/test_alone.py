"""Rooms that run alone carry traffic, come back, and say in one line what is wrong (A6)."""

import os
import re
import signal
from pathlib import Path

import pytest
from rooms.alone import all_ready, flows, gone, start_all, two
from rooms.nodes import ROOMS, WEB
from rooms.test_traffic import fetched, serving

from wgpy.isolate import start
from wgpy.lab.internet import WAN
from wgpy.lab.netns import Netns, wait_until
from wgpy.lab.traffic import ping

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    with two(tmp_path_factory.mktemp("alone")) as (a, b, internet):
        start_all(a, b)
        all_ready(a, b)
        flows(a, b)
        yield a, b, internet


def test_two_nodes_of_rooms_without_a_supervisor_carry_ping_and_tcp(alone):
    a, b, _ = alone
    assert ping(a.host, b.address).lost == ping(b.host, a.address).lost == 0
    for node, other in ((a, b), (b, a)):
        with serving(other.host, other.address):
            assert fetched(node.host, other.address)


def test_the_internet_is_beside_the_tunnel(alone):
    a, _, internet = alone
    with serving(internet, WEB):
        assert fetched(a.host, WEB)


def test_nothing_but_memory_is_between_the_rooms(alone):
    a, _, _ = alone
    for room in ROOMS:
        status = Path(f"/proc/{a.jailed(room)}/status").read_text()
        assert "Seccomp:\t2" in status and re.search(r"CapBnd:\t0+$", status, re.MULTILINE)
        assert f"Uid:\t{70000 + 10 + ROOMS.index(room)}\t" in status
    links = a.ns["crypto"].run("ip", "-br", "link").stdout.split("\n")
    assert [line.split()[0] for line in links if line] == ["lo"]


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("what", ["room", "guest"])
def test_a_room_or_its_guest_that_is_killed_comes_back_and_traffic_with_it(alone, room, what):
    """A guest's host boots it again; a room is started again by its guest."""
    a, b, _ = alone
    flows(a, b)
    times = a.log(room).count(": ready")
    if what == "room":
        os.kill(a.jailed(room), signal.SIGKILL)
        a.ready(room, times + 1)
    else:
        a.stop(room, signal.SIGKILL)
        a.start(room)
        a.ready(room)
    flows(a, b)
    assert ping(b.host, a.address).lost == 0


def test_a_link_that_is_taken_down_comes_back_with_its_routes(alone):
    a, b, _ = alone
    a.ns["black"].ip("link", "set", WAN, "down")
    flows(a, b)


def test_a_guest_that_is_told_to_end_takes_its_room_along(alone):
    a, b, _ = alone
    pid = b.jailed("red")
    b.stop("red", signal.SIGTERM)
    wait_until(lambda: gone(pid), 60, "its room's end")
    assert ping(a.host, b.address, count=1, wait=1).lost == 1
    b.start("red")
    b.ready("red")
    flows(a, b)


@pytest.mark.parametrize("change, said", [
    (('"file:', '"pigeon:'), "neither uio:"), (("file:/", "file:/nowhere/"), "No such file"),
    (("[rings]", "[rings]\nother = 'x'"), "rings.other: is not known here"), (("room = ", "rom = "), "rom: is not known here"),
    (("site = ", "site = '/nowhere' # "), "/nowhere: "), (("uid = ", "uid = 0 # "), "uid: has to be"),
    (("[rings]", "["), "at line"), (("raw = ", "credential = "), "keys: has to be either raw or store"),
    (("raw = ", "store = "), "there has to be a console"), (("[rings]", "[console]\ntty = 1\n[rings]"), "console.tty: has to be a text"),
    (("[rings]", "[state]\ndir = '/nowhere'\n[rings]"), "state: /nowhere: No such file"),
    (("raw = ", "raw = '/nowhere' # "), "/nowhere: No such file")])
def test_bad_room_files_are_one_line(alone, tmp_path, change, said):
    a, _, _ = alone
    file = tmp_path / "room.toml"
    file.write_text((a.directory / "a-crypto.toml").read_text().replace(*change))
    with Netns("elsewhere") as ns:
        done = ns.run(*start.python("wgpy.guest.main", file), check=False)
    assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
