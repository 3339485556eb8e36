"""The core's handling of configuration, handshake messages and indices."""

import random

import pytest
from sim.network import Link, pair, sent_by
from sim.node import SECOND, SUITE, Node, ipv4

from wgpy.errors import WgpyError
from wgpy.notices import Endpoint
from wgpy.protocol import effects as fx
from wgpy.protocol import tai64n
from wgpy.protocol.device import Device, Instant

A_TO_B = ipv4("10.0.0.1", "10.0.0.2")
B_TO_A = ipv4("10.0.0.2", "10.0.0.1")
AWAY = Endpoint("203.0.113.5", 4444)


def first_message(net, a):
    net.send(a, A_TO_B)
    return next(d for _, n, d in net.datagrams if n == a.name and d[0] == 1)


@pytest.mark.of_wireguard
def test_message_lengths_are_those_of_the_paper():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    assert [len(d) for _, _, d in net.datagrams] == [148, 92, 32 + 32]


@pytest.mark.parametrize("change", [
    lambda d: d[:-1], lambda d: d + b"\0", lambda d: d[:1] + b"\1" + d[2:], lambda d: b"\5" + d[1:],
    lambda d: b"", lambda d: d[:4]])
def test_other_lengths_types_and_reserved_bytes_are_a_counted_drop(change):
    net, a, b = pair()
    assert b.device.receive(change(first_message(net, a)), a.where, net.now(b)) == []
    assert b.device.rejects == {"malformed": 1}


def test_a_replayed_initiation_is_refused():
    net, a, b = pair()
    message = first_message(net, a)
    net.run(10)
    out = b.device.receive(message, AWAY, net.now(b))
    assert b.device.rejects == {"replay": 1}
    assert out == [fx.Event("rejected", a.public, "replay")]


def test_a_peer_that_is_not_configured_gets_silence():
    net, a, b = pair()
    stranger = net.add(Node("c", "192.0.2.3"))
    stranger.add_peer(b.public, b.where, "10.0.0.2")
    stranger.start(net.now(stranger))
    net.send(stranger, ipv4("10.0.0.3", "10.0.0.2"))
    net.run(3)
    assert sent_by(net, b, 2) == [] and b.device.rejects == {"unknown_peer": 1}


def test_initiations_of_a_peer_closer_than_20_ms_are_dropped():
    for gap, accepted in ((19_900_000, 1), (20_000_000, 2)):
        net, a, b = pair(link=Link(loss=1.0))
        net.send(a, A_TO_B)
        net.run(6)
        first, second = [d for _, n, d in net.datagrams if n == "a"]
        b.device.receive(first, a.where, Instant(net.mono, 0))
        b.device.receive(second, a.where, Instant(net.mono + gap, 0))
        assert b.device.rejects["flood"] == 2 - accepted


def test_the_endpoint_follows_authenticated_initiations_and_responses():
    """F4"""
    net, a, b = pair()
    message = first_message(net, a)
    out = b.device.receive(message, AWAY, net.now(b))
    assert fx.SetEndpoint(a.public, AWAY) in out
    response = next(e.datagram for e in out if isinstance(e, fx.SendToPeer))
    out = a.device.receive(response, AWAY, net.now(a))
    assert fx.SetEndpoint(b.public, AWAY) in out


def test_a_peer_that_moves_is_followed_without_a_handshake():
    """F4: at most the packets on their way are lost."""
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    net.move(a, AWAY)
    net.send(a, A_TO_B)
    net.run(1)
    net.send(b, B_TO_A)
    net.run(1)
    assert a.received == [B_TO_A] and len(sent_by(net, a, 1)) == 1


def test_a_forged_response_does_not_destroy_the_handshake_in_flight():
    net, a, b = pair()
    message = first_message(net, a)
    out = b.device.receive(message, a.where, net.now(b))
    real = next(e.datagram for e in out if isinstance(e, fx.SendToPeer))
    key = SUITE.hash(b"mac1----" + a.public)
    whole, _ = SUITE.layout.mac1(real)
    for offset in (12, 12 + SUITE.public_size, len(whole) - 1):
        body = bytearray(whole)
        body[offset] ^= 1
        forged = bytes(body) + SUITE.mac(key, bytes(body)) + bytes(SUITE.mac_size)
        out = a.device.receive(forged, AWAY, net.now(a))
        assert [type(e) for e in out] == [fx.Event]
    assert a.device.rejects["response"] + a.device.rejects["zero_dh"] == 3
    assert fx.InstallKeypair in [type(e) for e in a.device.receive(real, b.where, net.now(a))]


def test_a_response_is_accepted_once():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    response = next(d for _, n, d in net.datagrams if d[0] == 2)
    assert [type(e) for e in a.device.receive(response, AWAY, net.now(a))] == [fx.Event]
    assert a.device.rejects == {"unknown_index": 1}


def test_an_old_response_during_the_next_handshake_is_refused_by_its_index():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(121)
    net.link.loss = 1.0
    net.send(a, A_TO_B)
    response = next(d for _, n, d in net.datagrams if d[0] == 2)
    assert a.device.peers[b.public].flight
    a.device.receive(response, b.where, net.now(a))
    assert a.device.rejects == {"unknown_index": 1}


def test_different_preshared_keys_make_no_session():
    """F7"""
    net, a, b = pair()
    a.device.set_preshared_key(b.public, b"1" * 32, net.now(a))
    net.send(a, A_TO_B)
    net.run(20)
    assert b.received == [] and a.device.rejects["response"] >= 3


def test_zeros_are_no_preshared_key():
    net, a, b = pair()
    a.device.set_preshared_key(b.public, b"1" * 32, net.now(a))
    a.device.set_preshared_key(b.public, bytes(32), net.now(a))
    assert a.device.peers[b.public].preshared_key == bytes(32)
    net.send(a, A_TO_B)
    net.run(1)
    assert b.received == [A_TO_B]


def test_a_new_private_key_ends_sessions_and_the_old_identity():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    a.run(a.device.set_private_key(SUITE.new_key(), net.now(a)), net.now(a))
    assert a.plane.live_indices(0) == [] and len(a.device.indices) == 0
    net.send(b, B_TO_A)
    net.send(a, A_TO_B)
    net.run(30)
    assert a.received == [] and len(b.received) == 1
    b.add_peer(a.device.public_key, a.where, "10.0.0.1")
    net.send(a, A_TO_B)
    net.run(10)
    assert len(b.received) == 3        # the packet that waited, and this one


def test_a_peer_that_becomes_ourselves_is_dropped():
    net, a, b = pair()
    a.run(a.device.set_private_key(b.private, net.now(a)), net.now(a))
    assert a.device.public_key == b.public and dict(a.device.peers) == {}
    a.device.add_peer(b.public)
    assert dict(a.device.peers) == {}


def test_zeros_clear_the_private_key():
    net, a, b = pair()
    a.device.set_private_key(bytes(SUITE.private_size), net.now(a))
    assert a.device.public_key is None
    assert a.device.receive(bytes(SUITE.size(1)), b.where, net.now(a)) == []


def test_while_the_interface_is_down_messages_are_refused():
    net, a, b = pair()
    message = first_message(net, a)
    b.stop(net.now(b))
    assert b.device.receive(message, a.where, net.now(b)) == []
    assert b.device.rejects == {"down": 1}


@pytest.mark.parametrize("call", [
    lambda d, now: d.set_private_key(b"short", now), lambda d, now: d.add_peer(b"short"),
    lambda d, now: d.set_keepalive(next(iter(d.peers)), 65536, now),
    lambda d, now: d.set_keepalive(next(iter(d.peers)), -1, now),
    lambda d, now: d.set_preshared_key(next(iter(d.peers)), b"short", now)])
def test_configuration_that_cannot_be_is_one_clear_error(call):
    net, a, b = pair()
    with pytest.raises(WgpyError):
        call(a.device, net.now(a))


def test_a_peer_key_of_low_order_never_gets_a_handshake():
    net, a, b = pair()
    a.add_peer(bytes(SUITE.public_size), b.where, "10.0.0.9")
    net.send(a, ipv4("10.0.0.1", "10.0.0.9"))
    net.run(300)
    assert net.datagrams == [] and a.device.deadline() is None


def test_indices_are_freed_when_the_plane_lets_their_keypairs_go():
    net, a, b = pair()
    for _ in range(1000):
        net.send(a, A_TO_B)
        net.run(1)
    assert len(sent_by(net, a, 1)) == 9
    assert 1 <= len(a.device.indices) <= 3 and 1 <= len(b.device.indices) <= 3
    assert set(a.plane.live_indices(0)) == set(a.device.indices._owner)


def test_an_index_lives_until_the_plane_says_that_it_freed_it():
    net, a, b = pair()
    out = b.device.receive(first_message(net, a), a.where, net.now(b))
    index = next(e.local_index for e in out if isinstance(e, fx.InstallKeypair))
    b.device.freed(a.public, [index ^ 1])
    assert b.device.indices.get(index)
    b.device.freed(a.public, [index])
    assert b.device.indices.get(index) is None


def test_an_index_in_use_is_never_given_twice():
    same = iter([b"\1\0\0\0", b"\1\0\0\0", b"\1\0\0\0", b"\2\0\0\0"])
    from wgpy.protocol.indices import IndexTable
    table = IndexTable(lambda n: next(same))
    assert [table.new("p"), table.new("p")] == [1, 2]


def test_keys_do_not_show_in_reprs():
    net, a, b = pair()
    a.device.set_preshared_key(b.public, b"s" * 32, net.now(a))
    b.device.set_preshared_key(a.public, b"s" * 32, net.now(b))
    net.send(a, A_TO_B)
    net.run(1)
    install = a.effects(fx.InstallKeypair)[0][1]
    text = repr(a.device.peers) + repr(a.device) + repr(install) + repr(vars(a.device))
    current = a.plane._peers[0].keys.current
    for secret in (b"s" * 32, a.private, bytes(current.send_key), bytes(current.receive_key)):
        assert repr(secret)[2:-1] not in text and secret.hex() not in text


def test_timestamps_increase_while_the_wall_clock_stands_or_steps_back():
    net, a, b = pair(link=Link(loss=1.0))
    for step in (0, 0, -3600 * SECOND, -10**18, 5):
        net.clock_error["a"] = net.clock_error.get("a", 0) + step
        a.stop(net.now(a))
        a.start(net.now(a))
        net.send(a, A_TO_B)
        a.plane.purge(0)
    messages = [d for _, n, d in net.datagrams if n == "a"]
    for d in messages:
        net.mono += SECOND
        b.device.receive(d, a.where, net.now(b))
    assert len(messages) == 5 and b.device.rejects["replay"] == 0


def test_a_node_that_lost_its_clock_comes_up_with_the_floor_it_saved():
    """CVE-2021-46873, and a node without a real-time clock."""
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    floor = a.device.greatest_stamp
    assert floor
    reborn = Device(SUITE.chosen, random.Random(5).randbytes)
    now = Instant(5 * SECOND, 0)                # 1970
    reborn.set_private_key(a.private, now)
    reborn.add_peer(b.public)
    reborn.timestamp_floor = floor
    reborn.start(now)
    message = next(e.datagram for e in reborn.notice(b.public, 1, now) if isinstance(e, fx.SendToPeer))
    b.device.receive(message, a.where, net.now(b))
    assert b.device.rejects == {}


def test_a_clock_that_was_far_ahead_once_does_not_lock_its_peer_out():
    """CVE-2021-46873: stamps go on from the highest, whatever the clock says later."""
    net, a, b = pair()
    net.clock_error["a"] = 100 * 365 * 86400 * SECOND
    net.send(a, A_TO_B)
    net.run(1)
    net.clock_error["a"] = 0
    net.run(300)
    net.send(a, A_TO_B)
    net.run(1)
    assert len(b.received) == 2


def test_removing_and_adding_a_peer_does_not_set_its_timestamps_back():
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    a.remove_peer(b.public, net.now(a))
    net.clock_error["a"] = -1000 * SECOND
    a.add_peer(b.public, b.where, "10.0.0.2")
    net.send(a, A_TO_B)
    net.run(1)
    assert len(b.received) == 2


def _initiations(net, a, count: int) -> list[bytes]:
    """That were made and never arrived, 6 s apart."""
    out = []
    for _ in range(count):
        fresh = Device(SUITE.chosen, random.Random(len(out)).randbytes)
        fresh.set_private_key(a.private, net.now(a))
        (b_key,) = a.device.peers
        fresh.add_peer(b_key)
        fresh.start(net.now(a))
        effects = fresh.notice(b_key, 1, net.now(a))
        out += [e.datagram for e in effects if isinstance(e, fx.SendToPeer)]
        net.run(6)
    return out


def _went_back(net, a, b, message: bytes) -> int:
    net.mono += SECOND
    effects = b.device.receive(message, a.where, net.now(b))
    return sum(isinstance(e, fx.Event) and e.kind == "stamps_back" for e in effects)


def test_a_peer_whose_clock_was_ahead_is_told_of_at_once_and_once():
    """A peer that does not stamp monotonically across its restart, as wireguard-go or a
    tunnel daemon: its stamps are behind the one that was ahead of our clock."""
    net, a, b = pair()
    net.clock_error["a"] = 1000 * SECOND
    (ahead,) = _initiations(net, a, 1)
    net.clock_error["a"] = 0
    right = _initiations(net, a, 2)
    assert [_went_back(net, a, b, m) for m in (ahead, *right)] == [0, 1, 0]
    assert b.device.rejects == {"replay": 2}
    assert 980 < b.device.peers[a.public].stamps_back <= 1000


def test_copies_and_one_old_initiation_are_replays_and_several_that_go_on_are_more():
    net, a, b = pair()
    old = _initiations(net, a, 2)
    (new,) = _initiations(net, a, 1)
    assert not any(_went_back(net, a, b, m) for m in (new, new, new, old[0], old[0], new))
    assert b.device.peers[a.public].stamps_back == 0
    assert _went_back(net, a, b, old[1]) == 1
    (newer,) = _initiations(net, a, 1)
    assert not _went_back(net, a, b, newer)
    assert b.device.rejects == {"replay": 6} and b.device.peers[a.public].stamps_back == 0


def test_the_greatest_timestamp_can_be_saved_and_keeps_replays_out_after_a_restart():
    net, a, b = pair()
    message = first_message(net, a)
    net.run(1)
    saved = b.device.peers[a.public].greatest_timestamp
    reborn = Device(SUITE.chosen, random.Random(5).randbytes)
    reborn.set_private_key(b.private, net.now(b))
    reborn.add_peer(a.public)
    reborn.peers[a.public].greatest_timestamp = saved
    reborn.start(net.now(b))
    reborn.receive(message, a.where, net.now(b))
    assert reborn.rejects == {"replay": 1}
    with pytest.raises(ValueError):
        reborn.peers[a.public].greatest_timestamp = b"short"


def test_tai64n_has_the_base_of_the_standard_and_whitened_nanoseconds():
    assert tai64n.encode(0) == bytes.fromhex("400000000000000a00000000")
    stamp = tai64n.encode(tai64n.after(1_700_000_000_123_456_789))
    assert stamp == bytes.fromhex("400000006553f10a") + (123_456_789 & ~0xFFFFFF).to_bytes(4, "big")
    assert tai64n.decode(stamp) // SECOND == 1_700_000_000


def test_tai64n_quanta_cross_a_second():
    last = tai64n.whiten(1_700_000_000_999_999_999)
    for _ in range(200):
        later = tai64n.after(0, last)
        assert tai64n.encode(later) > tai64n.encode(last) and later == tai64n.whiten(later)
        last = later
