"""Two encryptors of three rooms each with each of the example suites: they carry TCP and UDP, have a
new session every 120 s, come back when crypto is killed, and move. F8, F1, F4, F10."""

import os
import signal
import time
from contextlib import ExitStack

import pytest

import examples
from wgpy.lab.encryptors import Pair
from wgpy.lab.netns import wait_until
from wgpy.lab.suites import loaded
from wgpy.lab.traffic import iperf3, one_way, ping, pinging
from wgpy.lab.wire import Capture

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
# initiation, response, overhead of data: of the sizes in the READMEs, by the sum in wgpy_suite.h
LENGTHS = {"p384-aes256gcm-sha384": (294, 173, 32), "sm2-sm4ccm-sm3": (182, 125, 32)}
REKEY_AFTER_TIME = 120


@pytest.fixture(scope="module", params=examples.NAMES)
def pair(request, tmp_path_factory):
    with loaded(str(examples.library(request.param))) as library:
        made = Pair(tmp_path_factory.mktemp(request.param), library=library)
        made.suite = request.param
        made.a.write_site([made.b], dhcp=True)
        with made:
            wait_until(lambda: ping(made.a.host, made.b.address).lost == 0, 60, "traffic")
            yield made


def flows(pair) -> bool:
    return ping(pair.a.host, pair.b.address, count=1).lost == 0


def test_it_carries_tcp_and_udp_both_ways(pair):
    for node, other in ((pair.a, pair.b), (pair.b, pair.a)):
        assert iperf3(other.host, node.host, other.address, seconds=1).bits_per_second > 0
        with one_way(node.host, other.host, other.address) as arrived:
            wait_until(lambda: len(arrived) > 10, 60, "datagrams")


def test_a_killed_crypto_room_shakes_hands_in_messages_of_the_suite(pair):
    with Capture(pair.internet, f"to-{pair.b.name}", snap=2048) as wire:
        pair.a.signal("crypto", signal.SIGKILL)
        wait_until(lambda: flows(pair), 60, "traffic again")
    initiation, response, _ = LENGTHS[pair.suite]
    # several at once are one train on the wire
    assert {len(f.payload) % initiation for f in wire.frames(1)} == {len(f.payload) % response for f in wire.frames(2)} == {0}


def test_it_moves_under_traffic(pair):
    with Capture(pair.internet, f"to-{pair.b.name}") as wire, pinging(pair.a.host, pair.b.address, interval=0.05) as there:
        time.sleep(1)
        homeless = pair.a.lease(pair.a.away) / 0.05
        time.sleep(1)
    assert there[0].sent > 5 and there[0].lost <= 2 + homeless
    assert not wire.frames(1, 2, 3), "nothing is negotiated anew"


def test_status_names_the_suite(pair):
    assert pair.suite in pair.a.command("status", "--json").stdout


@pytest.mark.slow
@pytest.mark.long
def test_a_new_session_every_120_seconds(tmp_path):
    with ExitStack() as stack:
        pairs, wires, counts = [], [], []
        for name in examples.NAMES:
            library = stack.enter_context(loaded(str(examples.library(name))))
            (tmp_path / name).mkdir()
            pairs.append(stack.enter_context(Pair(tmp_path / name, library=library)))
            wait_until(lambda: flows(pairs[-1]), 60, "traffic")
        for pair in pairs:
            wires.append(stack.enter_context(Capture(pair.internet, f"to-{pair.b.name}")))
            counts.append(stack.enter_context(pinging(pair.a.host, pair.b.address, interval=0.5)))
        time.sleep(REKEY_AFTER_TIME + 15)
    for wire, count in zip(wires, counts):
        assert len(wire.frames(1)) == len(wire.frames(2)) == 1
        assert count[0].sent > 200 and count[0].lost <= 1
        assert len(wire.indices(outgoing=True)) == 2
