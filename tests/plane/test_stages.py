"""What the seal and open stages promise, packet by packet (F1, F7, F10)."""
import struct

import pytest
from harness import HOME, SECOND, START, Node, header, outgoing, pair, session
from packets import ip4, ip6, packed

from wgpy._fast.plane import Plane
from wgpy.errors import WgpyError
from wgpy.notices import CONFIRMED, DATA_RECEIVED, DATA_SENT, KEY_NEEDED, REKEY_RECEIVE, REKEY_SEND, Endpoint


def test_every_flipped_bit_is_dropped_and_counted():
    """F7, over the whole of a transport message."""
    a, b = pair()
    (datagram,) = a.seal(outgoing(b"secret"))
    bits = len(datagram) * 8
    for bit in range(bits):
        forged = bytearray(datagram)
        forged[bit // 8] ^= 1 << bit % 8
        assert b.open(bytes(forged)) == []
    dropped = b.dropped()
    assert sum(dropped.values()) == bits
    assert set(dropped) <= {"malformed_message", "unknown_index", "bad_tag", "replayed"}
    assert b.open(datagram) == [outgoing(b"secret")], "and the window is untouched"


def test_transport_header_and_counter():
    a, _ = pair()
    first, second = a.seal(outgoing(), outgoing())
    assert header(first)[:2] == (4, 0x2001)
    assert header(second)[2] == header(first)[2] + 1


def test_order_is_kept_within_a_train_and_across_trains():
    a, b = pair()
    packets = [outgoing(struct.pack("!I", i) + bytes(i % 700)) for i in range(700)]
    assert b.open(*a.seal(*packets)) == packets


def test_ipv6_inside():
    a, b = Node("2001:db8::2", 128), Node("2001:db8::1", 128)
    session(a, b)
    packet = ip6("2001:db8::1", "2001:db8::2", b"hello")
    assert b.open(*a.seal(packet)) == [packet]


@pytest.mark.parametrize("age, alive", [(179, True), (180, False), (200, False)])
def test_no_session_outlives_180_seconds(age, alive):
    """F1, in both directions: neither sealed with nor opened under an old key."""
    a, b = pair()
    late = START + age * SECOND
    (datagram,) = a.seal(outgoing(), now=START)
    assert bool(b.open(datagram, now=late)) is alive
    assert bool(a.seal(outgoing(), now=late)) is alive
    assert b.dropped().get("expired_key", 0) == (not alive)
    assert a.plane.stats(a.slot).staged == (not alive)


def test_expire_and_wipe_leave_no_keypair():
    a, _ = pair()
    a.plane.expire(a.slot, START + 179 * SECOND)
    assert a.plane.live_indices(a.slot) == [0x1001]
    a.plane.expire(a.slot, START + 180 * SECOND)
    assert a.plane.live_indices(a.slot) == []
    session(a, Node(), index=3, confirm=False)
    a.plane.wipe(a.slot)
    assert a.plane.live_indices(a.slot) == []


def test_install_expire_and_wipe_answer_which_indices_are_free():
    """Rotation as the responder and as the initiator; a promotion frees none and says its own."""
    a, b = pair()
    keys = {"remote_index": 8, "send_key": b"s" * 32, "receive_key": b"r" * 32}
    install = lambda index, initiator, age=0: sorted(b.plane.install(
        b.slot, local_index=index, initiator=initiator, now=START + age * SECOND, **keys))
    assert install(1, True) == []                # current, 0x2001 previous
    assert install(2, False) == [0x2001]         # next
    assert install(3, False) == [2]              # next
    assert install(4, True, 60) == [1]           # current, 3 previous
    session(a, b, index=5, confirm=False)        # next
    assert sorted(b.plane.live_indices(b.slot)) == [4, 0x2005]
    a.plane.keepalive(a.slot)
    assert b.open(*a.seal()) == []
    (slot, bits, promoted), = b.plane.notices()
    assert slot == b.slot and bits & CONFIRMED and promoted == 0x2005
    assert sorted(b.plane.live_indices(b.slot)) == [4, 0x2005] and b.plane.notices() == []
    assert b.plane.expire(b.slot, START + 180 * SECOND) == [0x2005]
    assert b.plane.wipe(b.slot) == [4] and b.plane.wipe(b.slot) == []


def test_initiator_is_told_to_rekey_at_120_s_and_the_responder_is_not():
    a, b = pair()
    a.seal(outgoing(), now=START + 119 * SECOND)
    assert not a.noticed() & REKEY_SEND
    a.seal(outgoing(), now=START + 120 * SECOND)
    assert a.noticed() & REKEY_SEND
    b.seal(ip4("10.0.0.2", "10.0.0.1"), now=START + 150 * SECOND)
    assert not b.noticed() & REKEY_SEND


def test_receiving_initiator_is_told_to_rekey_once_at_165_s():
    a, b = pair()
    for age, expected in ((164, False), (165, True), (170, False)):
        now = START + age * SECOND
        a.open(*b.seal(ip4("10.0.0.2", "10.0.0.1", b"x"), now=now), now=now)
        assert bool(a.noticed() & REKEY_RECEIVE) is expected
    now = START + 166 * SECOND
    b.open(*a.seal(outgoing(), now=now), now=now)
    assert not b.noticed() & REKEY_RECEIVE


def test_responder_waits_for_the_first_packet_to_confirm():
    a, b = Node("10.0.0.2"), Node("10.0.0.1")
    session(a, b, confirm=False)
    assert b.seal(ip4("10.0.0.2", "10.0.0.1", b"early")) == []
    assert b.noticed() & KEY_NEEDED
    b.open(*a.seal(outgoing()))
    assert b.noticed() & CONFIRMED
    (staged,) = b.seal()
    assert a.open(staged) == [ip4("10.0.0.2", "10.0.0.1", b"early")]


def test_old_packets_open_under_the_previous_keypair():
    a, b = pair()
    (old,) = a.seal(outgoing(b"old"))
    session(a, b, index=2)
    assert b.open(old) == [outgoing(b"old")]
    session(a, b, index=3)
    assert b.open(*a.seal(outgoing(b"new"))) == [outgoing(b"new")]
    (older,) = pair()[0].seal(outgoing())
    assert b.open(older) == [] and b.dropped()["unknown_index"] == 1


def test_staged_packets_leave_first_and_in_order():
    a, b = Node("10.0.0.2"), Node("10.0.0.1")
    staged = [outgoing(bytes([i]) * (1 + i * 30)) for i in range(40)]
    assert a.seal(*staged) == [] and a.noticed() & KEY_NEEDED
    session(a, b, confirm=False)
    a.plane.flush(a.slot)
    assert b.open(*a.seal(outgoing(b"last"))) == [*staged, outgoing(b"last")]


def test_a_full_staged_queue_drops_its_oldest():
    a, b = Node("10.0.0.2"), Node("10.0.0.1")
    packets = [outgoing(struct.pack("!I", i)) for i in range(130)]
    a.seal(*packets)
    session(a, b, confirm=False)
    a.plane.flush(a.slot)
    assert b.open(*a.seal()) == packets[2:]
    assert a.dropped() == {"staged_oldest": 2}


def test_large_packets_survive_staging():
    a, b = Node("10.0.0.2"), Node("10.0.0.1")
    packet = outgoing(bytes(i % 251 for i in range(8900)))
    a.seal(packet)
    session(a, b, confirm=False)
    a.plane.flush(a.slot)
    assert b.open(*a.seal()) == [packet]


def test_key_is_asked_for_once_and_again_after_a_purge():
    a = Node()
    a.seal(outgoing())
    assert a.noticed() == KEY_NEEDED
    a.seal(outgoing(), now=START + SECOND)
    assert a.noticed() == 0
    assert a.plane.purge(a.slot) == 2
    a.seal(outgoing(), now=START + 2 * SECOND)
    assert a.noticed() == KEY_NEEDED


def test_keepalive_asks_for_a_key_when_there_is_none():
    a = Node()
    a.plane.keepalive(a.slot)
    assert a.seal() == [] and a.noticed() == KEY_NEEDED


def test_keepalive_is_32_bytes_and_reaches_no_tun():
    a, b = pair()
    a.plane.keepalive(a.slot)
    (datagram,) = a.seal()
    assert len(datagram) == 32
    assert b.open(datagram) == [] and b.dropped() == {}
    assert b.plane.activity(b.slot).last_received == START


def test_activity_feeds_the_lazy_timers():
    a, b = pair()
    later = START + 3 * SECOND
    b.open(*a.seal(outgoing(), now=later), now=later)
    assert a.noticed() & DATA_SENT and b.noticed() & DATA_RECEIVED
    assert a.plane.activity(a.slot).unanswered_since == later
    assert b.plane.activity(b.slot).unacknowledged_since == later
    b.plane.keepalive(b.slot)
    answer = later + SECOND
    a.open(*b.seal(now=answer), now=answer)
    assert a.plane.activity(a.slot).unanswered_since == 0
    assert b.plane.activity(b.slot).unacknowledged_since == 0
    a.seal(outgoing(), now=answer)
    assert not a.noticed() & DATA_SENT, "raised once until rearmed"
    a.plane.rearm(a.slot, DATA_SENT)
    assert a.noticed() & DATA_SENT, "the condition held when it was rearmed"


def test_traffic_is_counted_as_wg_show_counts():
    a, b = pair()
    base_tx, base_rx = a.plane.stats(a.slot).tx_bytes, b.plane.stats(b.slot).rx_bytes
    (datagram,) = a.seal(outgoing(bytes(100)))
    b.open(datagram)
    assert a.plane.stats(a.slot).tx_bytes - base_tx == len(datagram)
    assert b.plane.stats(b.slot).rx_bytes - base_rx == len(datagram)


@pytest.mark.parametrize("inner, outer, result", [
    (0, 0, 0), (2, 2, 2), (1, 1, 1), (2, 3, 3), (1, 3, 3), (0, 3, None), (3, 0, 3), (2, 1, 1), (1, 2, 1)])
def test_ecn_is_decapsulated_by_rfc_6040(inner, outer, result):
    """But a packet that cannot carry CE is delivered, as by the kernel and wireguard-go, and counted."""
    a, b = pair()
    got = b.open(*a.seal(outgoing(tos=0xB8 | inner)), tos=outer)
    if result is None:
        assert got == [outgoing(tos=0xB8 | inner)] and b.dropped() == {"ecn_lost": 1}
    else:
        assert got == [outgoing(tos=0xB8 | result)], "DSCP kept, checksum right"


def test_outer_ds_field_copies_ecn_and_not_dscp():
    a, _ = pair()
    assert a.tun_in.put(outgoing(tos=0xB8 | 2))
    a.seal_pump.step(START)
    ((_, _, tos),) = a.udp_out.take()
    assert tos == 2


def test_inner_length_beyond_the_decrypted_bytes_is_dropped():
    a, b = pair()
    lying = bytearray(outgoing(bytes(32)))
    lying[2:4] = struct.pack("!H", 2000)
    lying_plain = bytes(lying)
    assert a.seal(lying_plain) == [] and a.dropped() == {"malformed_ip": 1}


@pytest.mark.parametrize("junk", [b"", b"\0", b"\x45", b"\x00" * 20, b"\x45" + b"\0" * 18, b"\x65" + b"\0" * 38,
                                  b"\x41" + b"\0" * 30])
def test_tun_junk_is_a_counted_drop(junk):
    a, _ = pair()
    assert a.seal(junk) == []
    assert a.dropped() == {"malformed_ip": 1}


@pytest.mark.parametrize("junk", [b"", b"\1", b"\4\0\0\0", b"\4" + bytes(30), b"\1" + bytes(146), b"\1" + bytes(148),
                                  b"\2" + bytes(90), b"\3" + bytes(64), b"\5" + bytes(100), b"\4\0\1\0" + bytes(60),
                                  bytes(2000)])
def test_malformed_datagrams_are_counted_drops(junk):
    a, _ = pair()
    assert a.open(junk) == [] and a.plane.handshakes() == []
    assert a.dropped() == {"malformed_message": 1}


def test_handshake_datagrams_leave_through_the_seal_pump():
    a, _ = pair()
    a.plane.send(b"x" * 148, slot=a.slot)
    a.plane.send(b"y" * 64, endpoint=Endpoint("2001:db8::9", 99))
    a.seal_pump.step(START)
    (first, to, tos), (second, other, _) = a.udp_out.take()
    assert (first, to, tos) == (b"x" * 148, HOME, 0x88)
    assert (second, other[:2]) == (b"y" * 64, ("2001:db8::9", 99))


def test_no_peer_and_no_endpoint_are_answered_with_icmp_unreachable():
    a, _ = pair()
    assert a.seal(ip4("10.0.0.1", "10.9.9.9", bytes(100))) == []
    (answer,) = a.open()
    assert answer[9] == 1 and answer[20:22] == b"\3\1" and answer[16:20] == packed("10.0.0.1")
    a.plane.set_endpoint(a.slot, None)
    assert a.seal(outgoing()) == [] and len(a.open()) == 1
    assert a.dropped() == {"no_peer": 1, "no_endpoint": 1}


def test_peers_run_out_with_a_clear_error_and_slots_come_back():
    plane = Plane(max_peers=2)
    first = plane.add_peer()
    plane.add_peer()
    with pytest.raises(WgpyError, match="2 peers"):
        plane.add_peer()
    plane.remove_peer(first)
    assert plane.add_peer() == first
    with pytest.raises(KeyError):
        plane.stats(5)


def test_a_reused_slot_inherits_nothing():
    a, b = pair()
    (datagram,) = b.seal(ip4("10.0.0.2", "10.0.0.1", b"for the old peer"))
    a.plane.remove_peer(a.slot)
    assert a.plane.add_peer() == a.slot
    assert a.open(datagram) == [] and a.dropped() == {"unknown_index": 1}
    assert a.plane.endpoint(a.slot) is None and a.slot not in a.plane.prefixes()
    assert a.plane.stats(a.slot) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("bad", [dict(aead="rot13"), dict(queues=0), dict(queues=17), dict(max_peers=0)])
def test_bad_plane_options_are_refused(bad):
    with pytest.raises(ValueError):
        Plane(**bad)


def test_bad_keys_and_endpoints_are_refused():
    a = Node()
    with pytest.raises(ValueError):
        a.plane.install(a.slot, local_index=1, remote_index=1, send_key=b"short", receive_key=bytes(32),
                        initiator=True, now=0)
    for endpoint in (Endpoint("example.org", 1), Endpoint("10.0.0.1", 70000), Endpoint("10.0.0", 1)):
        with pytest.raises(ValueError):
            a.plane.set_endpoint(a.slot, endpoint)
    with pytest.raises(ValueError):
        a.plane.allow(a.slot, packed("10.0.0.0"), 33)


def test_an_endpoint_from_the_source_port_is_no_peers():
    """What red writes beside a packet must not choose where its datagram goes."""
    a, _ = pair()
    assert a.tun_in.put(outgoing(), Endpoint("198.51.100.66", 6))
    a.seal_pump.step(START)
    ((_, to, _),) = a.udp_out.take()
    assert to == HOME
