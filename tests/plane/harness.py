"""Two C planes with known keys, joined by memory ports under a virtual clock."""
import struct

from packets import ip4, packed

from wgpy._fast.plane import Plane
from wgpy._fast.ports import MemoryPort, Pump
from wgpy.notices import Endpoint

SECOND = 1_000_000_000
START = 1_000 * SECOND
HOME = Endpoint("192.0.2.1", 51820, "192.0.2.2", 3)
KEYS = {"a": bytes(range(32)), "b": bytes(range(32, 64))}


class Node:
    """One plane with one peer that owns `theirs`."""

    def __init__(self, theirs: str = "10.0.0.2", cidr: int = 32, **options):
        self.plane = Plane(**options)
        self.slot = self.plane.add_peer()
        self.plane.allow(self.slot, packed(theirs), cidr)
        self.plane.set_endpoint(self.slot, HOME)
        self.tun_in, self.udp_out = MemoryPort(), MemoryPort()
        self.udp_in, self.tun_out = MemoryPort(), MemoryPort()
        self.seal_pump = Pump(self.tun_in, self.plane.seal_stage(), self.udp_out)
        self.open_pump = Pump(self.udp_in, self.plane.open_stage(), self.tun_out)

    def seal(self, *packets: bytes, now: int = START) -> list[bytes]:
        """Datagrams that leave for these packets and for whatever was asked before."""
        for packet in packets:
            assert self.tun_in.put(packet)
        while self.seal_pump.step(now):
            pass
        return [datagram for datagram, _, _ in self.udp_out.take()]

    def open(self, *datagrams: bytes, now: int = START, source: Endpoint = HOME, tos: int = 0) -> list[bytes]:
        """Packets that reach the TUN for these datagrams."""
        for datagram in datagrams:
            assert self.udp_in.put(datagram, source, tos=tos)
        while self.open_pump.step(now):
            pass
        return [packet for packet, _, _ in self.tun_out.take()]

    def dropped(self) -> dict[str, int]:
        totals: dict[str, int] = {}
        for counters in (self.seal_pump.drops(), self.open_pump.drops(), self.plane.drops()):
            for reason, n in counters.items():
                if n:
                    totals[reason] = totals.get(reason, 0) + n
        return totals

    def noticed(self) -> int:
        bits = 0
        for slot, some, _ in self.plane.notices():
            assert slot == self.slot
            bits |= some
        return bits


def session(a: Node, b: Node, *, now: int = START, index: int = 1, confirm: bool = True) -> None:
    """Gives both ends one keypair, `a` as the initiator, and confirms it."""
    keys = {side: bytes(x ^ index & 0xFF for x in key) for side, key in KEYS.items()}
    b.plane.install(b.slot, local_index=0x2000 + index, remote_index=0x1000 + index,
                    send_key=keys["b"], receive_key=keys["a"], initiator=False, now=now)
    a.plane.install(a.slot, local_index=0x1000 + index, remote_index=0x2000 + index,
                    send_key=keys["a"], receive_key=keys["b"], initiator=True, now=now)
    if confirm:
        a.plane.keepalive(a.slot)
        assert b.open(*a.seal(now=now), now=now) == []
        a.noticed(), b.noticed()


def pair(**options) -> tuple[Node, Node]:
    a, b = Node("10.0.0.2", **options), Node("10.0.0.1", **options)
    session(a, b)
    return a, b


def outgoing(payload: bytes = b"payload", **fields) -> bytes:
    """A packet from a's network to b's."""
    return ip4("10.0.0.1", "10.0.0.2", payload, **fields)


def header(datagram: bytes) -> tuple[int, int, int]:
    """(type, receiver, counter) of a transport message."""
    return struct.unpack("<IIQ", datagram[:16])
