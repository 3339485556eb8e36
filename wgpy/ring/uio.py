"""Rings over a cross-VM dataport of seL4/CAmkES, as its guest driver shows it: a UIO
device whose map 0 holds the event registers and whose map 1 is the shared region.

A 32-bit store to map 0, offset 0 rings the other guest (it traps: seldom). Its events
make the device readable; a 4-byte read takes them. All connections of a guest share one
interrupt, events coalesce, and those from before the guest was up are lost: the rings
attach anew by themselves and look at the memory once a second.

One region may serve both directions: each side writes one half. A strict system has a
region a direction, the other side's mapped read-only.
"""

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

from wgpy.errors import HostError
from wgpy.ring.backing import Doorbell, Duplex, duplex, halves

_READ, _WRITE = mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE


@dataclass(frozen=True)
class UioDevice:
    """`name`: such as "uio0". `events`: what to wait on when it is not the device."""
    name: str
    dev: Path = Path("/dev")
    sys: Path = Path("/sys/class/uio")
    events: Path | None = None

    def size(self, index: int) -> int:
        """Bytes of map `index`. HostError when there is none, or its size is no power
        of two of whole pages."""
        path = self.sys / self.name / "maps" / f"map{index}" / "size"
        try:
            size = int(path.read_text(), 16)
        except (OSError, ValueError) as e:
            raise HostError(f"{path}: no size of a UIO map: {e}") from None
        if size < mmap.PAGESIZE or size & (size - 1):
            raise HostError(f"{path}: {size:#x} is no power of two of whole pages")
        return size

    def map(self, index: int, prot: int) -> mmap.mmap:
        """Maps all of map `index`, which lies at index times the page size."""
        path = self.dev / self.name
        try:
            fd = os.open(path, (os.O_RDWR if prot & mmap.PROT_WRITE else os.O_RDONLY) | os.O_CLOEXEC)
            try:
                return mmap.mmap(fd, self.size(index), mmap.MAP_SHARED, prot, offset=index * mmap.PAGESIZE)
            finally:
                os.close(fd)
        except (OSError, ValueError) as e:
            raise HostError(f"{path}: cannot map {index}: {e}") from None

    def listen(self) -> int:
        """A descriptor to wait on. Each opening has its own count of events, so that two
        threads do not take them from each other."""
        path = self.events or self.dev / self.name
        try:
            return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as e:
            raise HostError(f"{path}: {e.strerror}") from None


@dataclass(frozen=True)
class SharedDataport:
    """One region for both directions. `side`: 0 writes the lower half, 1 the upper; the
    two guests' configurations name different ones."""
    device: UioDevice
    side: int

    def open(self) -> Duplex:
        region = memoryview(self.device.map(1, _WRITE))
        register = memoryview(self.device.map(0, _WRITE))
        return duplex(*halves(region, self.side), lambda: Doorbell(self.device.listen(), register))


@dataclass(frozen=True)
class DataportPair:
    """A region a direction: this guest writes and rings `outgoing`, and reads and waits
    on `incoming`, which may be read-only to it."""
    outgoing: UioDevice
    incoming: UioDevice

    def open(self) -> Duplex:
        own = memoryview(self.outgoing.map(1, _WRITE))
        theirs = memoryview(self.incoming.map(1, _READ))
        register = memoryview(self.outgoing.map(0, _WRITE))
        return duplex(own, theirs, lambda: Doorbell(self.incoming.listen(), register))
