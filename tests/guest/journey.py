"""A train of packets through the hops of the rooms, in one process, for whoever counts what each takes.

    python journey.py kernel|memory dumps|clock AEAD

Red's TUN and black's sockets have a kernel behind them, or memory is in their place. `dumps`: under callgrind,
to which each call of getppid() is the end of a dump, there are for every hop one of what came before, one
of the hop, and one of the hop with nothing to do. `clock`: what the clock showed meanwhile, for a machine
whose clock goes by instructions.

Whichever Python has the extension modules that are looked at runs it; it needs those and Python's own."""

import mmap
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator

from wgpy._fast.plane import Plane
from wgpy._fast.ports import Gate, MemoryPort, Pump, RingIn, RingOut, TunPort, UdpPort
from wgpy.notices import Endpoint

PACKETS, SIZE = 45, 1420  # what one send carries
TURNS = 8  # the first few fill caches of the plane
NOW = 10**12  # stands still: no key ages
HEADERS, VNET, UDP_GRO, NO_BELL = 40, 10, 104, (-1, None, 0)
US = bytes((10, 1, 0, 1))  # sends to itself, so that one plane opens what it sealed


def folded(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def tcp(segments: int) -> bytes:
    """A packet as a TUN device gives it, behind a virtio-net header: of many segments, the checksum begun."""
    payload = (SIZE - HEADERS) * segments
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, HEADERS + payload, 1, 0x4000, 64, 6, 0, US, US)
    ip = ip[:10] + struct.pack("!H", 0xFFFF ^ folded(ip)) + ip[12:]
    begun = folded(US + US + struct.pack("!HH", 6, 20 + payload))
    header = struct.pack("!HHIIBBHHH", 4000, 5000, 1, 1, 5 << 4, 0x10, 1000, begun, 0)
    return struct.pack("<BBHHHH", 1, 1, HEADERS, SIZE - HEADERS, 20, 16) + ip + header + bytes(payload)


class Ring:
    def __init__(self, *, datagrams: bool):
        area, page = mmap.mmap(-1, 1 << 20), mmap.mmap(-1, 4096)
        for memory in (area, page):
            memory.write(bytes(len(memory)))  # or the first turns would be those of a kernel that finds pages
        self.out = RingOut(area, page, NO_BELL, NO_BELL, datagrams=datagrams)
        self.into = RingIn(page, area, NO_BELL, NO_BELL, datagrams=datagrams)


class Kernel:
    """The journey with a kernel at its ends: in red's place a socket that gives and takes what a TUN device
    would, in black's a UDP socket that sends to itself."""

    def __init__(self, from_red: Ring, to_black: Ring, from_black: Ring, to_red: Ring):
        self._host, self._tun = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self._udp.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        for s in (self._tun, self._udp):
            s.setblocking(False)
        tun, udp, gate = TunPort(self._tun.fileno()), UdpPort(self._udp.fileno(), -1), Gate(from_black.out)
        self.endpoint = Endpoint(*self._udp.getsockname())
        self.first = {"TUN to ring": Pump(tun, None, from_red.out)}
        self.between = {"ring to UDP": Pump(to_black.into, gate.tap(), udp), "UDP to ring": Pump(udp, gate.stage(), from_black.out)}
        self.last = {"ring to TUN": Pump(to_red.into, None, tun)}

    def give(self) -> None:
        self._host.send(tcp(PACKETS))

    def after(self, hop: str) -> None:
        """A busy kernel delivers when it comes to it."""
        if hop == "ring to UDP":
            select.select([self._udp], [], [], 60)

    def take(self) -> None:
        assert len(self._host.recv(1 << 17)) == len(tcp(PACKETS))  # one again


class Memory:
    """The journey without."""
    endpoint = Endpoint("127.0.0.1", 9)

    def __init__(self, from_red: Ring, to_black: Ring, from_black: Ring, to_red: Ring):
        self._given, self._taken = MemoryPort(), MemoryPort()
        self.first = {"memory to ring": Pump(self._given, None, from_red.out)}
        self.between = {"ring to ring": Pump(to_black.into, None, from_black.out)}
        self.last = {"ring to memory": Pump(to_red.into, None, self._taken)}

    def give(self) -> None:
        for _ in range(PACKETS):
            self._given.put(tcp(1)[VNET:])

    def after(self, hop: str) -> None:
        pass

    def take(self) -> None:
        assert len(self._taken.take()) == PACKETS


def plane_for(endpoint: Endpoint, aead: str) -> Plane:
    plane = Plane(max_peers=1, max_prefixes=1, aead=aead)
    slot = plane.add_peer()
    plane.allow(slot, US, 32)
    plane.set_endpoint(slot, endpoint)
    plane.install(slot, local_index=7, remote_index=7, send_key=bytes(32), receive_key=bytes(32), initiator=True, now=NOW)
    return plane


def journeys(ends: type[Kernel | Memory], mark: Callable[[], int], aead: str) -> Iterator[tuple[str, int, int]]:
    """Each hop of each turn, and what `mark` went on by while it ran and while it had nothing to do."""
    rings = from_red, to_black, from_black, to_red = [Ring(datagrams=d) for d in (False, True, True, False)]
    outside = ends(*rings)
    plane = plane_for(outside.endpoint, aead)
    seal, opener = Pump(from_red.into, plane.seal_stage(), to_black.out), Pump(from_black.into, plane.open_stage(), to_red.out)
    hops = outside.first | {"seal": seal} | outside.between | {"open": opener} | outside.last
    for pump in [*hops.values()] * 3:
        pump.step(NOW)  # rings attach
    for _ in range(TURNS):
        outside.give()
        for name, pump in hops.items():
            marks = [mark()]
            moved = []
            for _ in range(2):
                moved.append(pump.step(NOW))
                marks.append(mark())
            if moved != [PACKETS, 0]:
                sys.exit(f"{name}: {moved}, not {PACKETS} and none: {pump.drops()}")
            yield name, marks[1] - marks[0], marks[2] - marks[1]
            outside.after(name)
        outside.take()


def main() -> None:
    ends, mark, aead = sys.argv[1:]
    marks = {"dumps": os.getppid, "clock": time.monotonic_ns}
    for name, run, idle in journeys({"kernel": Kernel, "memory": Memory}[ends], marks[mark], aead):
        print(f"hop {name}:", run, idle)


if __name__ == "__main__":
    main()
