"""Padding: zeros up to a multiple of 16, never beyond the device's MTU, none for keepalives.
Both planes, whose datagrams must be the kernel's in length. A packet that is longer than the
MTU (which has shrunk since the packet was made) does not become longer still."""
import random
import socket
import struct

import pytest
from harness import HOME, START, Node
from nacl.bindings import crypto_aead_chacha20poly1305_ietf_decrypt as decrypt
from packets import ip4, ip6, packed
from test_tun_trains import super_packet

from wgpy._fast.plane import Plane
from wgpy._fast.ports import Pump, TunPort
from wgpy.protocol import plane as specification

OVERHEAD = 32  # header and tag
KEY = bytes(range(32))
MTUS = [1280, 1391, 1412, 1419, 1420, 8921, 65507 - OVERHEAD]


class Native:
    def __init__(self, mtu: int):
        self.node = Node("10.0.0.2")
        self.plane, self.slot = self.node.plane, self.node.slot
        self.stage = self.plane.seal_stage(mtu=mtu)
        self.node.seal_pump = Pump(self.node.tun_in, self.stage, self.node.udp_out)

    def resize(self, mtu: int) -> None:
        self.stage.mtu = mtu

    def seal(self, *packets: bytes) -> list[bytes]:
        return self.node.seal(*packets)


class Specified:
    def __init__(self, mtu: int):
        self.plane = specification.Plane(entropy=random.Random(0).randbytes, mtu=mtu)
        self.slot = self.plane.add_peer()
        self.plane.allow(self.slot, packed("10.0.0.2"), 32)
        self.plane.set_endpoint(self.slot, HOME)

    def resize(self, mtu: int) -> None:
        self.plane.mtu = mtu

    def seal(self, *packets: bytes) -> list[bytes]:
        sent = self.plane.pull(START)
        for packet in packets:
            sent += self.plane.seal(packet, START)
        return [s.datagram for s in sent]


@pytest.fixture(params=[Native, Specified])
def kind(request):
    return request.param


def with_key(end):
    end.plane.allow(end.slot, packed("fd00::2"), 128)
    install(end)
    return end


def install(end) -> None:
    end.plane.install(end.slot, local_index=1, remote_index=2, send_key=KEY, receive_key=KEY, initiator=True, now=START)


def packet_of(length: int, v6: bool = False) -> bytes:
    if v6:
        return ip6("fd00::1", "fd00::2", b"\xaa" * (length - 40))
    return ip4("10.0.0.1", "10.0.0.2", b"\xaa" * (length - 20))


def rule(length: int, mtu: int) -> int:
    """calculate_skb_padding of the kernel's send.c, for what fits the MTU."""
    return min(mtu, -(-length // 16) * 16) if length <= mtu else length


def inner(datagram: bytes) -> bytes:
    return decrypt(datagram[16:], b"", bytes(4) + datagram[8:16], KEY)


def check(packet: bytes, datagram: bytes, mtu: int) -> None:
    assert len(datagram) == rule(len(packet), mtu) + OVERHEAD, (len(packet), mtu)
    assert len(datagram) <= max(mtu, len(packet)) + OVERHEAD
    assert inner(datagram) == packet.ljust(len(datagram) - OVERHEAD, b"\0"), "zeros, and nothing else"


@pytest.mark.parametrize("mtu", MTUS)
def test_every_length_around_the_mtu(kind, mtu):
    end = with_key(kind(mtu))
    for length in [*range(40, 75), *range(mtu - 40, min(mtu + 21, 65508 - OVERHEAD))]:
        for packet in (packet_of(length), packet_of(length, v6=True)):
            (datagram,) = end.seal(packet)
            check(packet, datagram, mtu)


@pytest.mark.parametrize("mtu", MTUS[:-1])
def test_mixed_lengths_in_one_batch(kind, mtu):
    """Each packet's padding is its own, whatever stands beside it."""
    end = with_key(kind(mtu))
    packets = [packet_of(n) for n in (mtu, mtu - 1, 40, mtu - 17, mtu, 41, 1279, mtu - 15)] * 3
    for packet, datagram in zip(packets, end.seal(*packets), strict=True):
        check(packet, datagram, mtu)


@pytest.mark.parametrize("mtu", [1280, 1391, 8921])
def test_segments_of_a_super_packet(mtu):
    """All but the last of a train fill the MTU, and none is longer."""
    end = with_key(Native(mtu))
    kernel, tun = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with kernel, tun:
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        tun.setblocking(False)
        kernel.send(super_packet(7, 0, mtu - 52, 5))
        pump = Pump(TunPort(tun.fileno()), end.stage, end.node.udp_out)
        assert sum(iter(lambda: pump.step(START), 0)) == 7
    datagrams = [datagram for datagram, _, _ in end.node.udp_out.take()]
    assert [len(d) - OVERHEAD for d in datagrams] == [mtu] * 6 + [64]
    for datagram in datagrams:
        plain = inner(datagram)
        assert not any(plain[struct.unpack("!H", plain[2:4])[0]:])


@pytest.mark.parametrize("mtu", [0, 1, 15, 1280, 1391, 1420])
def test_a_keepalive_is_empty(kind, mtu):
    end = with_key(kind(mtu))
    end.plane.keepalive(end.slot)
    (datagram,) = end.seal()
    assert len(datagram) == OVERHEAD and inner(datagram) == b""


@pytest.mark.parametrize("before, after", [(1420, 1280), (1420, 1391), (1391, 1420), (1280, 8921), (8921, 1280)])
def test_what_was_staged_is_padded_for_the_mtu_of_now(kind, before, after):
    """A packet that the MTU of its time let through and that of now would not leaves as it is."""
    end = kind(before)
    packets = [packet_of(n) for n in sorted({40, 1267, 1279, 1280, before - 17, before - 1, before})]
    assert end.seal(*packets) == []
    end.resize(after)
    install(end)
    end.plane.flush(end.slot)
    for packet, datagram in zip(packets, end.seal(), strict=True):
        check(packet, datagram, after)
        assert len(datagram) <= max(before, after) + OVERHEAD


@pytest.mark.parametrize("mtu", [0, 1, 19, 40])
def test_an_mtu_smaller_than_any_packet_pads_nothing(kind, mtu):
    end = with_key(kind(mtu))
    for length in range(41, 80):
        (datagram,) = end.seal(packet_of(length))
        assert len(datagram) == length + OVERHEAD


def test_a_new_stage_begins_with_the_common_mtu():
    assert Plane().seal_stage().mtu == 1420 == specification.Plane(entropy=bytes).mtu
