"""Ports and pumps, in C: bytes in, bytes out. No cryptography.

Counters are since the start and never go back. A doorbell is (descriptor or -1, event register
or None, value to store there); wgpy.ring.backing says more.
"""

from collections.abc import Sequence
from mmap import mmap
from typing import Self, final

from wgpy.constants import LENGTHS, TRANSPORT_OVERHEAD, Lengths
from wgpy.notices import Endpoint

DROP_TEXTS: dict[str, str]  # every drop's name and its line for a person, in the order of drops.h

_Memory = bytearray | memoryview | mmap
_Bell = tuple[int, _Memory | None, int]

class Port:
    """A place where packets come from or go to. The base of ports: TypeError for what is done
    with one of this class itself."""

    def stats(self) -> dict[str, int]:
        """packets_in, packets_out, bytes_in, bytes_out, calls_in, calls_out."""

class TunPort(Port):
    """A TUN queue with a virtio-net header, unless it is `bare`: then each packet takes a
    call. `overhead`: bytes that sealing will add to a packet (wgpy.constants.Lengths), ValueError
    when none does. The caller keeps the descriptor open for as long as a pump runs."""

    def __new__(cls, fd: int, *, merge_tcp: bool = True, merge_udp: bool = True, bare: bool = False,
                overhead: int = TRANSPORT_OVERHEAD) -> Self: ...
    @property
    def merges(self) -> tuple[str, ...]:
        """What is merged on its way into the TUN, of "tcp" and "udp"; shrinks if the kernel refuses."""

class UdpPort(Port):
    """An IPv4 and an IPv6 socket for transport messages, and one each for all others; -1 where
    there is none: the first then get everything. The caller keeps them open for as long as a
    pump runs."""

    def __new__(cls, fd4: int, fd6: int, aside4: int = -1, aside6: int = -1, *, gso: bool = True) -> Self: ...
    @property
    def gso(self) -> bool:
        """Whether runs are sent as one; latched off when a device cannot."""
    def stats(self) -> dict[str, int]:
        """Also gso_refused."""

class MemoryPort(Port):
    """A bounded queue of packets, for tests and benchmarks. `repeat`: as a source it gives the
    same packets for ever; `discard`: as a sink it only counts."""

    def __new__(cls, *, repeat: bool = False, discard: bool = False) -> Self: ...
    def put(self, packet: bytes, endpoint: Endpoint | None = None, *, tos: int = 0) -> bool:
        """Queues a copy; False when 1024 packets wait already. ValueError for a packet that no
        batch can hold, and for an endpoint that is no numeric address."""
    def take(self) -> list[tuple[bytes, Endpoint | None, int]]:
        """Everything queued, as (bytes, endpoint or None, tos)."""

class RingOut(Port):
    """The producer's end. `own`: writable buffer, the producer's area; `theirs`: the consumer's
    page; doorbells `data` to ring, `space` to wait on; `datagrams`: records carry endpoints.
    ValueError when a buffer is too small or not aligned."""

    def __new__(cls, own: _Memory, theirs: _Memory, data: _Bell, space: _Bell, *, datagrams: bool) -> Self: ...
    def stats(self) -> dict[str, int]:
        """Also attaches, waits, kicks."""

class RingIn(Port):
    """The consumer's end. `own`: writable buffer, the consumer's page; `theirs`: the producer's
    area; doorbells `data` to wait on, `space` to ring. Without `datagrams` the endpoints that
    the producer wrote are ignored. ValueError as of RingOut."""

    def __new__(cls, own: _Memory, theirs: _Memory, data: _Bell, space: _Bell, *, datagrams: bool) -> Self: ...
    def stats(self) -> dict[str, int]:
        """Also attaches, bad_index, bad_record, kicks."""

class Stage:
    """What a pump runs between its ports; made by other modules."""

@final
class GateStage(Stage):
    """Of a Gate, which makes it."""

@final
class Gate:
    """Passes datagrams of WireGuard form; those of sources that crypto has answered first.
    `sink` is the port to crypto, `lengths` those of crypto's suite, ValueError when they are none.
    Drops: not_wireguard, ring_share."""

    def __new__(cls, sink: Port, lengths: Lengths = LENGTHS) -> Self: ...
    def stage(self) -> Stage:
        """Goes between the sockets and `sink`."""
    def tap(self) -> Stage:
        """Goes on the way back, where it learns which sources crypto talks to."""
    def stats(self) -> dict[str, int]:
        """`evicted`: answered sources forgotten before their time: the table was full."""

class Pump:
    """Moves packets from `source` through `stage` (None: as they are) to `sink`. With a
    sequence of stages, of queues of one plane and the first of queue 0, as many `threads`
    share the work, and packets leave in the order in which they came. While a pump runs,
    its ports and stages are its own: another that has one of them raises RuntimeError.
    ValueError for a number of stages that is not 1 to 16, TypeError for what is no port or
    stage and for stages that do not do the same."""

    def __new__(cls, source: Port, stage: Stage | None | Sequence[Stage], sink: Port) -> Self: ...
    @property
    def threads(self) -> int: ...
    def run(self, thread: int = 0) -> int:
        """Runs on the calling thread without the GIL until stop(). 0, or the errno with which
        the source ended. With several `threads`, one call for each number below that; when the
        source ends all return, and one of them the errno. RuntimeError when it runs already."""
    def step(self, now: int = 0) -> int:
        """One turn without sleeping, at `now` ns (0: the clock's). Packets handled. Only while
        run() is not running. OSError when the source is gone."""
    def stop(self) -> None:
        """Makes run() return soon; may be called from any thread."""
    def drops(self) -> dict[str, int]:
        """Packets dropped by this pump, by reason; every reason is there."""
    def stats(self) -> dict[str, int]:
        """batches, sleeps."""

def clock() -> int:
    """CLOCK_BOOTTIME in ns, as pumps stamp their batches."""
