"""Clauses about keepalives (paper, section 6.5; timers.c of the Linux module)."""

from sim.network import Link, keepalives_by, pair, sent_by
from sim.node import SECOND, ipv4

from wgpy.protocol import effects as fx

A_TO_B = ipv4("10.0.0.1", "10.0.0.2")
B_TO_A = ipv4("10.0.0.2", "10.0.0.1")


def session():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(60)
    net.datagrams.clear()
    return net, a, b


def test_data_received_and_nothing_sent_for_10_s_sends_one_keepalive():
    net, a, b = session()
    net.send(a, A_TO_B)
    received = net.mono + net.link.delay
    net.run(50)
    assert keepalives_by(net, b) == [received + 10 * SECOND]
    assert keepalives_by(net, a) == []


def test_data_sent_within_10_s_makes_the_keepalive_unnecessary():
    net, a, b = session()
    net.send(a, A_TO_B)
    net.run(8)
    net.send(b, B_TO_A)
    net.run(9.9)
    net.send(a, A_TO_B)
    net.run(5)
    assert keepalives_by(net, b) == []


def test_data_received_while_a_keepalive_is_due_sends_another_10_s_later():
    """need_another_keepalive"""
    net, a, b = session()
    net.send(a, A_TO_B)
    first = net.mono + net.link.delay + 10 * SECOND
    net.run(4)
    net.send(a, A_TO_B)
    net.run(60)
    assert keepalives_by(net, b) == [first, first + 10 * SECOND]


def test_that_other_keepalive_is_not_sent_when_something_else_was():
    net, a, b = session()
    net.send(a, A_TO_B)
    net.run(4)
    net.send(a, A_TO_B)
    net.run(10)
    net.send(b, B_TO_A)
    net.run(60)
    assert len(keepalives_by(net, b)) == 1


def test_a_keepalive_received_never_causes_one():
    """No ping-pong."""
    net, a, b = session()
    a.run([fx.SendKeepalive(b.public)], net.now(a))
    net.carry(a)
    net.run(600)
    assert len(net.datagrams) == 1


def test_handshake_messages_put_a_passive_keepalive_off():
    net, a, b = session()
    net.send(a, A_TO_B)
    net.run(9)
    out = a.device.notice(b.public, 1, net.now(a))   # a wants a new session
    a.run(out, net.now(a))
    net.carry(a)
    net.run(5)
    assert sent_by(net, b, 2) and keepalives_by(net, b) == []


def test_a_passive_keepalive_without_a_session_is_asked_for_only_once():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(178)
    net.send(b, B_TO_A)
    net.run(0.05)
    net.link.loss = 1.0        # a's session dies before the keepalive is due
    a.stop(net.now(a))
    a.start(net.now(a))
    net.send(a, A_TO_B)
    net.run(4000)
    assert a.events("handshake_given_up")
    count = len(net.datagrams)
    net.run(4000)
    assert len(net.datagrams) == count


def keepalive(net, node, peer, seconds):
    now = net.now(node)
    node.run(node.device.set_keepalive(peer.public, seconds, now), now)
    node.settle(now)
    net.carry(node)


def test_setting_a_persistent_keepalive_sends_one_at_once():
    net, a, b = pair()
    keepalive(net, a, b, 25)
    net.run(1)
    assert len(sent_by(net, a, 1)) == 1 and len(keepalives_by(net, a)) == 1


def test_changing_the_interval_sends_none_at_once():
    net, a, b = session()
    keepalive(net, a, b, 25)
    count = len(net.datagrams)
    keepalive(net, a, b, 30)
    assert len(net.datagrams) == count


def test_persistent_keepalives_come_every_interval():
    net, a, b = session()
    start = net.mono
    keepalive(net, a, b, 25)
    net.run(51)
    assert keepalives_by(net, a) == [start, start + 25 * SECOND, start + 50 * SECOND]


def test_any_authenticated_packet_sent_resets_the_persistent_keepalive():
    net, a, b = session()
    start = net.mono
    keepalive(net, a, b, 25)
    net.run(20)
    net.send(a, A_TO_B)
    net.run(24.9)
    assert [t for t in keepalives_by(net, a) if t > start + SECOND] == []


def test_any_authenticated_packet_received_resets_the_persistent_keepalive():
    net, a, b = session()
    start = net.mono
    keepalive(net, a, b, 25)
    net.run(20)
    net.send(b, B_TO_A)
    received = net.mono + net.link.delay
    net.run(34.9)
    later = [t for t in keepalives_by(net, a) if t > start + SECOND]
    # none 25 s after the first; this one is the passive keepalive for b's data
    assert later == [received + 10 * SECOND]


def test_zero_turns_the_persistent_keepalive_off():
    net, a, b = session()
    keepalive(net, a, b, 25)
    keepalive(net, a, b, 0)
    count = len(net.datagrams)
    net.run(300)
    assert len(net.datagrams) - count <= 1
    assert a.device.peers[b.public].keepalive == 0


def test_65535_s_is_accepted_and_kept():
    net, a, b = session()
    start = net.mono
    keepalive(net, a, b, 65535)
    net.run(65535.5)
    assert sent_by(net, a, 1, start) == [start + 65535 * SECOND]  # the session is long over


def test_a_persistent_keepalive_keeps_trying_after_a_handshake_was_given_up():
    net, a, b = pair(link=Link(loss=1.0))
    keepalive(net, a, b, 25)
    net.run(200)
    assert a.events("handshake_given_up")
    net.link.loss = 0.0
    net.run(200)
    assert b.events("handshake_complete")


def test_interface_up_sends_persistent_keepalives():
    net, a, b = pair(start=False)
    a.device.set_keepalive(b.public, 25, net.now(a))
    net.run(100)
    assert net.datagrams == []
    net.start()
    assert len(sent_by(net, a, 1)) == 1
