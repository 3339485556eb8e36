"""What the core does with notices that are late, conditions that are stale, and bits
that it holds back, so that nobody polls and nothing is missed."""

from sim.network import Link, keepalives_by, pair, sent_by
from sim.node import SECOND, ipv4

from wgpy.notices import CONFIRMED, DATA_RECEIVED, DATA_SENT, KEY_NEEDED, Activity
from wgpy.protocol import effects as fx
from wgpy.protocol.device import Instant

A_TO_B = ipv4("10.0.0.1", "10.0.0.2")


def of(kind, effects):
    return [e for e in effects if isinstance(e, kind)]


def renewed(net, a):
    """Effects of a's next complete handshake."""
    mark = net.mono
    net.run(6)
    net.send(a, A_TO_B)
    a.run(a.device.notice(next(iter(a.slots)), KEY_NEEDED, net.now(a)), net.now(a))
    net.carry(a)
    net.run(1)
    return [e for t, e in a.log if t > mark]


def test_a_key_asked_for_just_before_it_came_starts_no_other_handshake():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    assert a.device.notice(b.public, KEY_NEEDED, net.now(a)) == [fx.FlushStaged(b.public)]
    net.run(60)
    assert len(sent_by(net, a, 1)) == 1


def test_confirmation_flushes_what_waits():
    net, a, b = pair()
    net.send(b, ipv4("10.0.0.2", "10.0.0.1"))
    net.run(1)
    index, = a.plane.live_indices(0)
    assert fx.FlushStaged(b.public) in a.device.notice(b.public, CONFIRMED, net.now(a), index)


def test_confirmation_ends_our_own_handshake_in_flight():
    net, a, b = pair(link=Link(loss=1.0))
    net.send(b, ipv4("10.0.0.2", "10.0.0.1"))
    net.run(1)
    net.link.loss = 0.0
    net.send(a, A_TO_B)
    net.run(60)
    assert len(sent_by(net, b, 1)) == 1 and b.events("handshake_complete")
    assert len(b.device.indices) == 1


def test_an_initiation_sent_puts_the_passive_keepalive_off():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(60)
    start = net.mono
    net.send(a, A_TO_B)
    net.run(9)
    net.link.loss = 1.0
    b.run(b.device.notice(a.public, KEY_NEEDED, net.now(b)), net.now(b))
    net.carry(b)
    net.run(3)
    assert sent_by(net, b, 1, start) and keepalives_by(net, b, start) == []


def test_a_condition_older_than_the_last_handshake_neither_fires_nor_polls():
    """A plane may still show data unanswered from before; it is not rearmed, which
    would raise it again at once, but with the next session."""
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    stale = Activity(unanswered_since=net.mono - 2 * SECOND)
    now = Instant(net.mono + 20 * SECOND, net.now(a).wall)
    assert a.device.due(now) == [b.public]
    out = a.device.tick(now, {b.public: stale})
    assert of(fx.Rearm, out) == of(fx.SendToPeer, out) == []
    assert a.device.due(now) == []
    assert [e.bits & DATA_SENT for e in of(fx.Rearm, renewed(net, a))][:1] == [DATA_SENT]


def test_a_condition_that_ended_is_rearmed():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    out = a.device.tick(Instant(net.mono + 20 * SECOND, 0), {b.public: Activity()})
    assert of(fx.Rearm, out) == [fx.Rearm(b.public, DATA_SENT)]


def test_data_from_the_peer_rearms_what_was_held_since_giving_up():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(20)
    net.link.loss = 1.0
    net.send(a, A_TO_B)
    net.run(115)
    assert a.events("handshake_given_up")
    out = a.device.notice(b.public, DATA_RECEIVED, net.now(a))
    assert of(fx.Rearm, out) == [fx.Rearm(b.public, DATA_SENT)]


def test_giving_up_drops_the_passive_keepalive_until_the_next_session():
    net, a, b = pair(link=Link(loss=1.0))
    net.send(a, A_TO_B)
    net.run(85)
    a.device.notice(b.public, DATA_RECEIVED, net.now(a))
    net.run(200)
    assert a.events("handshake_given_up") and a.effects(fx.SendKeepalive) == []
    net.link.loss = 0.0
    bits = 0
    for rearm in of(fx.Rearm, renewed(net, a)):
        bits |= rearm.bits
    assert bits & DATA_RECEIVED


def test_down_and_up_rearms_everything_with_the_next_session():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    a.stop(net.now(a))
    a.start(net.now(a))
    assert fx.Rearm(b.public, DATA_SENT | DATA_RECEIVED) in renewed(net, a)
