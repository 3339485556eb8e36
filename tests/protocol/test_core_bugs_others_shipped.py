"""Bugs that other implementations shipped and that would live in the core here; those
of the packet path are in tests/plane."""

import collections

import pytest
from sim.network import Link, keepalives_by, pair, sent_by
from sim.node import SECOND, SUITE, ipv4

from wgpy.notices import Endpoint
from wgpy.protocol import effects as fx
from wgpy.protocol.device import Instant

A_TO_B = ipv4("10.0.0.1", "10.0.0.2")
B_TO_A = ipv4("10.0.0.2", "10.0.0.1")


def demanded_cookie(net, a, b):
    """Makes b, under load, answer a's initiation with a cookie reply; returns it."""
    net.send(a, A_TO_B)
    message = next(d for _, n, d in reversed(net.datagrams) if n == "a" and d[0] == 1)
    return next(d for d in loaded(net, b, message, a.where) if d[0] == 3)


def loaded(net, node, message, source):
    """The handshake messages with which a node under load answers a message."""
    node.press(net.now(node))
    node.sent.clear()
    node.arrive(message, source, net.now(node))
    sent, node.sent = node.sent, []
    return [d for _, d in sent]


def test_oversized_datagram_does_not_kill_the_receive_loop():
    net, a, b = pair()
    for size in (65507, 65535, 1 << 20):
        assert b.device.receive(b"\1" * size, a.where, net.now(b)) == []
    net.send(a, A_TO_B)
    net.run(1)
    assert b.received == [A_TO_B]


def test_cookie_without_port():
    """Two sources behind one NAT address must not share a cookie."""
    net, a, b = pair(link=Link(loss=1.0))
    a.arrive(demanded_cookie(net, a, b), b.where, net.now(a))
    net.run(6)
    with_cookie = next(d for _, n, d in reversed(net.datagrams) if n == "a")
    assert any(SUITE.layout.mac2(with_cookie)[1])
    other_port = Endpoint(a.where.address, a.where.port + 1)
    assert [d[0] for d in loaded(net, b, with_cookie, other_port)] == [3]
    assert not b.effects(fx.InstallKeypair)
    assert [d[0] for d in loaded(net, b, with_cookie, a.where)] == [2]
    assert b.effects(fx.InstallKeypair)


def test_roaming_on_a_cookie_reply():
    net, a, b = pair(link=Link(loss=1.0))
    reply = demanded_cookie(net, a, b)
    a.arrive(reply, Endpoint("203.0.113.66", 666), net.now(a))
    assert a.plane.endpoint(0) == b.where
    assert not any(isinstance(e, fx.SetEndpoint) for _, e in a.log)


def test_passive_keepalive_ping_pong():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(3600)
    assert len(keepalives_by(net, a)) + len(keepalives_by(net, b)) == 1


def test_predictable_indices():
    """Each index is four bytes of entropy, no counter and no truncation."""
    net, a, b = pair(link=Link(loss=1.0))
    drawn, entropy = [], a.device._core.entropy

    def watched(n):
        value = entropy(n)
        if n == 4:
            drawn.append(value)
        return value
    a.device._core.entropy = a.device.indices._entropy = watched
    for _ in range(4):
        net.send(a, A_TO_B)
        net.run(120)
    indices = [d[4:8] for _, n, d in net.datagrams if d[0] == 1]
    assert len(indices) == 4 * 18 == len(set(indices)) and set(indices) <= set(drawn)
    for position in range(4):
        assert len({i[position] for i in indices}) > 40


def test_endpoint_moved_only_on_initiation():
    net, a, b = pair()
    moves = {}
    for node in (a, b):
        moves[node.name] = Endpoint("203.0.113.1", 1000 + ord(node.name))
    net.send(a, A_TO_B)
    message = net.datagrams[0][2]
    out = b.device.receive(message, moves["a"], net.now(b))
    assert fx.SetEndpoint(a.public, moves["a"]) in out
    response = next(e.datagram for e in out if isinstance(e, fx.SendToPeer))
    assert fx.SetEndpoint(b.public, moves["b"]) in a.device.receive(response, moves["b"], net.now(a))


def test_a_changed_preshared_key_reaches_the_next_handshake():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    a.device.set_preshared_key(b.public, b"n" * 32, net.now(a))
    b.device.set_preshared_key(a.public, b"n" * 32, net.now(b))
    for _ in range(130):
        net.send(a, A_TO_B)
        net.run(1)
    assert len(a.events("handshake_complete")) == 2 and len(b.received) == 131
    # and only where both have it
    b.device.set_preshared_key(a.public, b"o" * 32, net.now(b))
    net.run(181)
    net.send(a, A_TO_B)
    net.run(10)
    assert len(b.received) == 131


def test_a_preshared_key_set_while_a_handshake_is_in_flight_is_the_one_used():
    net, a, b = pair()
    net.send(a, A_TO_B)
    a.device.set_preshared_key(b.public, b"n" * 32, net.now(a))
    b.device.set_preshared_key(a.public, b"n" * 32, net.now(b))
    net.run(1)
    assert b.received == [A_TO_B]


@pytest.mark.parametrize("round_trip", [0.26, 1, 4.9])
def test_responses_dropped_after_250_ms(round_trip):
    net, a, b = pair(link=Link(delay=int(round_trip / 2 * SECOND)))
    net.send(a, A_TO_B)
    net.run(3 * round_trip)
    assert b.received == [A_TO_B] and len(sent_by(net, a, 1)) == 1


def test_missing_jitter():
    gaps = set()
    for seed in range(8):
        net, a, b = pair(seed, link=Link(loss=1.0))
        net.send(a, A_TO_B)
        net.run(6)
        first, second = sent_by(net, a, 1)
        gaps.add(second - first)
    assert len(gaps) == 8


def test_panic_on_a_clock_that_steps_back():
    net, a, b = pair()
    for step in (0, -1, -86400, -10**9, 10**9, -3 * 10**9, 0):
        net.clock_error["a"] = net.clock_error["b"] = step * SECOND
        net.run(200)
        net.send(a, A_TO_B)
        net.send(b, B_TO_A)
        net.run(10)
    assert len(a.received) == len(b.received) == 7


def test_removal_of_a_peer_while_its_packets_are_in_flight():
    net, a, b = pair()
    net.send(a, A_TO_B)
    b.remove_peer(a.public, net.now(b))      # the initiation is on its way
    net.run(1)
    assert b.device.rejects == {"unknown_peer": 1} and b.device.deadline() is None
    b.add_peer(a.public, None, "10.0.0.1")
    net.run(6)                               # a's retransmission
    assert b.received == [A_TO_B]
    net.send(a, A_TO_B)
    net.send(b, B_TO_A)
    a.remove_peer(b.public, net.now(a))      # transport packets and a response are
    b.remove_peer(a.public, net.now(b))
    net.run(300)
    assert len(a.device.indices) == len(b.device.indices) == 0
    assert a.device.deadline() is None and b.device.deadline() is None
    late = b.device.notice(a.public, 127, net.now(b))
    assert late == [] and b.device.tick(net.now(b), {}) == []


def test_stale_sticky_source_after_an_address_change():
    """wireguard-go#61: data that goes unanswered clears the source, and so does every
    retransmission."""
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(30)
    a.plane.set_endpoint(0, b.where._replace(source="192.0.2.77", ifindex=2))
    net.link.loss = 1.0
    net.send(a, A_TO_B)
    net.run(16)
    assert a.plane.endpoint(0).source == ""
    a.plane.set_endpoint(0, b.where._replace(source="192.0.2.77", ifindex=2))
    net.run(6)
    assert a.plane.endpoint(0).source == ""


def test_memory_that_grows_with_load():
    """wireguard-go#69: whatever arrives, tables and heaps stay bounded."""
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    initiation = net.datagrams[0][2]
    key = SUITE.hash(b"mac1----" + b.public)
    for i in range(3000):
        body = initiation[:12] + i.to_bytes(4, "big") + SUITE.layout.mac1(initiation)[0][16:]
        message = body + SUITE.mac(key, body) + bytes(SUITE.mac_size)
        if i % 2:
            b.press(net.now(b))
        source = Endpoint(f"198.51.{i >> 8}.{i & 255}", i + 1)
        b.arrive(message, source, net.now(b))
        b.arrive(b"\2\0\0\0" + i.to_bytes(SUITE.size(2) - 4, "big"), a.where, net.now(b))
        b.device.receive(message, source, net.now(b))
        b.device.tick(Instant(net.mono + i, 0), {})
    assert len(b.device.indices) <= 3
    assert len(b.device._core.timers._heap) < 200 and len(b.plane._admission._limiter) <= 8192
    assert len(b.device.rejects) < 20


def test_a_global_limiter_that_puts_everyone_in_cookie_mode():
    """boringtun: a flood from elsewhere does not cost an honest source its tokens."""
    net, a, b = pair()
    for _ in range(10_000):
        b.plane._admission._limiter.allow("198.51.100.1", 7, net.mono)
    a.arrive(demanded_cookie(net, a, b), b.where, net.now(a))
    net.link.loss = 1.0
    net.run(6)
    message = next(d for _, n, d in reversed(net.datagrams) if n == "a")
    assert [d[0] for d in loaded(net, b, message, a.where)] == [2] and b.effects(fx.InstallKeypair)


def test_nonce_counter_narrower_than_64_bits():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    for counter in (2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 2**13 - 2):
        a.plane._peers[0].keys.current.counter = counter
        sealed, = a.plane.seal(A_TO_B, net.mono)
        assert sealed.datagram[8:16] == counter.to_bytes(8, "little")
        assert b.plane.open(sealed.datagram, a.where, net.mono) == [A_TO_B]
    assert a.plane.seal(A_TO_B, net.mono) == []      # 2^64 - 2^13 - 1 is never used


def test_handshakes_are_never_starved_by_rejects():
    """Every reason of refusal is a name in one flat counter, never an exception."""
    net, a, b = pair()
    assert isinstance(b.device.rejects, collections.Counter)
    for kind in (1, 2, 3):
        b.device.receive(bytes([kind, 0, 0, 0]).ljust(SUITE.size(kind), b"\xff"), a.where, net.now(b))
        b.arrive(bytes([kind, 0, 0, 0]).ljust(SUITE.size(kind), b"\xff"), a.where, net.now(b))
    assert sum(b.device.rejects.values()) == 3
    assert b.plane.drops() == {"bad_mac1": 1, "unawaited": 2}
