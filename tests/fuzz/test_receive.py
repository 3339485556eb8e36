"""Fuzzing of the core's entrance for datagrams, and of the plane's in front of it.

Invariant: whatever bytes Device.receive() gets, from whatever source, in whatever state,
it returns a list of effects and never raises; without a valid authentication it
installs no keypair, moves no endpoint and leaves a handshake in flight intact; it
sends nothing; and each refusal is counted once. The plane counts each once, too, or
hands it over, and answers with nothing but cookie replies, under load.
"""

from hypothesis import given, settings
from hypothesis import strategies as st
from sim.network import pair
from sim.node import SUITE, ipv4

from wgpy.notices import Activity, Endpoint
from wgpy.protocol import effects as fx
from wgpy.protocol.device import Instant

A_TO_B = ipv4("10.0.0.1", "10.0.0.2")
SIZES = {1: 148, 2: 92, 3: 64, 4: 32}

sources = st.builds(Endpoint, st.sampled_from(["192.0.2.1", "2001:db8::1", "fe80::1%7", "", "x"]),
                    st.integers(0, 65535))
loads = st.booleans()
shaped = st.sampled_from(sorted(SIZES)).flatmap(
    lambda kind: st.binary(min_size=SIZES[kind] - 4, max_size=SIZES[kind] - 4).map(
        lambda rest: bytes([kind, 0, 0, 0]) + rest))


def with_mac1(datagram: bytes, public: bytes) -> bytes:
    body = datagram[:-32]
    return body + SUITE.mac(SUITE.hash(b"mac1----" + public), body) + datagram[-16:]


def in_flight():
    """b has an initiation in flight to a and answered one of a's."""
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(0.015)
    net.link.loss = 1.0
    net.run(5)
    net.send(b, ipv4("10.0.0.2", "10.0.0.1"))
    net.run(0.2)
    assert b.device.peers[a.public].flight
    return net, a, b


NET, A, B = in_flight()


def check(datagram: bytes, source: Endpoint, loaded: bool) -> None:
    device = B.device
    peer = device.peers[A.public]
    flight, secrets, indices = peer.flight, peer.flight.secrets(), len(device.indices)
    rejected = sum(device.rejects.values())
    out = device.receive(datagram, source, NET.now(B))
    assert isinstance(out, list)
    assert {type(e) for e in out} <= {fx.Event}
    assert sum(device.rejects.values()) == rejected + 1
    assert peer.flight is flight and flight.secrets() == secrets
    assert len(device.indices) == indices
    admit(datagram, source, loaded)
    NET.mono += 1


def admit(datagram: bytes, source: Endpoint, loaded: bool) -> None:
    plane = B.plane
    if loaded:
        B.press(NET.now(B))
    dropped = sum(plane.drops().values())
    assert plane.open(datagram, source, NET.mono) == []
    handed = plane.handshakes()
    assert sum(plane.drops().values()) + len(handed) == dropped + 1
    assert all(m == (datagram, source) for m in handed)
    replies = plane.pull(NET.mono)
    assert len(replies) <= 1 and (not replies or plane.under_load(NET.mono))
    assert all(r.endpoint == source and len(r.datagram) == 64 for r in replies)


@given(st.binary(max_size=200), sources, loads)
def test_arbitrary_bytes(datagram, source, loaded):
    check(datagram, source, loaded)


@given(shaped, sources, loads)
def test_messages_of_the_right_shape(datagram, source, loaded):
    check(datagram, source, loaded)


@settings(deadline=None)
@given(shaped.filter(lambda d: d[0] < 3), sources, loads, st.booleans())
def test_messages_with_a_valid_mac1_and_perhaps_an_index_in_flight(datagram, source, loaded, aimed):
    if aimed and datagram[0] == 2:
        index = B.device.peers[A.public].flight.index
        datagram = datagram[:8] + index.to_bytes(4, "little") + datagram[12:]
    check(with_mac1(datagram, B.public), source, loaded)


@settings(deadline=None)
@given(st.binary(min_size=56, max_size=56), sources)
def test_cookie_replies_to_an_index_in_flight(rest, source):
    index = B.device.peers[A.public].flight.index
    check(b"\3\0\0\0" + index.to_bytes(4, "little") + rest, source, 0)


@settings(deadline=None)
@given(st.lists(st.one_of(
    st.tuples(st.just("notice"), st.integers(0, 127)),
    st.tuples(st.just("advance"), st.integers(0, 600_000_000_000)),
    st.tuples(st.just("tick"), st.builds(Activity, *[st.integers(0, 2**63)] * 5)),
    st.tuples(st.just("keepalive"), st.integers(0, 65535)),
    st.tuples(st.just("up"), st.booleans()),
    st.tuples(st.just("key"), st.sampled_from([None, bytes(32), b"k" * 32, b"l" * 32])),
    st.tuples(st.just("freed"), st.lists(st.integers(0, 2**32 - 1), max_size=3)),
), max_size=40))
def test_any_order_of_calls_returns_effects(steps):
    """No sequence of notices, times, activities and configuration raises, and the one
    initiation in 5 s holds throughout while the interface and key stay."""
    net, a, b = pair()
    peer, now, last = b.public, 1000, None
    for what, value in steps:
        at = Instant(now, now)
        match what:
            case "notice":
                out = a.device.notice(peer, value, at, *a.device.peers[peer].expiry)
            case "advance":
                now, out = now + value, []
            case "tick":
                out = a.device.tick(at, dict.fromkeys(a.device.due(at), value))
            case "keepalive":
                out = a.device.set_keepalive(peer, value, at)
            case "up":
                out, last = (a.device.start(at) if value else a.device.stop(at)), None
            case "key":
                out, last = a.device.set_private_key(value, at), None
            case "freed":
                out = a.device.freed(peer, value) or []
        assert all(isinstance(e, fx.Effect) for e in out)
        sent = [e for e in out if isinstance(e, fx.SendToPeer)]
        assert len(sent) <= 1 and (not sent or last is None or now - last >= 5_000_000_000)
        last = now if sent else last
        if what == "tick":
            assert a.device.deadline() is None or a.device.deadline().at > now
