"""Where a ring's memory and doorbells come from.

A backing gives, for one end of one ring, `own` (what this end writes), `theirs` (what it
reads), and two doorbells as (descriptor to wait on or write to, event register or None):
`data` rings the consumer, `space` the producer. Sizes are bytes.
"""

import fcntl
import mmap
import os
from dataclasses import dataclass
from typing import NamedTuple

from wgpy._fast.ports import RingIn, RingOut
from wgpy.errors import HostError
from wgpy.ring import layout

DEFAULT_SIZE = 2 << 20
_MFD_CLOEXEC, _MFD_ALLOW_SEALING = 1, 2
_SEALS = 0x0001 | 0x0002 | 0x0004  # F_SEAL_SEAL | SHRINK | GROW


class End(NamedTuple):
    own: mmap.mmap
    theirs: mmap.mmap
    data: tuple[int, mmap.mmap | None]
    space: tuple[int, mmap.mmap | None]

    def producer(self) -> RingOut:
        return RingOut(self.own, self.theirs, self.data, self.space)

    def consumer(self) -> RingIn:
        return RingIn(self.own, self.theirs, self.data, self.space)


@dataclass(frozen=True)
class MemfdRing:
    """A ring between processes. Two memfds of fixed size, so that each side can be
    given a read-only descriptor of what the other writes, and two eventfds."""
    producer_fd: int
    consumer_fd: int
    data_fd: int
    space_fd: int
    size: int

    @classmethod
    def create(cls, name: str, size: int = DEFAULT_SIZE) -> "MemfdRing":
        """`size`: the producer's area, a power of two of at least 256 KiB. HostError
        when the host gives no memory."""
        if size & (size - 1) or size < 256 << 10:
            raise ValueError(f"a ring of {size} bytes")
        try:
            fds = [_memfd(f"wgpy-{name}-p", size), _memfd(f"wgpy-{name}-c", layout.CONSUMER_SIZE)]
            fds += [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(2)]
        except OSError as e:
            raise HostError(f"no memory for ring {name}: {e.strerror}") from None
        return cls(*fds, size)

    def producer_fds(self) -> tuple[int, int, int, int]:
        """New descriptors (own, theirs read-only, data, space) for the producing room."""
        return os.dup(self.producer_fd), _read_only(self.consumer_fd), os.dup(self.data_fd), os.dup(self.space_fd)

    def consumer_fds(self) -> tuple[int, int, int, int]:
        """The same for the consuming room."""
        return os.dup(self.consumer_fd), _read_only(self.producer_fd), os.dup(self.data_fd), os.dup(self.space_fd)

    def close(self) -> None:
        for fd in (self.producer_fd, self.consumer_fd, self.data_fd, self.space_fd):
            os.close(fd)


def attach(own: int, theirs: int, data: int, space: int) -> End:
    """Maps what a room inherited. HostError when a descriptor is no ring's."""
    try:
        mine = mmap.mmap(own, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        other = mmap.mmap(theirs, 0, mmap.MAP_SHARED, mmap.PROT_READ)
    except (OSError, ValueError) as e:
        raise HostError(f"cannot map a ring: {e}") from None
    return End(mine, other, (data, None), (space, None))


def _memfd(name: str, size: int) -> int:
    fd = os.memfd_create(name, _MFD_CLOEXEC | _MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def _read_only(fd: int) -> int:
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
