"""Memory that a room shares with one neighbour as one region, opened by what names it:

    uio:0000:00:05.0        map 1 of the UIO device that guest/module makes of that PCI device, an ivshmem
                            device of QEMU or a connection of seL4's CAmkES; with its doorbell
    uio:to-black            the same of the connection of that name; where several have it, uio:connector.2 is
                            the third, in the order of their addresses
    uio:to-red,from-red     two connections: one that this guest writes, one that it reads and cannot write
    ivshmem:0000:00:05.0    BAR 2 of an ivshmem device, where no driver has it: polled
    file:/path              a file of root's alone, as on tmpfs: polled
    fd:7                    a memfd that was inherited, sealed against shrinking: polled

Of one region crypto writes the lower half, its neighbour the upper; see backing.duplex. Who opens or attaches a
region has root's rights.

A doorbell is a register in map 0 (it traps: seldom), and a UIO device becomes readable when the
neighbour rang. QEMU's docs/specs/ivshmem-spec: the two peers of a region have the ids 0 and 1. Of
seL4, all connections of a guest share one interrupt, rings coalesce, and those from before the guest
was up are lost: the rings of a region attach anew by themselves and look at the memory once a second.
"""

import fcntl
import mmap
import os
import stat
from pathlib import Path
from typing import NamedTuple

from wgpy.errors import HostError
from wgpy.ring.backing import Doorbell, Duplex, duplex, halves, reopen

SMALLEST = 1 << 20  # bytes
_IVSHMEM, _CONNECTION = (0x1AF4, 0x1110), (0x1AF4, 0xA111)  # PCI's vendor and device
_OWN_ID, _DOORBELL, _EMIT = 8, 12, 0  # registers


class Region(NamedTuple):
    """A descriptor to be mapped, and what of it, in bytes. `register`: where in map 0 a store of
    `value` rings the neighbour, the descriptor being a UIO device that hears him; -1: it is none."""
    fd: int
    offset: int
    size: int
    register: int = -1
    value: int = 0


def open_regions(name: str, *, sys: Path = Path("/sys"), dev: Path = Path("/dev")) -> tuple[Region, ...]:
    """One that serves both ways, or two: the way to the neighbour, and the way from it. HostError."""
    kind, _, where = name.partition(":")
    if kind != "uio" or "," not in where:
        return (open_region(name, sys=sys, dev=dev),)
    way_to, _, way_from = where.partition(",")
    outgoing = open_region(f"uio:{way_to}", sys=sys, dev=dev)
    try:
        return outgoing, open_region(f"uio:{way_from}", sys=sys, dev=dev)
    except BaseException:
        os.close(outgoing.fd)
        raise


def open_region(name: str, *, sys: Path = Path("/sys"), dev: Path = Path("/dev")) -> Region:
    """A new descriptor. HostError, in one line that names the region."""
    kind, _, where = name.partition(":")
    try:
        if kind == "uio":
            found = _of_uio(_device(where, sys / "bus/pci/devices", sys / "class/uio"), sys / "class/uio", dev)
        elif kind == "ivshmem":
            found = _of_bar(sys / "bus/pci/devices" / where)
        elif kind == "file":
            found = _of_file(Path(where), private=True)
        elif kind == "fd":
            found = _of_memfd(where)
        else:
            raise HostError("neither uio:, ivshmem:, file: nor fd:")
    except OSError as e:
        raise HostError(f"region {name}: {e.strerror}") from None
    except (HostError, ValueError) as e:
        raise HostError(f"region {name}: {e}") from None
    if found.size < SMALLEST or found.size & (found.size - 1):
        os.close(found.fd)
        raise HostError(f"region {name}: {found.size} bytes are no power of two of at least 1 MiB")
    return found


def attach(fd: int, offset: int, size: int, register: int, value: int, *, side: int) -> Duplex:
    """Maps a Region; takes the descriptor over. `side`: 0 writes the lower half. HostError."""
    try:
        memory = memoryview(mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset))
        if register < 0:
            return duplex(*halves(memory, side), lambda: Doorbell(-1))
        bell = _registers(fd)[register:register + 4]
        # Each opening has its own count of events, so that two threads do not take them from each other.
        return duplex(*halves(memory, side), lambda: Doorbell(reopen(fd, os.O_RDWR), bell, value))
    except (OSError, ValueError) as e:
        raise HostError(f"cannot map a region: {e}") from None
    finally:
        os.close(fd)


def attach_pair(outgoing: Region, incoming: Region) -> Duplex:
    """Maps a region a direction; takes their descriptors over. HostError."""
    try:
        own = memoryview(mmap.mmap(outgoing.fd, outgoing.size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=outgoing.offset))
        theirs = memoryview(mmap.mmap(incoming.fd, incoming.size, mmap.MAP_SHARED, mmap.PROT_READ, offset=incoming.offset))
        bell = _registers(outgoing.fd)[outgoing.register:outgoing.register + 4] if outgoing.register >= 0 else None
        return duplex(own, theirs, lambda: Doorbell(reopen(incoming.fd, os.O_RDWR) if incoming.register >= 0 else -1, bell, outgoing.value))
    except (OSError, ValueError) as e:
        raise HostError(f"cannot map a region: {e}") from None
    finally:
        os.close(outgoing.fd)
        os.close(incoming.fd)


def _device(where: str, devices: Path, uio: Path) -> Path:
    """The PCI device of that address, or the connection of that name. HostError."""
    if ":" in where:
        return devices / where
    name, _, number = where.partition(".")
    found = [pci for pci in sorted(devices.iterdir()) if _identity(pci) == _CONNECTION and (pci / "uio").is_dir()
             and (uio / os.listdir(pci / "uio")[0] / "name").read_text().strip() == name]
    at = int(number) if number.isdecimal() else 0
    if at >= len(found) or (number and not number.isdecimal()):
        raise HostError(f"{len(found)} connections have the name {name}")
    if len(found) > 1 and not number:
        raise HostError(f"{len(found)} connections have the name {name}: say which, as {name}.0")
    return found[at]


def _identity(pci: Path) -> tuple[int, ...]:
    """Vendor and device. HostError."""
    try:
        return tuple(int((pci / name).read_text(), 16) for name in ("vendor", "device"))
    except (OSError, ValueError) as e:
        raise HostError(f"no PCI device: {e}") from None


def _of_bar(pci: Path) -> Region:
    if (identity := _identity(pci)) != _IVSHMEM:
        raise HostError(f"{identity[0]:04x}:{identity[1]:04x} is no ivshmem device")
    return _of_file(pci / "resource2")


def _of_uio(pci: Path, uio: Path, dev: Path) -> Region:
    identity = _identity(pci)
    if identity not in (_IVSHMEM, _CONNECTION):
        raise HostError(f"{identity[0]:04x}:{identity[1]:04x} is neither ivshmem nor a connection")
    if not (pci / "uio").is_dir():
        raise HostError("no UIO device: the kernel module wgpy_ring is not loaded, or refused it")
    (name,) = os.listdir(pci / "uio")
    size = int((uio / name / "maps/map1/size").read_text(), 16)
    fd = os.open(dev / name, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not _hears(fd):
            return Region(fd, mmap.PAGESIZE, size)
        if identity == _CONNECTION:
            return Region(fd, mmap.PAGESIZE, size, _EMIT, 1)
        own = _registers(fd)[_OWN_ID:_OWN_ID + 4].cast("I")[0]
        if own not in (0, 1):
            raise HostError(f"its id at ivshmem is {own}; the two peers of a region are 0 and 1")
        return Region(fd, mmap.PAGESIZE, size, _DOORBELL, (1 - own) << 16)
    except BaseException:
        os.close(fd)
        raise


def _hears(fd: int) -> bool:
    """Without an interrupt, reading a UIO device is an error."""
    try:
        os.read(fd, 4)
    except BlockingIOError:
        pass
    except OSError:
        return False
    return True


def _registers(fd: int) -> memoryview:
    return memoryview(mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE))


def _of_file(path: Path, private: bool = False) -> Region:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    seen = os.fstat(fd)
    wrong = ("no regular file" if not stat.S_ISREG(seen.st_mode) else
             "others may open it: chmod 600, chown root" if private and (seen.st_mode & 0o077 or seen.st_uid != os.geteuid())
             else "")
    if wrong:
        os.close(fd)
        raise HostError(wrong)
    return Region(fd, 0, seen.st_size)


def _of_memfd(number: str) -> Region:
    fd = fcntl.fcntl(int(number), fcntl.F_DUPFD_CLOEXEC, 3)
    try:
        sealed = fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
    except OSError:  # no memfd
        sealed = 0
    if not sealed:
        os.close(fd)
        raise HostError("not sealed against shrinking")
    return Region(fd, 0, os.fstat(fd).st_size)
