"""Clauses about the life of a session (paper, section 6.2; F1)."""

from sim.network import Link, pair, sent_by
from sim.node import SECOND, SUITE, ipv4

from wgpy.notices import CONFIRMED, REKEY_RECEIVE
from wgpy.protocol import effects as fx
from wgpy.protocol.device import Reason

A_TO_B = ipv4("10.0.0.1", "10.0.0.2")
B_TO_A = ipv4("10.0.0.2", "10.0.0.1")


def traffic(net, sender, packet, seconds, every=1.0):
    end = net.mono + int(seconds * SECOND)
    while net.mono < end:
        net.send(sender, packet)
        net.run(every)


def test_the_initiator_renews_the_session_when_it_sends_after_120_s():
    """F1"""
    net, a, b = pair()
    start = net.mono
    traffic(net, a, A_TO_B, 130, every=0.5)
    first, second = sent_by(net, a, 1)
    born = start + 2 * net.link.delay
    assert first == start and 120 * SECOND <= second - born <= 121 * SECOND


def test_the_responder_does_not_renew_at_120_s():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    traffic(net, b, B_TO_A, 155)
    assert sent_by(net, b, 1) == []


def test_an_idle_session_is_not_renewed():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1000)
    assert len(sent_by(net, a, 1)) == 1 and sent_by(net, b, 1) == []


def test_a_keepalive_sent_after_120_s_renews_too():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(125)
    net.send(b, B_TO_A)       # a's passive keepalive 10 s later is what it sends
    net.run(12)
    assert len(sent_by(net, a, 1)) == 2


def test_the_initiator_renews_on_receiving_at_165_s_once():
    net, a, b = pair()
    start = net.mono
    net.send(a, A_TO_B)
    net.run(164)
    a_initiations = len(sent_by(net, a, 1))
    net.send(b, B_TO_A)
    net.run(0.5)
    assert len(sent_by(net, a, 1)) == a_initiations
    net.run(1)
    net.link.loss = 0.0
    net.send(b, B_TO_A)
    net.run(0.5)
    assert len(sent_by(net, a, 1)) == a_initiations + 1
    assert sent_by(net, a, 1)[-1] - start >= 165 * SECOND


def test_a_late_notice_about_the_old_session_does_not_renew_the_new_one():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(10)
    a.run(a.device.notice(b.public, REKEY_RECEIVE, net.now(a)), net.now(a))
    assert len(a.events("handshake_sent")) == 1


def test_the_responder_does_not_renew_on_receiving_at_165_s():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(166)
    net.link.loss = 1.0      # a's own renewal must not hide the clause
    b.plane.open(a.plane.seal(A_TO_B, net.mono)[0].datagram, a.where, net.mono)
    assert not any(bits & REKEY_RECEIVE for _, bits, _ in b.plane.notices())


def test_no_packet_is_sent_or_accepted_with_a_session_of_180_s():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    born = a.births[next(iter(a.births))]
    late, = a.plane.seal(A_TO_B, born + 180 * SECOND - 1)
    assert a.plane.seal(A_TO_B, born + 180 * SECOND) == []
    b_born = b.births[next(iter(b.births))]
    assert b.plane.open(late.datagram, a.where, b_born + 180 * SECOND) == []
    assert b.plane.drops()["expired_key"] == 1
    assert b.plane.open(late.datagram, a.where, b_born + 180 * SECOND - 1) == [A_TO_B]


def test_keypairs_are_wiped_180_s_after_their_birth_without_any_traffic():
    """F1: a stolen memory image of later holds no key of then."""
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    keypair = a.plane._peers[0].keys.current
    assert any(keypair.send_key) and any(keypair.receive_key)
    net.run_until(max(*a.births.values(), *b.births.values()) + 180 * SECOND)
    assert keypair.send_key == keypair.receive_key == bytes(SUITE.key_size)
    assert a.plane.live_indices(0) == b.plane.live_indices(0) == []
    assert len(a.device.indices) == len(b.device.indices) == 0


def test_an_unconfirmed_session_is_wiped_after_180_s_too():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(0.015)
    net.link.loss = 1.0
    assert b.plane.live_indices(0)
    net.run(181)
    assert b.plane.live_indices(0) == []


def test_a_plane_that_finds_a_keypair_too_young_is_asked_again():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    a.plane._peers[0].keys.current.birth += 300_000_000
    net.run(182)
    assert a.plane.live_indices(0) == [] and len(a.device.indices) == 0


def test_all_keys_are_wiped_540_s_after_the_last_session():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(0.1)
    born = a.births[next(iter(a.births))]
    net.run(600)
    assert [t for t, _ in a.effects(fx.WipeKeypairs, since=born)] == [born + 540 * SECOND]


def test_all_keys_are_wiped_540_s_after_giving_up():
    net, a, b = pair(link=Link(loss=1.0))
    start = net.mono
    net.send(a, A_TO_B)
    net.run(100)
    given_up, = a.events("handshake_given_up")
    net.run(700)
    assert [t for t, _ in a.effects(fx.WipeKeypairs, since=start)] == [given_up + 540 * SECOND]


def test_a_new_session_puts_the_540_s_off():
    net, a, b = pair()
    start = net.mono
    traffic(net, a, A_TO_B, 600)
    assert a.effects(fx.WipeKeypairs, since=start) == []


def test_the_initiators_new_keypair_sends_at_once_and_the_old_still_receives():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    old = a.plane._peers[0].keys.current
    late, = b.plane.seal(B_TO_A, net.mono)
    net.run(120)
    net.send(a, A_TO_B)
    net.run(1)
    keys = a.plane._peers[0].keys
    assert keys.current is not old and keys.previous is old
    a.arrive(late.datagram, b.where, net.now(a))
    assert a.received == [B_TO_A]


def test_the_responders_new_keypair_waits_for_the_first_packet():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(0.015)
    keys = b.plane._peers[0].keys
    assert keys.current is None and keys.next is not None
    net.send(b, B_TO_A)
    assert b.plane.stats(0).staged == 1 and b.device.peers[a.public].last_handshake == 0
    net.run(0.02)
    assert keys.current is not None and keys.next is None
    assert a.received == [] and b.plane.stats(0).staged == 0
    net.run(0.02)
    assert a.received == [B_TO_A] and b.device.peers[a.public].last_handshake


def test_last_handshake_is_wall_time_on_both_sides():
    net, a, b = pair()
    assert a.device.peers[b.public].last_handshake == 0
    net.send(a, A_TO_B)
    net.run(1)
    for node, peer in ((a, b), (b, a)):
        age = net.now(node).wall - node.device.peers[peer.public].last_handshake
        assert 0 < age < SECOND


def test_deadlines_come_with_their_reason_and_an_idle_device_has_none():
    net, a, b = pair(link=Link(loss=1.0))
    assert a.device.deadline() is None
    net.send(a, A_TO_B)
    at, peer, reason = a.device.deadline()
    assert peer == b.public and reason is Reason.RETRANSMIT and at > net.mono
    net.run(2000)
    assert a.device.deadline() is None


def test_a_spurious_confirmed_notice_for_an_unknown_peer_is_nothing():
    net, a, b = pair()
    assert a.device.notice(b"?" * 32, CONFIRMED, net.now(a)) == []


def test_interface_down_forgets_sessions_handshakes_and_waiting_packets():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    a.stop(net.now(a))
    assert a.plane.live_indices(0) == [] and len(a.device.indices) == 0
    assert a.device.deadline() is None
    net.send(b, B_TO_A)
    net.run(1)
    assert a.received == []


def test_interface_up_again_may_start_a_handshake_within_5_s():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    a.stop(net.now(a))
    a.start(net.now(a))
    net.send(a, A_TO_B)
    net.run(1)
    assert len(b.received) == 2


def test_a_packet_that_waits_while_the_private_key_is_missing_goes_when_it_comes():
    net, a, b = pair()
    a.run(a.device.set_private_key(None, net.now(a)), net.now(a))
    assert a.device.public_key is None
    net.send(a, A_TO_B)
    net.run(10)
    assert net.datagrams == []
    a.run(a.device.set_private_key(a.private, net.now(a)), net.now(a))
    net.carry(a)
    net.run(1)
    assert b.received == [A_TO_B]
