"""Clauses about our own initiations (paper, sections 6.1, 6.4 and 6.5). Constants are
retyped from the paper."""

import pytest
from sim.network import Link, keepalives_by, pair, sent_by
from sim.node import SECOND, ipv4

from wgpy.protocol import effects as fx

A_TO_B = ipv4("10.0.0.1", "10.0.0.2")
B_TO_A = ipv4("10.0.0.2", "10.0.0.1")
REKEY_TIMEOUT = 5 * SECOND
JITTER = 334_000_000
DEAD = Link(loss=1.0)


def test_a_packet_without_a_session_sends_an_initiation_at_once():
    net, a, _ = pair()
    net.send(a, A_TO_B)
    assert sent_by(net, a, 1) == [net.mono]


def test_packets_while_a_handshake_is_in_flight_send_no_other_initiation():
    net, a, _ = pair(link=DEAD)
    for _ in range(40):
        net.send(a, A_TO_B)
        net.run(0.1)
    assert len(sent_by(net, a, 1)) == 1


def test_an_initiation_is_retransmitted_after_5_s_plus_at_most_334_ms_of_jitter():
    net, a, _ = pair(link=DEAD)
    net.send(a, A_TO_B)
    net.run(60)
    times = sent_by(net, a, 1)
    gaps = [y - x for x, y in zip(times, times[1:])]
    assert len(gaps) >= 10
    assert all(REKEY_TIMEOUT <= g <= REKEY_TIMEOUT + JITTER for g in gaps)


def test_jitter_differs_between_retransmissions():
    net, a, _ = pair(link=DEAD)
    net.send(a, A_TO_B)
    net.run(60)
    times = sent_by(net, a, 1)
    assert len({y - x for x, y in zip(times, times[1:])}) > 5


def test_a_retransmission_is_a_new_initiation_with_a_later_timestamp_and_a_new_index():
    net, a, b = pair(link=DEAD)
    net.send(a, A_TO_B)
    net.run(12)
    bodies = [d for _, n, d in net.datagrams if n == "a"]
    assert len({d[4:8] for d in bodies}) == 3 and len({d[8:40] for d in bodies}) == 3
    for d in bodies:  # in order: each is accepted as newer than the one before
        net.mono += SECOND
        b.arrive(d, a.where, net.now(b))
    assert b.device.rejects["replay"] == 0 and len(b.effects(fx.InstallKeypair)) == 3


def test_retransmission_clears_the_sticky_source_the_first_send_does_not():
    net, a, _ = pair(link=DEAD)
    net.send(a, A_TO_B)
    assert a.effects(fx.ClearSource) == []
    net.run(5.4)
    assert len(a.effects(fx.ClearSource)) == 1


def test_after_90_s_the_handshake_is_given_up_and_waiting_packets_are_dropped():
    net, a, _ = pair(link=DEAD)
    start = net.mono
    net.send(a, A_TO_B)
    net.run(89.9)
    assert a.events("handshake_given_up") == [] and a.plane.stats(0).staged == 1
    net.run(6.2)
    given_up, = a.events("handshake_given_up")
    assert 90 * SECOND <= given_up - start <= 90 * SECOND + 18 * JITTER
    assert len(sent_by(net, a, 1)) == 18
    assert a.plane.stats(0).staged == 0 and a.plane.drops()["staged_purged"] == 1
    assert len(a.device.indices) == 0


def test_after_giving_up_nothing_is_sent_until_there_is_a_new_packet():
    net, a, _ = pair(link=DEAD)
    net.send(a, A_TO_B)
    net.run(100)
    count = len(net.datagrams)
    net.run(3600)
    assert len(net.datagrams) == count
    net.send(a, A_TO_B)
    assert len(net.datagrams) == count + 1 and net.datagrams[-1][2][0] == 1


def test_a_packet_during_the_attempt_gives_it_another_90_s():
    """Paper 6.4: the attempt counter starts anew when a packet is to be sent."""
    net, a, _ = pair(link=DEAD)
    start = net.mono
    net.send(a, A_TO_B)
    net.run(60)
    net.send(a, A_TO_B)
    net.run(60)
    assert a.events("handshake_given_up") == []
    net.run(60)
    assert a.events("handshake_given_up")[0] - start >= 150 * SECOND - JITTER


def test_at_most_one_initiation_in_5_s_also_after_having_sent_a_response():
    """b answers a, but a's confirmation is lost; b's own packet waits for the rest of
    the 5 s and is then sent for."""
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(0.015)
    net.link.loss = 1.0
    response, = sent_by(net, b, 2)
    net.send(b, B_TO_A)
    net.run(1)
    assert sent_by(net, b, 1) == []
    net.link.loss = 0.0
    net.run(5)
    assert sent_by(net, b, 1) == [response + REKEY_TIMEOUT]
    assert a.received == [B_TO_A]


def test_a_remembered_initiation_is_forgotten_when_the_peers_handshake_is_confirmed():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(0.015)
    net.send(b, B_TO_A)
    net.run(30)
    assert sent_by(net, b, 1) == [] and a.received == [B_TO_A]


def test_a_retransmission_waits_for_5_s_after_a_response_too():
    net, a, b = pair(link=DEAD)
    net.send(b, B_TO_A)
    net.run(3)
    net.link.loss = 0.0
    net.send(a, A_TO_B)      # a's initiation reaches b, whose response is lost
    net.run(0.015)
    net.link.loss = 1.0
    response, = sent_by(net, b, 2)
    net.run(7)
    assert sent_by(net, b, 1)[1] >= response + REKEY_TIMEOUT


def test_a_response_is_accepted_however_late():
    net, a, b = pair(link=Link(delay=2_400_000_000))
    net.send(a, A_TO_B)
    net.run(10)
    assert b.received == [A_TO_B]
    assert len(sent_by(net, a, 1)) == 1


def test_a_response_to_an_initiation_that_was_replaced_is_refused():
    net, a, b = pair(link=Link(delay=2_700_000_000))   # round trip 5.4 s
    net.send(a, A_TO_B)
    net.run(5.5)
    assert len(sent_by(net, a, 1)) == 2
    assert a.plane.drops()["unawaited"] == 1 and a.plane.live_indices(0) == []


def test_both_starting_at_once_get_a_session_without_waiting_5_s():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.send(b, B_TO_A)
    net.run(0.1)
    assert a.received == [B_TO_A] and b.received == [A_TO_B]
    net.send(a, A_TO_B)
    net.send(b, B_TO_A)
    net.run(60)
    assert len(a.received) == len(b.received) == 2


def test_not_heard_back_for_15_s_after_data_starts_a_handshake_and_clears_the_source():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(20)
    net.link.loss = 1.0
    sent_at = net.mono
    net.send(a, A_TO_B)
    net.run(14.9)
    assert sent_by(net, a, 1, since=sent_at) == []
    net.run(0.5)
    new, = sent_by(net, a, 1, since=sent_at)
    assert 15 * SECOND <= new - sent_at <= 15 * SECOND + JITTER
    assert [t for t, _ in a.effects(fx.ClearSource)] == [new]


def test_any_authenticated_packet_ends_the_wait_for_an_answer():
    net, a, b = pair()
    for _ in range(60):       # b only answers with keepalives
        net.send(a, A_TO_B)
        net.run(1)
    assert len(sent_by(net, a, 1)) == 1


def test_the_wait_for_an_answer_counts_from_the_first_unanswered_packet():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(20)
    net.link.loss = 1.0
    first = net.mono
    for _ in range(20):
        net.send(a, A_TO_B)
        net.run(1)
    new = sent_by(net, a, 1, since=first)[0]
    assert 15 * SECOND <= new - first <= 15 * SECOND + JITTER


def test_unanswered_data_is_noticed_again_after_the_handshake_that_it_caused():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(20)
    net.link.loss = 1.0
    net.send(a, A_TO_B)
    net.run(15.5)
    net.link.loss = 0.0
    net.run(6)                 # the retransmission completes
    assert len(a.events("handshake_complete")) == 2
    net.run(30)
    quiet_from = net.mono
    net.link.loss = 1.0
    net.send(a, A_TO_B)
    net.run(16)
    assert len(sent_by(net, a, 1, since=quiet_from)) == 1


def test_keepalives_are_no_data_that_wants_an_answer():
    net, a, b = pair()
    net.run(0)
    a.run(a.device.set_keepalive(b.public, 7, net.now(a)), net.now(a))
    a.settle(net.now(a))
    net.carry(a)
    net.run(1)
    net.link.loss = 1.0
    start = net.mono
    net.run(100)
    assert sent_by(net, a, 1, since=start) == [] and len(keepalives_by(net, a, since=start)) >= 13


@pytest.mark.parametrize("psk", [bytes(32), b"p" * 32])
def test_the_first_packet_after_a_response_is_sent_at_once_data_before_a_keepalive(psk):
    net, a, b = pair()
    a.device.set_preshared_key(b.public, psk, net.now(a))
    b.device.set_preshared_key(a.public, psk, net.now(b))
    net.send(a, A_TO_B)
    net.run(0.021)
    assert [d[0] for _, n, d in net.datagrams] == [1, 2, 4]
    assert keepalives_by(net, a) == []


def test_without_waiting_data_the_session_is_confirmed_by_a_keepalive():
    net, a, b = pair()
    net.send(a, A_TO_B)
    a.plane.purge(0)
    net.run(1)
    assert len(keepalives_by(net, a)) == 1
    assert b.events("handshake_complete")
