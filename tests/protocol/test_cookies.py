"""Denial of service: MAC1, MAC2, cookies, the limiter and the under-load state (F3;
paper, sections 5.3, 5.4.4 and 5.4.7). Constants are retyped from the paper. What is shown
here of the plane in pure Python, tests/plane/test_admission.py compares with the C plane."""

from typing import NamedTuple

import pytest
from sim.network import pair, sent_by
from sim.node import SECOND, SUITE, ipv4

from wgpy.notices import Endpoint
from wgpy.protocol import effects as fx
from wgpy.protocol.device import Instant

A_TO_B = ipv4("10.0.0.1", "10.0.0.2")
CALM, LOADED = False, True


def mac2(message):
    return SUITE.layout.mac2(message)[1]


class Reply(NamedTuple):
    """A cookie reply that left."""
    endpoint: Endpoint
    datagram: bytes


def initiation(net, a):
    """A fresh initiation of a's, six seconds after the last."""
    net.mono += 6 * SECOND
    a.device._core.timers.forget(next(iter(a.slots)))
    a.stop(net.now(a))
    a.start(net.now(a))
    out = a.device.notice(next(iter(a.slots)), 1, net.now(a))
    a.run(out, net.now(a))
    a.sent.clear()
    return next(e.datagram for e in out if isinstance(e, fx.SendToPeer))


def receive(net, node, datagram, source, loaded=CALM, after=0):
    """What the core asked for and which cookie replies left because of the datagram."""
    now = Instant(net.now(node).mono + after, net.now(node).wall + after)
    if loaded:
        node.press(now)
    before = len(node.log)
    node.sent.clear()
    node.arrive(datagram, source, now)
    replies = [Reply(e, d) for e, d in node.sent if d[0] == 3]
    node.sent.clear()
    return [e for _, e in node.log[before:]] + replies


def drops(node):
    return {k: n for k, n in node.plane.drops().items() if n and k != "staged_purged"}


def kinds(effects, *wanted):
    return [type(e) for e in effects if isinstance(e, wanted)]


def cookie_for(net, a, b, message, source):
    """b's cookie reply to a message from there."""
    reply, = [e for e in receive(net, b, message, source, LOADED) if isinstance(e, Reply)]
    assert reply.endpoint == source
    return reply.datagram


def test_a_wrong_mac1_gets_silence():
    net, a, b = pair()
    message = bytearray(initiation(net, a))
    message[-2 * SUITE.mac_size] ^= 1
    assert receive(net, b, bytes(message), a.where) == []
    assert receive(net, b, bytes(message), a.where, LOADED) == []
    assert drops(b) == {"bad_mac1": 2} and not b.device.rejects


@pytest.mark.of_wireguard
def test_mac1_is_keyed_with_the_receivers_public_key():
    import hashlib
    net, a, b = pair()
    message = initiation(net, a)
    key = hashlib.blake2s(b"mac1----" + b.public).digest()
    assert message[116:132] == hashlib.blake2s(message[:116], key=key, digest_size=16).digest()


def test_without_load_no_mac2_is_asked_for():
    net, a, b = pair()
    assert fx.InstallKeypair in kinds(receive(net, b, initiation(net, a), a.where, CALM), fx.InstallKeypair)


def test_under_load_a_message_without_mac2_gets_a_cookie_and_no_work():
    net, a, b = pair()
    out = receive(net, b, initiation(net, a), a.where, LOADED)
    assert kinds(out, Reply, fx.InstallKeypair, fx.SetEndpoint) == [Reply]
    assert len(next(e for e in out if isinstance(e, Reply)).datagram) == SUITE.size(3)


def test_with_the_cookie_the_next_message_passes_under_load():
    net, a, b = pair()
    reply = cookie_for(net, a, b, initiation(net, a), a.where)
    assert receive(net, a, reply, b.where) == []
    message = initiation(net, a)
    assert any(mac2(message))
    assert fx.InstallKeypair in kinds(receive(net, b, message, a.where, LOADED), fx.InstallKeypair)


@pytest.mark.of_wireguard
def test_mac2_is_a_mac_of_the_message_under_the_cookie():
    import hashlib
    net, a, b = pair()
    message = initiation(net, a)
    reply = cookie_for(net, a, b, message, a.where)
    key = hashlib.blake2s(b"cookie--" + b.public).digest()
    cookie = SUITE.xopen(key, reply[8:32], reply[32:], message[116:132])
    assert len(cookie) == 16 and reply[4:8] == message[4:8]
    receive(net, a, reply, b.where)
    second = initiation(net, a)
    assert second[132:] == hashlib.blake2s(second[:132], key=cookie, digest_size=16).digest()


@pytest.mark.parametrize("other", [Endpoint("192.0.2.1", 51821), Endpoint("192.0.2.9", 51820)],
                         ids=["port", "address"])
def test_a_cookie_is_bound_to_address_and_port(other):
    net, a, b = pair()
    receive(net, a, cookie_for(net, a, b, initiation(net, a), a.where), b.where)
    out = receive(net, b, initiation(net, a), other, LOADED)
    assert kinds(out, Reply, fx.InstallKeypair) == [Reply]


def test_a_cookie_is_taken_once_for_each_mac1_sent():
    net, a, b = pair()
    message = initiation(net, a)
    first = cookie_for(net, a, b, message, a.where)
    net.mono += SECOND  # sooner, a copy is not answered
    second = cookie_for(net, a, b, message, a.where)
    receive(net, a, first, b.where)
    receive(net, a, second, b.where)
    assert a.device.rejects == {"cookie_unexpected": 1}


def test_a_cookie_for_an_earlier_message_or_from_another_is_refused():
    net, a, b = pair()
    old = initiation(net, a)
    reply = cookie_for(net, a, b, old, a.where)
    current = initiation(net, a)
    for forged in (reply[:4] + current[4:8] + reply[8:], reply[:-24] + bytes(24)):
        receive(net, a, forged, b.where)
    assert a.device.rejects == {"cookie_invalid": 1} and drops(a) == {"unawaited": 1}
    assert not any(mac2(initiation(net, a)))


def test_a_cookie_reply_never_moves_the_endpoint_nor_counts_as_heard():
    net, a, b = pair()
    message = initiation(net, a)
    before = a.device.deadline()
    assert receive(net, a, cookie_for(net, a, b, message, a.where), Endpoint("203.0.113.66", 1)) == []
    assert a.device.deadline() == before
    assert a.device.peers[b.public].last_handshake == 0


def test_a_cookie_is_used_for_115_s():
    for age, used in ((114, True), (116, False)):
        net, a, b = pair()
        message = initiation(net, a)
        receive(net, a, cookie_for(net, a, b, message, a.where), b.where)
        net.mono += (age - 6) * SECOND
        assert any(mac2(initiation(net, a))) is used


def test_the_cookie_secret_is_replaced_after_120_s():
    for age, valid in ((119, True), (120, False)):
        net, a, b = pair()
        message = initiation(net, a)
        cookie_for(net, a, b, message, a.where)      # the secret is born now
        born = net.mono
        checker = b.plane._admission.checker
        before = checker._cookie(a.where, net.mono)
        assert (checker._cookie(a.where, born + age * SECOND) == before) is valid


def test_a_response_carries_mac2_when_its_sender_has_a_cookie():
    """b answers a loaded a: a demands a cookie for the response, too."""
    net, a, b = pair()
    response = next(e.datagram for e in receive(net, b, initiation(net, a), a.where)
                    if isinstance(e, fx.SendToPeer))
    assert not any(mac2(response))
    a.plane._peers[0].answers = 0  # it has had some that were forged
    reply = cookie_for(net, b, a, response, b.where)
    receive(net, b, reply, a.where)
    response = next(e.datagram for e in receive(net, b, initiation(net, a), a.where)
                    if isinstance(e, fx.SendToPeer))
    assert any(mac2(response))
    assert fx.InstallKeypair in kinds(receive(net, a, response, b.where, LOADED), fx.InstallKeypair)


def unproven(net, a, b, count, at=0, source=None):
    """b gets so many initiations with a valid MAC1 and nothing else."""
    key = SUITE.hash(b"mac1----" + b.public)
    for i in range(count):
        body = b"\1\0\0\0" + i.to_bytes(SUITE.body_size(1) - 4, "big")
        b.plane.open(body + SUITE.mac(key, body) + bytes(SUITE.mac_size), source or a.where, net.mono + at)


def test_load_begins_with_512_waiting_messages():
    net, a, b = pair()
    unproven(net, a, b, 512)
    assert b.plane.handshake_depth == 512 and not b.plane.under_load(net.mono)
    unproven(net, a, b, 1)
    assert b.plane.handshake_depth == 512 and b.plane.under_load(net.mono)
    assert drops(b) == {"cookie_demanded": 1}


def test_only_messages_with_a_valid_mac1_make_load():
    net, a, b = pair()
    for i in range(5000):
        b.plane.open(b"\1\0\0\0" + i.to_bytes(SUITE.size(1) - 4, "big"), a.where, net.mono)
        b.plane.open(b"\2\0\0\0" + i.to_bytes(SUITE.size(2) - 4, "big"), a.where, net.mono)
        b.plane.open(b"\3\0\0\0" + i.to_bytes(SUITE.size(3) - 4, "big"), a.where, net.mono)
        b.plane.open(b"junk", a.where, net.mono)
    assert b.plane.handshake_depth == 0 and not b.plane.under_load(net.mono)
    assert drops(b) == {"bad_mac1": 5000, "unawaited": 10000, "malformed_message": 5000}


def test_load_does_not_flap_and_ends_five_seconds_after_the_last_of_a_flood():
    """A flood that is held off by cookies keeps the queue empty: that is not the end of it."""
    net, a, b = pair()
    b.press(net.now(b))
    for tenth in range(200):
        unproven(net, a, b, 30, at=tenth * SECOND // 10)
        assert b.plane.under_load(net.mono + tenth * SECOND // 10) and b.plane.handshake_depth == 0
    last = net.mono + 199 * SECOND // 10
    assert b.plane.under_load(last + 4 * SECOND) and not b.plane.under_load(last + 5 * SECOND)


def test_a_few_messages_without_a_cookie_do_not_prolong_load():
    """Fifty a second: peers that come up, each with its first message."""
    net, a, b = pair()
    b.press(net.now(b))
    for second in range(10):
        unproven(net, a, b, 50, at=second * SECOND)
        assert b.plane.under_load(net.mono + second * SECOND) is (second < 5)


def test_a_flood_of_forged_messages_leaves_the_limiter_and_the_queue_alone():
    """From the peer's own address and port; then the peer itself, once."""
    net, a, b = pair()
    message, = with_cookie(net, a, b, a.where, 1)
    unproven(net, a, b, 5000)
    b.settle(net.now(b))
    assert fx.InstallKeypair in kinds(receive(net, b, message, a.where, LOADED), fx.InstallKeypair)


def test_cookie_replies_wait_in_a_bounded_place_of_their_own():
    """And those to one source do not fill it, nor those to one port a source's part."""
    net, a, b = pair()
    b.press(net.now(b))
    unproven(net, a, b, 1000)
    for port in range(1000, 1050):
        unproven(net, a, b, 1, source=a.where._replace(port=port))
    b.plane.send(b"ours", endpoint=a.where)
    sent = b.plane.pull(net.mono)
    assert sent[0].datagram == b"ours" and [s.datagram[0] for s in sent[1:]] == [3] * 32
    assert drops(b) == {"cookie_demanded": 32, "cookie_lane": 1018}
    assert [s.endpoint.port for s in sent[1:]] == [a.where.port] * 4 + list(range(1000, 1028))


def test_a_response_to_our_initiation_needs_no_cookie_but_only_a_few_do_not():
    """Both sides under a flood: one retry, not two. Who saw our initiation may forge four."""
    net, a, b = pair()
    real = next(e.datagram for e in receive(net, b, initiation(net, a), a.where) if isinstance(e, fx.SendToPeer))
    key, body = SUITE.hash(b"mac1----" + a.public), real[:12 + SUITE.public_size] + bytes(SUITE.tag_size)
    forged = body + SUITE.mac(key, body) + bytes(SUITE.mac_size)
    for _ in range(3):
        assert kinds(receive(net, a, forged, b.where, LOADED), Reply, fx.Event) == [fx.Event]
    assert fx.InstallKeypair in kinds(receive(net, a, real, b.where, LOADED), fx.InstallKeypair)
    initiation(net, a)
    index = next(iter(a.device.peers.values())).flight.index.to_bytes(4, "little")
    body = real[:8] + index + real[12:12 + SUITE.public_size] + bytes(SUITE.tag_size)
    forged = body + SUITE.mac(key, body) + bytes(SUITE.mac_size)
    seen = [kinds(receive(net, a, forged, b.where, LOADED), Reply, fx.Event) for _ in range(6)]
    assert seen == [[fx.Event]] * 4 + [[Reply], []]  # the last a copy


def test_copies_of_a_message_take_no_reply_from_what_their_owner_sends_next():
    """F3: somebody repeats the peer's old initiation from its address as fast as he can."""
    net, a, b = pair()
    old, new = initiation(net, a), initiation(net, a)
    assert kinds(receive(net, b, old, a.where, LOADED), Reply) == [Reply]
    for _ in range(1000):
        b.plane.open(old, a.where, net.mono)
    b.plane.open(new, a.where, net.mono)
    assert [s.datagram[4:8] for s in b.plane.pull(net.mono)] == [new[4:8]]
    assert drops(b) == {"cookie_demanded": 2, "handshake_copy": 1000}


def test_a_copy_from_elsewhere_does_not_cost_its_owner_the_reply():
    """Who sees an initiation may be quicker with it than its sender."""
    net, a, b = pair()
    message = initiation(net, a)
    for source in (Endpoint("192.0.2.9", 51820), Endpoint(a.where.address, a.where.port + 1), a.where):
        assert kinds(receive(net, b, message, source, LOADED), Reply) == [Reply]


def test_cookie_replies_cost_the_core_a_bounded_share():
    """An on-path attacker sees our index: a burst of 50, then 100 a second, wherever from."""
    net, a, b = pair()
    forged = b"\3\0\0\0" + initiation(net, a)[4:8] + bytes(SUITE.size(3) - 8)
    taken = 0
    for ms in range(2000):
        for _ in range(10):
            a.plane.open(forged, b.where, net.mono + ms * 1_000_000)
        taken += len(a.plane.handshakes())
    assert 100 * 2 <= taken <= 50 + 100 * 2
    assert drops(a) == {"cookie_replies": 20_000 - taken}


def test_a_copy_of_a_message_that_was_let_in_costs_its_source_nothing():
    """Who sees a valid message may repeat it from the peer's address, in any number."""
    net, a, b = pair()
    first, second = with_cookie(net, a, b, a.where, 2)
    assert fx.InstallKeypair in kinds(receive(net, b, first, a.where, LOADED), fx.InstallKeypair)
    for _ in range(100):
        assert receive(net, b, first, a.where, LOADED) == []
    assert drops(b)["handshake_copy"] == 100 and "rate_limited" not in drops(b)
    assert fx.InstallKeypair in kinds(receive(net, b, second, a.where, LOADED, after=SECOND), fx.InstallKeypair)


def with_cookie(net, a, b, source, count):
    """count valid initiations that bear a cookie for `source`."""
    receive(net, a, cookie_for(net, a, b, initiation(net, a), source), b.where)
    return [initiation(net, a) for _ in range(count)]


def test_under_load_a_source_gets_a_burst_of_5_and_then_20_a_second():
    net, a, b = pair()
    messages = with_cookie(net, a, b, a.where, 10)
    now = net.mono
    passed = []
    for i, m in enumerate(messages):
        b.device.peers[a.public].initiation_heard = 0   # the 20 ms rule is another clause
        at = now if i < 7 else now + 50_000_000 * (i - 6)
        passed.append(fx.InstallKeypair in kinds(receive(net, b, m, a.where, LOADED, at - now), fx.InstallKeypair))
    assert passed == [True] * 5 + [False] * 2 + [True] * 3
    assert drops(b)["rate_limited"] == 2


def test_messages_without_a_valid_mac2_cost_their_source_nothing():
    """A flood from a forged source must not lock its owner out."""
    net, a, b = pair()
    valid, = with_cookie(net, a, b, a.where, 1)
    for _ in range(100):
        receive(net, b, valid[:-16] + bytes(16), a.where, LOADED)
    assert fx.InstallKeypair in kinds(receive(net, b, valid, a.where, LOADED), fx.InstallKeypair)


def test_a_legitimate_peer_gets_through_a_flood_of_valid_mac1_initiations():
    """F3, in the core: cookie first, then the handshake, while the flood goes on."""
    net, a, b = pair()
    flood = initiation(net, a)

    def flooded(node, datagram, source, now):
        b.press(net.now(b))
        for i in range(20):
            b.plane.open(flood, Endpoint("198.51.100.7", 1000 + i), net.mono)
    net.on_arrival = flooded
    flooded(b, b"", b.where, net.now(b))
    a.stop(net.now(a))
    a.start(net.now(a))
    begun = net.mono
    net.send(a, A_TO_B)
    for _ in range(12):
        net.run(0.5)
        flooded(b, b"", b.where, net.now(b))
    assert b.received == [A_TO_B]
    to_a = [d for t, name, d in net.datagrams if name == "b" and d[0] == 3 and d[4:8] != flood[4:8]]
    assert [len(to_a), len(sent_by(net, a, 1, begun))] == [1, 2]
