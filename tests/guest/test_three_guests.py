"""Three guests as one encryptor, small mode, against one of three processes (A4, A5, A6, F1, F3, F6, F10)."""

import hashlib
import itertools
import os
import signal
import subprocess
import time

import pytest
from needs import need
from three_guests import (
    BACK,
    CARD,
    DISK,
    ENTROPY,
    HOST_BRIDGE,
    ISA_BRIDGE,
    PORTS,
    RING,
    Console,
    back,
    devices,
    finds,
    restarted,
    status_of,
)

from wgpy.lab.encryptors import MARKER, ROOMS, WEB, Node, Pair
from wgpy.lab.guests import GuestNode
from wgpy.lab.leaks import Heartbeat, Wiretap, speak_openly
from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import fetch, file_server, iperf3, ping

pytestmark = [pytest.mark.netns, pytest.mark.slow]
INITIATION = 1
REKEY_AFTER = 120  # s
FILE = (MARKER + bytes(1000 - len(MARKER))) * 2000


@pytest.fixture(scope="module")
def pair(built, tmp_path_factory):
    need("qemu-system-x86_64", "mkfs.ext4", "debugfs", "e2fsck", "iperf3", "nft")
    made = Pair(tmp_path_factory.mktemp("guests"), kinds=(GuestNode, Node))
    made.a.images = built.folder
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def tap(pair):
    """Of whatever a test does, nothing protected is seen in clear on black's wires (F10)."""
    with Wiretap(pair) as wires:
        yield wires
    assert not wires.leaks() and not wires.missed


def test_traffic_of_every_kind_passes(pair, tap, tmp_path):
    """The first packet brings up the session. Also the control of the search: what may be seen is found."""
    assert ping(pair.a.host, pair.b.address, count=1, wait=60).lost == 0
    assert ping(pair.b.host, pair.a.address, count=20, wait=60).lost == 0
    for options in ({}, {"reverse": True}):
        assert iperf3(pair.b.host, pair.a.host, pair.b.address, megabytes=4, **options).bits_per_second > 0
    (tmp_path / "file").write_bytes(content := FILE + os.urandom(1000))
    for node, other in (pair.nodes, pair.nodes[::-1]):
        with file_server(other.host, tmp_path, other.address) as netloc:
            assert fetch(node.host, netloc, "/file", timeout=120).sha256 == hashlib.sha256(content).hexdigest()
    assert ping(pair.a.host, WEB, count=3, wait=60).lost == 0
    speak_openly(pair, WEB)
    wait_until(tap.in_clear, 60, "what may leave in clear is found by its marker")


def test_crypto_sees_its_rings_its_console_and_its_disk(pair):
    assert devices(pair.a, "crypto") == sorted([HOST_BRIDGE, ISA_BRIDGE, PORTS, ENTROPY, DISK, RING, RING])
    for room in ("black", "red"):
        assert devices(pair.a, room) == sorted([HOST_BRIDGE, ISA_BRIDGE, ENTROPY, RING, CARD, CARD])


def test_a_qemu_has_a_user_of_its_own_and_no_way_to_anything(pair):
    users = {room: status_of(pair.a, room)["Uid"].split() for room in ROOMS}
    assert len({uids[0] for uids in users.values()}) == 3
    for room in ROOMS:
        facts, pid = status_of(pair.a, room), pair.a.pid_here(room)
        assert set(facts["Uid"].split()) == {users[room][0]} != {"0"} and facts["Seccomp"] == "2"
        assert {int(facts[f"Cap{which}"], 16) for which in ("Prm", "Eff", "Inh", "Amb")} == {0} and facts["NoNewPrivs"] == "1"
        links = pair.a.box.run("nsenter", f"--net=/proc/{pair.a.pid(room)}/ns/net", "ip", "-br", "link").stdout.split("\n")
        assert [line.split()[0] for line in links if line] == ["lo"]
        words = open(f"/proc/{pid}/cmdline").read() + open(f"/proc/{pid}/environ").read()
        assert pair.a.passphrase not in words


def test_no_key_is_in_the_whole_memory_of_black_and_red(pair):
    """F6: whoever has root in a guest can read no more than that. Crypto's has them: the search finds."""
    secrets = {"private key": pair.a.private, "pre-shared key": pair.a.psk, "passphrase": pair.a.passphrase.encode()}
    for room in ("black", "red"):
        assert finds(pair.a.pid_here(room), secrets) == set()
    assert finds(pair.a.pid_here("crypto"), secrets) >= {"private key", "pre-shared key"}


def test_nothing_protected_is_in_black(pair):
    """Its memory held all traffic between the sites, sealed."""
    assert finds(pair.a.pid_here("black"), {"cleartext": MARKER}) == set()
    assert finds(pair.a.pid_here("red"), {"cleartext": MARKER}) == {"cleartext"}


def test_the_session_is_renewed_at_its_age(pair, tap):
    """At 120 s, without a packet lost to it (F1)."""
    with Heartbeat(pair) as heart:
        heart.wait(BACK)
        began = time.monotonic()
        wait_until(lambda: tap.frames(INITIATION), REKEY_AFTER + 60, "an initiation")
        heart.wait(BACK, time.monotonic())
        assert heart.outage(began) < 10


@pytest.mark.parametrize("room", ROOMS)
def test_a_guest_is_killed_under_traffic(pair, tap, room):
    with Heartbeat(pair) as heart:
        heart.wait(BACK)
        restarted(pair.a, room, signal.SIGKILL)
        back(heart)
    assert all(pair.a.guest(other)["state"] == "ready" for other in ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_guest_stands_still_for_a_while(pair, tap, room):
    with Heartbeat(pair) as heart:
        heart.wait(BACK)
        pair.a.signal(room, signal.SIGSTOP)
        wait_until(lambda: not heart.beats(time.monotonic() - 2), 60, "nothing passes it by")
        pair.a.signal(room, signal.SIGCONT)
        back(heart)


def test_every_order_of_booting(pair, tap):
    """Each guest is ready before the next may run."""
    with Heartbeat(pair) as heart:
        for order in itertools.permutations(ROOMS):
            heart.wait(BACK)
            before = {room: pair.a.guest(room)["restarts"] for room in ROOMS}
            for room in ROOMS:
                pair.a.signal(room, signal.SIGKILL)
            for room in ROOMS:
                pair.a.wait_for(room, "starting", since=before[room] + 1)
            for room in order[1:]:
                pair.a.signal(room, signal.SIGSTOP)
            for room in order:
                pair.a.signal(room, signal.SIGCONT)
                pair.a.back(room, before[room] + 1)
            back(heart)
    assert tap.frames(4)


def test_a_wrong_passphrase_is_asked_for_again(pair, tap):
    before = pair.a.guest("crypto")["restarts"]
    pair.a.signal("crypto", signal.SIGKILL)
    pair.a.wait_for("crypto", "asking", since=before + 1)
    with Console(pair.a) as console:
        console.type("not this one")
        console.wait("wrong|does not open")
        assert pair.a.guest("crypto")["state"] == "asking"
        console.type(pair.a.passphrase)
    pair.a.wait_for("crypto", "ready", since=before + 1)
    assert ping(pair.a.host, pair.b.address, count=5, wait=60).times


def test_a_crypto_that_is_told_to_end_comes_back(pair, tap):
    """Its disk as it was."""
    restarted(pair.a, "crypto", signal.SIGTERM)
    with Heartbeat(pair) as heart:
        back(heart)


def test_down_leaves_nothing(pair):
    pids = [pair.a.pid_here(room) for room in ROOMS]
    pair.a.stop()
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
    links = {line.split("@")[0].split()[0] for line in pair.a.box.ip("-br", "link").splitlines()}
    assert {"wan0", "lan0"} <= links <= {"lo", "wan0", "lan0"}
    assert not pair.a.console.exists() and pair.a.box.ip("netns") == ""


def test_a_full_disk_stops_changes_and_nothing_else(pair, tmp_path):
    """Filled while the node was down."""
    fill = tmp_path / "fill"
    fill.write_bytes(os.urandom(1 << 20) * 64)
    disk = pair.a.state / "crypto.ext4"
    for command in (["e2fsck", "-fp", disk], ["debugfs", "-w", "-R", f"write {fill} fill", disk], ["e2fsck", "-fy", disk]):
        assert subprocess.run(command, capture_output=True).returncode in (0, 1)
    pair.a.start()
    assert ping(pair.a.host, pair.b.address, count=5, wait=60).times
    with Console(pair.a) as console:
        for number in range(40):  # the trail's last block takes some lines yet
            console.type(f"keys psk other{number} new")
            if "error" in (said := console.wait(r"(?m)^(ok|error: .*)\r?$")):
                break
        assert "No space left on device" in said
        console.type("keys list")
        assert f"other{number}" not in console.wait(r"(?m)^ok\r?$"), "what was refused was not done"
        console.type("status")
        assert "the audit trail cannot be written" in console.wait(r"(?m)^ok\r?$")
    assert ping(pair.a.host, pair.b.address, count=5, wait=60).times
