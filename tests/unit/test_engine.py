"""The engine between protocol core and plane; both ends in one process, virtual clock."""

import os

import pytest
from fake_plane import FakePlane
from nacl.bindings import crypto_scalarmult_base

from wgpy.config.model import HostPort, PeerChange, Prefix, PrefixChange, SetRequest
from wgpy.crypto.apply import Applier
from wgpy.crypto.engine import HANDSHAKES_A_TURN, Engine
from wgpy.errors import WgpyError
from wgpy.notices import CONFIRMED, KEY_NEEDED, Endpoint
from wgpy.protocol import effects as fx
from wgpy.protocol.device import Device, Instant
from wgpy.suite import registry

SECOND = 10**9


def clamped(key: bytes) -> bytes:
    """RFC 7748, section 5."""
    return bytes([key[0] & 0xF8]) + key[1:31] + bytes([key[31] & 0x7F | 0x40])


class Clock:
    def __init__(self):
        self.ns = 1000 * SECOND

    def __call__(self):
        return Instant(self.ns, self.ns + 1_700_000_000 * SECOND)


class Node:
    def __init__(self, clock, **limits):
        self.private = clamped(os.urandom(32))
        self.public = crypto_scalarmult_base(self.private)
        self.plane = FakePlane()
        self.engine = Engine(Device(registry.get(), os.urandom), self.plane, clock=clock, **limits)
        self.engine.apply(SetRequest(private_key=self.private))
        self.engine.start()

    def add(self, public, **change):
        request = SetRequest(peers=(PeerChange(public, **change),))
        self.engine.check(request)
        self.engine.apply(request)

    def peer(self, public):
        return next(p for p in self.engine.describe().peers if p.public_key == public)


@pytest.fixture
def pair():
    clock = Clock()
    a, b = Node(clock), Node(clock)
    a.add(b.public, endpoint=HostPort("192.0.2.2", 2), allowed_ips=(PrefixChange(Prefix(bytes(4), 0)),))
    b.add(a.public)
    return clock, a, b


def deliver(source, sink, address):
    while source.plane.sent:
        datagram, *_ = source.plane.sent.pop(0)
        sink.plane.pending_handshakes.append((datagram, Endpoint(address, 9)))
    sink.engine.on_notices()


def handshake(a, b):
    a.plane.pending_notices = dict.fromkeys(a.plane.slots, KEY_NEEDED)
    a.engine.on_notices()
    deliver(a, b, "192.0.2.1")
    deliver(b, a, "192.0.2.2")


def test_handshake_installs_matching_keys(pair):
    clock, a, b = pair
    handshake(a, b)
    (key_a,), (key_b,) = a.plane.slots[1]["keys"], b.plane.slots[1]["keys"]
    assert key_a[0] == key_b[1] and key_a[1] == key_b[0]
    assert key_a[2] == key_b[3] and key_a[3] == key_b[2] and any(key_a[2])
    assert key_a[4] and not key_b[4]
    assert b.peer(a.public).endpoint == HostPort("192.0.2.1", 9)
    assert a.peer(b.public).last_handshake == clock().wall
    assert b.peer(a.public).rx_bytes == 148 and a.peer(b.public).rx_bytes == 92


def test_keys_are_zeroed_after_install_even_when_it_fails(pair):
    _, a, b = pair
    slot = a.plane.slots and next(iter(a.plane.slots))

    def refuse(*_, **__):
        raise MemoryError

    for install in (a.plane.install, refuse):
        a.plane.install = install
        for peer in (b.public, bytes(32)):
            send, receive = bytearray(b"s" * 32), bytearray(b"r" * 32)
            Applier(a.plane, {b.public: slot}).run(
                [fx.InstallKeypair(peer, 1, 2, True, send, receive)], Instant(1, 1))
            assert not any(send) and not any(receive)


def test_an_index_that_the_plane_could_not_take_is_free_again(pair):
    _, a, b = pair

    def refuse(*_, **__):
        raise MemoryError
    b.plane.install = refuse
    handshake(a, b)
    assert len(b.engine.device.indices) == 0 and not b.engine.device.peers[a.public].expiry
    assert len(a.engine.device.indices) == 1


def test_the_core_hears_what_is_free_when_all_effects_are_carried_out(pair, monkeypatch):
    """A session replaces another: its installation, what is flushed and sent comes first."""
    clock, a, b = pair
    handshake(a, b)
    (old, *_), = a.plane.slots[1]["keys"]
    clock.ns += 6 * SECOND
    install, done = a.plane.install, []

    def replace(slot, **facts):
        install(slot, **facts)
        del a.plane.slots[slot]["keys"][0]
        done.append("install")
        return [old]
    monkeypatch.setattr(a.plane, "install", replace)
    monkeypatch.setattr(a.plane, "flush", lambda slot: done.append("flush"))
    monkeypatch.setattr(a.plane, "keepalive", lambda slot: done.append("keepalive"))
    freed = a.engine.device.freed
    monkeypatch.setattr(a.engine.device, "freed", lambda peer, indices: (done.append(list(indices)), freed(peer, indices)))
    handshake(a, b)
    assert done[-4:] == ["install", "flush", "keepalive", [old]]
    assert list(a.engine.device.peers[b.public].expiry) == a.plane.live_indices(1) != [old]


def test_initiations_that_arrive_at_once_cost_no_five_seconds(pair):
    """A path that held them back lets them go together: the peer answers the first, which
    was forgotten, and refuses the others as a flood. It is asked once more, and only then
    the 5 s rule holds."""
    clock, a, b = pair
    a.engine.connect()
    for _ in range(2):
        clock.ns += 3 * SECOND // 10
        a.engine.revive()
    assert [len(datagram) for datagram, *_ in a.plane.sent] == [148] * 3
    deliver(a, b, "192.0.2.1")
    assert len(b.plane.sent) == 1
    deliver(b, a, "192.0.2.2")
    assert not a.plane.slots[1]["keys"]
    clock.ns = a.engine.next_deadline()
    a.engine.on_deadline()
    assert clock.ns == 1000 * SECOND + 185 * SECOND // 100
    deliver(a, b, "192.0.2.1")
    deliver(b, a, "192.0.2.2")
    assert a.plane.slots[1]["keys"]


@pytest.mark.parametrize("ask", (Engine.connect, Engine.revive))
def test_who_does_not_answer_is_asked_once_more_and_then_by_the_timer(pair, ask):
    clock, a, _ = pair
    a.engine.connect()
    clock.ns += SECOND
    ask(a.engine)
    a.plane.sent.clear()
    began, sent = clock.ns, []
    while len(sent) < 2:
        clock.ns = a.engine.next_deadline()
        a.engine.on_deadline()
        sent += [clock.ns - began] * len(a.plane.sent)
        a.plane.sent.clear()
    assert sent[0] == 1.25 * SECOND
    assert 5 * SECOND <= sent[1] - sent[0] < 5.4 * SECOND, "REKEY_TIMEOUT and its jitter"


def test_who_answered_is_not_asked_again(pair):
    clock, a, b = pair
    a.engine.connect()
    deliver(a, b, "192.0.2.1")
    deliver(b, a, "192.0.2.2")
    a.plane.sent.clear()
    clock.ns += 2 * SECOND
    a.engine.on_deadline()
    assert not a.plane.sent


def keepalives(node):
    return [slot for what, slot in node.plane.calls if what == "keepalive"]


def later(clock, node, ns):
    clock.ns += ns
    if (at := node.engine.next_deadline()) is not None and at <= clock.ns:
        node.engine.on_deadline()


def test_a_move_is_told_once_to_each_peer_with_a_session(pair):
    """F4: a burst of network events gives one keepalive half a second after the first; a
    peer without a session is not asked for one."""
    clock, a, b = pair
    a.add(os.urandom(32), endpoint=HostPort("192.0.2.3", 3))
    handshake(a, b)
    a.plane.calls.clear()
    for _ in range(4):
        a.engine.network_changed(moved=True)
        later(clock, a, SECOND // 10)
    assert keepalives(a) == [] and a.engine.next_deadline() == clock.ns + SECOND // 10
    later(clock, a, SECOND // 10)
    assert keepalives(a) == [1]
    later(clock, a, SECOND)
    assert keepalives(a) == [1]
    a.engine.network_changed(moved=True)
    later(clock, a, SECOND // 2)
    assert keepalives(a) == [1, 1]


def test_other_changes_of_the_network_send_nothing(pair):
    clock, a, b = pair
    handshake(a, b)
    a.plane.calls.clear()
    a.engine.network_changed(moved=False)
    later(clock, a, SECOND)
    assert keepalives(a) == [] and ("clear_source", 1) in a.plane.calls


def test_no_keepalive_where_it_would_ask_for_a_handshake(pair):
    """The responder may send only once the session is confirmed; nobody after 180 s."""
    clock, a, b = pair
    handshake(a, b)
    b.engine.network_changed(moved=True)
    later(clock, b, SECOND // 2)
    assert keepalives(b) == []
    b.plane.pending_notices = {1: CONFIRMED}
    b.engine.on_notices()
    b.engine.network_changed(moved=True)
    later(clock, b, SECOND // 2)
    assert keepalives(b) == [1]
    clock.ns += 180 * SECOND
    b.engine.on_deadline()
    b.engine.network_changed(moved=True)
    later(clock, b, SECOND)
    b.engine.stop()
    b.engine.network_changed(moved=True)
    later(clock, b, SECOND)
    assert keepalives(b) == [1]


def test_flood_is_taken_in_bounded_turns(pair):
    """F3: a queue of garbage delays notices and timers by one turn at most."""
    _, a, b = pair
    a.plane.pending_handshakes = [(bytes([1]) * 148, Endpoint("198.51.100.1", 1))] * 1000
    a.plane.pending_notices = {1: KEY_NEEDED}
    a.engine.on_notices()
    assert len(a.plane.pending_handshakes) == 1000 - HANDSHAKES_A_TURN
    assert a.plane.sent and a.plane.sent[0][1] == 1


def test_deadlines_retransmit(pair):
    clock, a, b = pair
    a.plane.pending_notices = {1: KEY_NEEDED}
    a.engine.on_notices()
    assert len(a.plane.sent) == 1
    at = a.engine.next_deadline()
    assert clock.ns + 5 * SECOND <= at <= clock.ns + 5.4 * SECOND
    clock.ns = at
    a.engine.on_deadline()
    assert len(a.plane.sent) == 2


def test_changed_psk_reaches_the_next_handshake(pair):
    clock, a, b = pair
    psk = os.urandom(32)
    a.add(b.public, preshared_key=psk)
    handshake(a, b)
    assert a.plane.slots[1]["keys"] == []
    b.add(a.public, preshared_key=psk)
    clock.ns += 10 * SECOND
    a.engine.on_deadline()
    deliver(a, b, "192.0.2.1")
    deliver(b, a, "192.0.2.2")
    assert len(a.plane.slots[1]["keys"]) == 1


def test_changed_private_key_ends_sessions(pair):
    _, a, b = pair
    handshake(a, b)
    a.engine.apply(SetRequest(private_key=os.urandom(32)))
    assert a.plane.slots[1]["keys"] == []


def test_set_semantics(pair):
    _, a, b = pair
    other = os.urandom(32)
    net = Prefix(bytes([10, 0, 0, 0]), 8)
    a.add(other, update_only=True)
    assert [p.public_key for p in a.engine.describe().peers] == [b.public]
    a.add(other, keepalive=7, preshared_key=b"p" * 32, allowed_ips=(PrefixChange(net),))
    got = a.peer(other)
    assert (got.keepalive, got.preshared_key, got.allowed_ips) == (7, b"p" * 32, (net,))
    a.add(b.public, allowed_ips=(PrefixChange(net),))
    assert a.peer(other).allowed_ips == () and net in a.peer(b.public).allowed_ips
    a.add(b.public, allowed_ips=(PrefixChange(net, remove=True),))
    assert net not in a.peer(b.public).allowed_ips
    a.add(b.public, replace_allowed_ips=True)
    assert a.peer(b.public).allowed_ips == ()
    a.add(b.public, remove=True)
    a.add(b.public, remove=True)
    assert [p.public_key for p in a.engine.describe().peers] == [other]
    a.engine.apply(SetRequest(replace_peers=True))
    assert a.engine.describe().peers == () and a.plane.slots == {}


def test_own_public_key_is_no_peer(pair):
    _, a, b = pair
    a.add(a.public)
    assert [p.public_key for p in a.engine.describe().peers] == [b.public]
    a.engine.apply(SetRequest(private_key=b.private))
    assert a.engine.describe().peers == () and a.plane.slots == {}


def test_private_key_can_be_cleared_and_is_described(pair):
    _, a, b = pair
    assert a.engine.describe().private_key == a.private
    a.engine.apply(SetRequest(private_key=b"\xff" * 32))
    assert a.engine.describe().private_key == b"\xf8" + b"\xff" * 30 + b"\x7f", "as the kernel shows it"
    a.engine.apply(SetRequest(private_key=bytes(32)))
    assert a.engine.describe().private_key == bytes(32) and a.engine.device.public_key is None


def test_check_refuses_what_would_not_fit():
    node = Node(Clock(), max_peers=2, max_prefixes=2)
    peers = [PeerChange(os.urandom(32)) for _ in range(3)]
    nets = tuple(PrefixChange(Prefix(bytes([i, 0, 0, 0]), 8)) for i in range(3))
    for bad in (SetRequest(peers=tuple(peers)), SetRequest(peers=(PeerChange(bytes(32), allowed_ips=nets),)),
                SetRequest(peers=(PeerChange(bytes(32), endpoint=HostPort("fe80::1%nowhere0", 1)),))):
        with pytest.raises(WgpyError):
            node.engine.check(bad)
    node.engine.check(SetRequest(peers=(*peers[:2], PeerChange(peers[0].public_key, remove=True), peers[2])))


def test_effects_for_a_removed_peer_are_void(pair):
    _, a, b = pair
    handshake(a, b)
    a.add(b.public, remove=True)
    a.plane.pending_notices = {1: KEY_NEEDED}
    a.engine.on_notices()
    a.engine.on_deadline()
    assert a.engine.next_deadline() is None


def test_load_is_an_event_when_it_begins_and_when_it_ends(pair):
    """F3. The plane says when: the engine looks with each turn, and each second until it is over."""
    clock, a, b = pair
    a.engine.on_notices()
    a.plane.loaded = True
    for _ in range(3):
        a.engine.on_notices()
    later(clock, a, SECOND)
    events = lambda: [a.engine.metrics()[f"event_{kind}"] for kind in ("under_load", "load_over")]
    assert events() == [1, 0]
    a.plane.loaded = False
    later(clock, a, SECOND)
    assert events() == [1, 1] and a.engine.next_deadline() is None


def test_metrics_name_drops_rejects_and_events(pair):
    _, a, b = pair
    a.plane.pending_handshakes = [(b"\1\0\0\0" + bytes(144), Endpoint("198.51.100.1", 1))]
    a.engine.on_notices()
    metrics = a.engine.metrics()
    assert metrics["drop_no_peer"] == 3 and metrics["reject_zero_dh"] == 1 and metrics["aead"] == "fake"
