"""Where a ring's memory and doorbells come from.

A backing gives for one end of one ring an `End`: `own` (what this end writes), `theirs`
(what it reads) and two doorbells, `data` which wakes the consumer and `space` which wakes
the producer. Sizes are bytes. Here: rings between processes. Memory that virtual machines
share is in `region`.
"""

import fcntl
import mmap
import os
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from wgpy._fast.ports import RingIn, RingOut
from wgpy.errors import HostError
from wgpy.ring import lane, layout

DEFAULT_SIZE = 2 << 20
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


class Doorbell(NamedTuple):
    """Wakes the neighbour, or is waited on. A pipe or eventfd; with a `register`, an
    event register that is rung by storing `value`, and a UIO device to wait on. `fd` -1:
    nothing to wait on."""
    fd: int
    register: mmap.mmap | memoryview | None = None
    value: int = 1

    def kick(self) -> None:
        """Rings; never blocks. Rings that nobody has heard yet coalesce."""
        if self.register is not None:
            memoryview(self.register)[:4].cast("I")[0] = self.value
        elif self.fd >= 0:
            try:
                os.write(self.fd, (1).to_bytes(8, "little"))
            except BlockingIOError:
                pass  # it rings already

    def wait(self, timeout: float) -> bool:
        """Waits up to `timeout` seconds; True when it rang. Events may be lost, so look
        at the memory either way."""
        poll = select.poll()
        if self.fd >= 0:
            poll.register(self.fd, select.POLLIN)
        if not poll.poll(timeout * 1000):
            return False
        try:
            return bool(os.read(self.fd, 4 if self.register is not None else 4096))
        except BlockingIOError:
            return False


class End(NamedTuple):
    """One end of a ring: the area that this room writes, the one that it reads, and two
    doorbells: `data` says that something was put, `space` that something was taken."""
    own: mmap.mmap | memoryview
    theirs: mmap.mmap | memoryview
    data: Doorbell
    space: Doorbell

    def producer(self, *, datagrams: bool) -> RingOut:
        """`datagrams`: records carry endpoints; both ends must say the same."""
        return RingOut(*self, datagrams=datagrams)

    def consumer(self, *, datagrams: bool) -> RingIn:
        """Without `datagrams` endpoints are ignored, whatever the producer wrote: red
        must not choose where crypto's datagrams go."""
        return RingIn(*self, datagrams=datagrams)


class LaneEnd(NamedTuple):
    """One end of a control lane; without a bell it is looked at from time to time."""
    area: mmap.mmap | memoryview
    bell: Doorbell


class Duplex(NamedTuple):
    """A room's ends of what it shares with one neighbour: two rings, and a lane each way. A lane
    that the two do not have is None."""
    outgoing: End
    incoming: End
    says: LaneEnd | None = None
    hears: LaneEnd | None = None


def duplex(own: memoryview, theirs: memoryview, bell: Callable[[], Doorbell]) -> Duplex:
    """Two rings and two lanes over what this side writes and what the neighbour writes, each laid
    out as producer's area and, in the last two pages, the lane and the consumer's page of the
    ring the other way. `bell` opens one doorbell; each waiting thread needs its own. HostError
    when the memory is too small. Lanes have no doorbell."""
    lanes, pages = -lane.AREA - layout.CONSUMER_SIZE, -layout.CONSUMER_SIZE
    for area in (own, theirs):
        try:
            layout.arena_size(len(area) + lanes)
        except ValueError as e:
            raise HostError(str(e)) from None
    first, second = bell(), bell()
    return Duplex(End(own[:lanes], theirs[pages:], first, first), End(own[pages:], theirs[:lanes], second, second),
                  LaneEnd(own[lanes:pages], Doorbell(-1)), LaneEnd(theirs[lanes:pages], Doorbell(-1)))


def halves(region: memoryview, side: int) -> tuple[memoryview, memoryview]:
    """What each side of one shared region writes: (this side's half, the neighbour's).
    Side 0 has the lower one."""
    if side not in (0, 1):
        raise ValueError(f"side {side} of a shared region")
    middle = len(region) // 2
    lower, upper = region[:middle], region[middle:]
    return (upper, lower) if side else (lower, upper)


@dataclass(frozen=True)
class MemfdRing:
    """A ring between processes: two memfds of fixed size, so that each side can be given
    a read-only descriptor of what the other writes, and two pipes as doorbells. Not
    eventfds: whether those block is a flag that both neighbours share, so that one could
    make the other's read or write sleep for ever; every opening of a pipe has its own."""
    producer_fd: int
    consumer_fd: int
    data: tuple[int, int]
    space: tuple[int, int]
    size: int

    @classmethod
    def create(cls, name: str, size: int = DEFAULT_SIZE) -> "MemfdRing":
        """`size`: the producer's area, a power of two of at least 256 KiB. HostError
        when the host gives no memory."""
        if size & (size - 1) or size < 256 << 10:
            raise ValueError(f"a ring of {size} bytes")
        fds: list[int] = []
        try:
            fds += [sealed_memory(f"wgpy-{name}-p", size), sealed_memory(f"wgpy-{name}-c", layout.CONSUMER_SIZE)]
            fds += (*_bell(), *_bell())
        except OSError as e:
            for fd in fds:
                os.close(fd)
            raise HostError(f"no memory for ring {name}: {e.strerror}") from None
        return cls(fds[0], fds[1], (fds[2], fds[3]), (fds[4], fds[5]), size)

    def producer_fds(self) -> tuple[int, int, int, int]:
        """New descriptors (own, theirs read-only, data, space) for the producing room."""
        return (os.dup(self.producer_fd), reopen(self.consumer_fd, os.O_RDONLY),
                reopen(self.data[1], os.O_WRONLY), reopen(self.space[0], os.O_RDWR))

    def consumer_fds(self) -> tuple[int, int, int, int]:
        """The same for the consuming room."""
        return (os.dup(self.consumer_fd), reopen(self.producer_fd, os.O_RDONLY),
                reopen(self.data[0], os.O_RDWR), reopen(self.space[1], os.O_WRONLY))

    def close(self) -> None:
        """The memory goes when both rooms have gone, too."""
        for fd in (self.producer_fd, self.consumer_fd, *self.data, *self.space):
            os.close(fd)


@dataclass(frozen=True)
class MemfdLane:
    """A control lane between processes: a memfd of fixed size, and a pipe as doorbell."""
    fd: int
    bell: tuple[int, int]

    @classmethod
    def create(cls, name: str) -> "MemfdLane":
        """HostError when the host gives no memory."""
        try:
            fd = sealed_memory(f"wgpy-{name}-l", lane.AREA)
            try:
                return cls(fd, _bell())
            except OSError:
                os.close(fd)
                raise
        except OSError as e:
            raise HostError(f"no memory for the lane of {name}: {e.strerror}") from None

    def writer_fds(self) -> tuple[int, int]:
        """New descriptors (memory, bell) for the room that speaks."""
        return os.dup(self.fd), reopen(self.bell[1], os.O_WRONLY)

    def reader_fds(self) -> tuple[int, int]:
        """The same for the room that listens; it cannot write the memory."""
        return reopen(self.fd, os.O_RDONLY), reopen(self.bell[0], os.O_RDWR)

    def close(self) -> None:
        """The rooms' mappings stay."""
        for fd in (self.fd, *self.bell):
            os.close(fd)


def attach_lane(fd: int, bell: int, *, writable: bool) -> LaneEnd:
    """Maps one end of a lane; takes the descriptor of its memory over. HostError when it is none."""
    try:
        _check_sealed(fd)
        os.set_blocking(bell, False)
        protection = mmap.PROT_READ | mmap.PROT_WRITE if writable else mmap.PROT_READ
        return LaneEnd(mmap.mmap(fd, lane.AREA, mmap.MAP_SHARED, protection), Doorbell(bell))
    except (OSError, ValueError) as e:
        raise HostError(f"cannot map a lane: {e}") from None
    finally:
        os.close(fd)


def attach(own: int, theirs: int, data: int, space: int) -> End:
    """Maps what a room inherited. HostError when a descriptor is no ring's."""
    try:
        _check_sealed(own)
        _check_sealed(theirs)
        mine = mmap.mmap(own, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        other = mmap.mmap(theirs, 0, mmap.MAP_SHARED, mmap.PROT_READ)
        for fd in (data, space):
            os.set_blocking(fd, False)
    except (OSError, ValueError) as e:
        raise HostError(f"cannot map a ring: {e}") from None
    return End(mine, other, Doorbell(data), Doorbell(space))


def _check_sealed(fd: int) -> None:
    """Else the neighbour could take the memory away: SIGBUS. OSError, HostError."""
    if not fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
        raise HostError("shared memory is not sealed against shrinking")


def sealed_memory(name: str, size: int) -> int:
    """A memfd that keeps its size and cannot be opened anew by another user. OSError."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    os.fchmod(fd, 0o600)  # a read-only descriptor cannot be reopened for writing by another user
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def _bell() -> tuple[int, int]:
    """A pipe that holds a page of rings."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    return reader, writer


def reopen(fd: int, mode: int) -> int:
    """An opening of its own, with flags of its own; needs /proc and the file's permission, else
    OSError. A waiter opens its pipe for writing too: then no neighbour's death makes it readable
    for ever."""
    return os.open(f"/proc/self/fd/{fd}", mode | os.O_NONBLOCK | os.O_CLOEXEC)
