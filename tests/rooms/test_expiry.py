"""A transport key is gone from memory when its time has come (F1), and what an
interruption may have cost is asked for again. Under virtual time, in this process."""

import os

from rooms.test_keys import found, memory

from wgpy._fast.plane import Plane
from wgpy.notices import Endpoint
from wgpy.protocol.device import Device, Instant
from wgpy.protocol.effects import SendToPeer
from wgpy.suite import registry

SECOND = 10**9
MASK = bytes([0x5A]) * 32


def masked(key):
    return bytes(a ^ b for a, b in zip(key, MASK))


def present(hidden):
    """Whether the key is in memory, not counting the copies that looking for it makes:
    the search runs in another process, which alone unmasks it."""
    reader, writer = os.pipe()
    pid = os.getpid()
    if os.fork() == 0:
        os.write(writer, b"yes" if found({"key": masked(hidden)}, memory(pid)) else b"no")
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.wait()
    return said == b"yes"


def install(plane, slot, index, now):
    """Returns the keys, masked; ours are overwritten as the applier does."""
    hidden, keys = [os.urandom(32) for _ in range(2)], [bytearray(32) for _ in range(2)]
    for key, mask in zip(keys, hidden):
        for i in range(32):  # in place: no other copy
            key[i] = mask[i] ^ MASK[i]
    plane.install(slot, local_index=index, remote_index=9, send_key=keys[0], receive_key=keys[1], initiator=True,
                  now=now)
    for key in keys:
        key[:] = bytes(32)
    return hidden


def test_a_keypair_is_wiped_180_s_after_its_birth():
    plane = Plane(max_peers=4, aead="openssl")
    slot = plane.add_peer()
    old, new = install(plane, slot, 1, 1000 * SECOND), install(plane, slot, 2, 1100 * SECOND)
    assert sorted(plane.live_indices(slot)) == [1, 2]
    plane.expire(slot, 1179 * SECOND)
    assert sorted(plane.live_indices(slot)) == [1, 2]
    plane.expire(slot, 1180 * SECOND)
    assert plane.live_indices(slot) == [2] and not any(map(present, old))
    plane.expire(slot, 1280 * SECOND)
    assert plane.live_indices(slot) == [] and not any(map(present, new))


def test_every_backend_wipes_the_keys_that_it_was_given():
    for aead in ("openssl", None):
        plane = Plane(max_peers=4, aead=aead)
        slot = plane.add_peer()
        keys = install(plane, slot, 1, 1000 * SECOND)
        if aead is None and plane.aead != "openssl":  # a vector backend keeps them as they are
            assert all(map(present, keys))
        plane.wipe(slot)
        assert not any(map(present, keys))
        keys = install(plane, slot, 1, 1000 * SECOND)
        plane.remove_peer(slot)
        assert not any(map(present, keys))


def device_with_a_peer():
    device = Device(registry.get("wireguard"), os.urandom)
    other = Device(registry.get("wireguard"), os.urandom)
    now = Instant(1000 * SECOND, 10**18)
    for d in (device, other):
        d.set_private_key(os.urandom(32), now)
        d.start(now)
    device.add_peer(other.public_key)
    other.add_peer(device.public_key)
    return device, other


def sent(effects):
    return [e.datagram for e in effects if isinstance(e, SendToPeer)]


def test_reconnect_asks_at_once_whatever_was_sent_before():
    device, other = device_with_a_peer()
    where = Endpoint("192.0.2.1", 51820)
    at = lambda s: Instant(int(1000 * SECOND + s * SECOND), int(10**18 + s * SECOND))
    first = sent(device.reconnect(other.public_key, at(0)))
    second = sent(device.reconnect(other.public_key, at(0.3)))
    assert len(first) == len(second) == 1 and first != second
    assert not sent(device.tick(at(5.2), {})), "the first one's timer is gone"
    replies = other.receive(second[0], where, at(0.4))
    assert sent(replies)
    answer = next(e.datagram for e in replies if hasattr(e, "datagram"))
    done = device.receive(answer, where, at(0.5))
    assert any(type(e).__name__ == "InstallKeypair" for e in done)
    assert device.reconnect(b"x" * 32, at(1)) == []
