"""A room is taken over altogether: what its intruder can and cannot do (F2, F6, F10).
Each proof is a row of docs/threat-model.md."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
from rooms.nodes import MARKER, ROOMS, WEB

from wgpy.lab.traffic import ping
from wgpy.lab.wire import Capture

pytestmark = pytest.mark.netns
PROGRAM = Path(__file__).with_name("takeover.py")
REFUSED = {"EPERM", "EACCES"}


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def in_box(pid):
    """A process as its node's box numbers it."""
    return status_of(pid)["NSpid"].split()[1]


@pytest.fixture(scope="module")
def taken(both_modes):
    """(pair, room -> attempt -> outcome, room -> packets seen outside meanwhile)"""
    a = both_modes.a
    assert ping(a.host, both_modes.b.address, wait=60).lost == 0
    everybody = {room: a.pid(room) for room in ROOMS}
    addresses = (a.address, both_modes.b.address, WEB, a.inner, "169.254.77.1", "169.254.77.2")
    outcomes, seen = {}, {}
    for room, pid in everybody.items():
        others = [p for p in everybody.values() if p != pid]
        parents = [int(status_of(p)["PPid"]) for p in everybody.values()]
        victims = ",".join(in_box(p) for p in [*others, *parents, a.process.pid])
        with Capture(both_modes.internet, "to-a") as wan, Capture(a.host) as lan:
            done = a.box.run(sys.executable, "-E", "-s", PROGRAM, in_box(pid), victims, *addresses, timeout=300)
        outcomes[room] = json.loads(done.stdout)
        seen[room] = [p.payload for c in (wan, lan) for p in c._seen]
    return both_modes, outcomes, seen


@pytest.mark.parametrize("room", ROOMS)
def test_no_other_process_can_be_read_or_changed(taken, room):
    pair, outcomes, _ = taken
    attempts = {k: v for k, v in outcomes[room].items() if k[0].isdigit()}
    assert len(attempts) == 6 * 10 and set(attempts.values()) <= REFUSED, attempts


def test_whoever_is_not_in_a_room_can(taken):
    """So that the attempts above could have succeeded."""
    os.close(os.open(f"/proc/{taken[0].a.pid('crypto')}/mem", os.O_RDONLY))


@pytest.mark.parametrize("room", ROOMS)
def test_no_other_process_is_seen(taken, room):
    """1 is the room itself, the others are the intruder's own three."""
    assert len(json.loads(taken[1][room]["numbers seen"])) <= 4


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_is_there_and_none_can_be_made(taken, room):
    outcome = taken[1][room]
    assert outcome["files"] == "[]"
    assert outcome["write a file"] == outcome["mknod"] == "EROFS"
    assert outcome["mount proc"] == outcome["mount tmpfs and proc"] == "EPERM"


@pytest.mark.parametrize("room", ROOMS)
def test_interfaces_and_firewall_are_out_of_reach(taken, room):
    outcome = taken[1][room]
    assert outcome["raise every link"] == '["EPERM"]'
    for attempt in ("make a link", "packet socket", "raw socket", "delete firewall"):
        assert outcome[attempt] == "EPERM", attempt
    assert outcome["make a link where the room hears"] == f"{int(room == 'black')} sockets, 0 links made"


@pytest.mark.parametrize("room", ROOMS)
def test_rings_of_others_are_not_there_and_the_neighbours_half_is_read_only(taken, room):
    rings = {k: v for k, v in taken[1][room].items() if "-p " in k or "-c " in k or "-l " in k}
    neighbour = {"black": "crypto", "red": "crypto"}
    names = {k.split(" ")[0] for k in rings}
    if room in neighbour:
        assert names == {f"{a}-{b}-{half}" for a, b in ((room, "crypto"), ("crypto", room)) for half in "pc"} | {f"{room}-l"}
    for attempt, outcome in rings.items():
        if attempt.endswith("own: map writable"):
            assert outcome == "done", attempt
        else:
            assert outcome in REFUSED | {"EBADF", "EINVAL"}, attempt


def test_crypto_has_no_interface_and_no_address_can_be_reached(taken):
    outcome = taken[1]["crypto"]
    assert outcome["links up"] == "[]"
    reached = {v for k, v in outcome.items() if k.startswith(("tcp ", "udp "))}
    assert reached == {"ENETUNREACH"}


@pytest.mark.parametrize("room", ROOMS)
def test_the_other_outer_network_cannot_be_reached(taken, room):
    pair, outcomes, seen = taken
    reached = {k: v for k, v in outcomes[room].items() if k.startswith(("tcp ", "udp "))}
    assert len(reached) == 12 and "done" not in reached.values(), reached
    assert not [p for p in seen[room] if MARKER in p]
    links = set(json.loads(outcomes[room]["links up"]))
    between = {"clear0"} if pair.a.mode == "small" else set()
    assert links == {"black": {"wan0"} | between, "red": {"lan0", "secure0"} | between, "crypto": set()}[room]


@pytest.mark.parametrize("room", ROOMS)
def test_every_thread_is_locked(taken, room):
    """What the intruder above had on top: the room itself has no capability, a filter on
    its system calls, no new privileges and no core dump, in each of its threads."""
    pid = taken[0].a.pid(room)
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    assert len(threads) >= 3
    for thread in threads:
        status = status_of(f"{pid}/task/{thread.name}")
        assert {status[f"Cap{s}"] for s in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
        assert len(set(status["Uid"].split())) == 1 and int(status["Uid"].split()[0]) > 65535
        assert not status["Groups"].strip()
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.M)
    if room == "crypto":
        assert int(status_of(pid)["VmLck"].split()[0]) > int(status_of(pid)["RssAnon"].split()[0])


def test_room_users_differ(taken):
    assert len({status_of(taken[0].a.pid(room))["Uid"] for room in ROOMS}) == 3
