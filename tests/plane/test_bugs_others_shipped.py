"""The packet-path half of "Bugs others shipped" in the protocol notes, a test a line."""
import threading
import time

import pytest
from harness import HOME, START, Node, header, outgoing, pair, session
from packets import ip4, packed

from wgpy._fast.plane import Plane
from wgpy._fast.ports import MemoryPort, Pump
from wgpy.notices import Endpoint


def test_nonce_counter_is_64_bits_wide():
    a, b = pair()
    a.plane.set_counter(a.slot, 2**32 + 5)
    (datagram,) = a.seal(outgoing())
    assert header(datagram)[2] == 2**32 + 5
    assert b.open(datagram) == [outgoing()]
    a.plane.set_counter(a.slot, 5)
    assert b.open(*a.seal(outgoing())) == [], "counter 5 is far behind the window"
    assert b.dropped()["replayed"] == 1


def test_message_limit_ends_the_keypair():
    a, _ = pair()
    a.plane.set_counter(a.slot, 2**64 - 2**13 - 2)
    (last,) = a.seal(outgoing())
    assert header(last)[2] == 2**64 - 2**13 - 2
    assert a.seal(outgoing()) == []
    assert a.plane.stats(a.slot).staged == 1 and a.noticed() & 1, "staged, and a key asked for"


def test_overlapping_allowed_ip_lets_no_peer_spoof_another():
    a, b = pair()
    mallory = b.plane.add_peer()
    b.plane.allow(mallory, packed("10.0.0.0"), 24)  # holds 10.0.0.1/32, which is a's
    assert b.open(*a.seal(outgoing())) == [outgoing()], "the longer prefix stays a's"
    spoofed = ip4("10.0.0.77", "10.0.0.2", b"x")
    assert b.open(*a.seal(spoofed)) == []
    assert b.dropped()["wrong_source"] == 1
    b.plane.allow(mallory, packed("10.0.0.1"), 32)  # moves the prefix
    assert b.open(*a.seal(outgoing())) == []
    assert b.dropped()["wrong_source"] == 2


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 1391, 1399, 1400])
def test_packets_are_padded_to_16_but_not_beyond_the_mtu(length):
    a, b = pair()
    packet = outgoing(bytes(length))
    (datagram,) = a.seal(packet)
    inner = len(datagram) - 32
    assert inner == min((len(packet) + 15) // 16 * 16, 1420)
    assert b.open(datagram) == [packet], "the receiver trims by the IP header"


def test_replay_window_is_larger_than_1024():
    a, b = pair()
    burst = [datagram for _ in range(9) for datagram in a.seal(*[outgoing()] * 900)]
    assert len(burst) == 8100
    assert b.open(burst[-1]) and b.open(burst[0]), "8,099 behind is still inside 8192 - 64"
    assert b.open(burst[0]) == []
    assert b.dropped() == {"replayed": 1}


def test_a_replay_or_forgery_moves_no_endpoint():
    a, b = pair()
    (datagram,) = a.seal(outgoing())
    assert b.open(datagram)
    elsewhere = Endpoint("198.51.100.9", 9)
    forged = datagram[:-1] + bytes([datagram[-1] ^ 1])
    assert b.open(datagram, forged, source=elsewhere) == []
    assert b.plane.endpoint(b.slot) == HOME


def test_endpoint_follows_data_and_not_only_initiations():
    a, b = pair()
    elsewhere = Endpoint("198.51.100.9", 4242, "192.0.2.99", 7)
    assert b.open(*a.seal(outgoing()), source=elsewhere)
    assert b.plane.endpoint(b.slot) == elsewhere
    assert b.noticed() & 64


def test_a_peer_can_be_removed_while_its_packets_are_in_flight():
    """F10: structure changes under full load on both pumps; nothing crashes, nothing
    is delivered for a peer that is gone."""
    plane = Plane()
    source, sink = MemoryPort(repeat=True), MemoryPort(discard=True)
    for last in range(1, 9):
        assert source.put(ip4("10.0.0.1", f"10.0.1.{last}", bytes(1300)))
    pump = Pump(source, plane.seal_stage(), sink)
    thread = threading.Thread(target=pump.run, daemon=True)
    thread.start()
    try:
        rounds = 0
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (
                rounds >= 100 and sink.stats()["packets_out"] and pump.drops()["no_peer"]):
            slots = [plane.add_peer() for _ in range(8)]
            for i, slot in enumerate(slots, 1):
                plane.set_endpoint(slot, HOME)
                plane.allow(slot, packed(f"10.0.1.{i}"), 32)
                plane.install(slot, local_index=rounds * 8 + i, remote_index=i, send_key=bytes(32),
                              receive_key=bytes(32), initiator=True, now=time.clock_gettime_ns(time.CLOCK_BOOTTIME))
            for slot in slots:
                plane.remove_peer(slot)
            rounds += 1
    finally:
        pump.stop()
        thread.join(60)
    assert not thread.is_alive() and rounds >= 100
    assert sink.stats()["packets_out"] > 0, "some packets were sealed while their peer was there"
    assert pump.drops()["no_peer"] > 0, "and some came when it was not"


def test_memory_does_not_grow_with_load():
    def resident() -> int:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * 4096

    a, b = pair()
    burst = [outgoing(bytes(1300))] * 500
    for _ in range(20):
        b.open(*a.seal(*burst))
    before = resident()
    for _ in range(60):
        assert len(b.open(*a.seal(*burst))) == 500
    assert resident() - before < 2 << 20


def test_staged_memory_comes_back():
    a = Node("10.0.0.2")
    for _ in range(40):
        a.seal(*[outgoing(bytes(1300))] * 200)
        assert a.plane.stats(a.slot).staged == 128
        assert a.plane.purge(a.slot) == 128
    assert a.dropped()["staged_oldest"] == 40 * 72
    assert "staged_pool" not in a.dropped()


def test_both_ends_survive_a_session_that_is_replaced_under_traffic():
    a, b = pair()
    for index in range(2, 60):
        session(a, b, index=index, confirm=False)
        assert b.open(*a.seal(outgoing())) == [outgoing()]
        assert a.plane.live_indices(a.slot)[-1:] and len(b.plane.live_indices(b.slot)) <= 2
    assert START and b.dropped() == {}
