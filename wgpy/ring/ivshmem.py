"""Rings over an ivshmem device of QEMU (docs/specs/ivshmem-spec): BAR 2 is the shared
region, BAR 0 the registers. ivshmem-doorbell rings by a store of (peer << 16 | vector)
to offset 12; its interrupts need a UIO driver to be heard. Without one, and with
ivshmem-plain which has no doorbell, the memory is polled, at 1 ms under traffic and
32 ms without.
"""

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wgpy.errors import HostError
from wgpy.ring.backing import Doorbell, Duplex, duplex, halves
from wgpy.ring.uio import UioDevice

_VENDOR, _DEVICE = 0x1AF4, 0x1110
_IV_POSITION, _DOORBELL = 8, 12


@dataclass(frozen=True)
class IvshmemBar:
    """`side`: 0 writes the lower half of the region, 1 the upper. `peer`: the other
    guest's id at the ivshmem server; `uio`: the device that hears interrupts, if any."""
    address: str  # such as "0000:00:05.0"
    side: int
    peer: int | None = None
    uio: UioDevice | None = None
    sys: Path = Path("/sys/bus/pci/devices")

    def open(self) -> Duplex:
        self._identify()
        region = memoryview(self._map("resource2"))
        if len(region) & (len(region) - 1):
            raise HostError(f"{self.address}: a region of {len(region):#x} bytes is no power of two")
        return duplex(*halves(region, self.side), self._bell())

    def _bell(self) -> Callable[[], Doorbell]:
        if self.peer is None or not (self.sys / self.address / "resource1").exists():
            return lambda: Doorbell(-1)
        register = memoryview(self._map("resource0"))[_DOORBELL:_DOORBELL + 4]
        return lambda: Doorbell(self.uio.listen() if self.uio else -1, register, self.peer << 16)

    def position(self) -> int:
        """This guest's own id, for the other side's `peer`."""
        return memoryview(self._map("resource0"))[_IV_POSITION:_IV_POSITION + 4].cast("I")[0]

    def _identify(self) -> None:
        try:
            found = tuple(int((self.sys / self.address / f).read_text(), 16) for f in ("vendor", "device"))
        except (OSError, ValueError) as e:
            raise HostError(f"{self.address}: no PCI device: {e}") from None
        if found != (_VENDOR, _DEVICE):
            raise HostError(f"{self.address}: {found[0]:04x}:{found[1]:04x} is no ivshmem device")

    def _map(self, bar: str) -> mmap.mmap:
        path = self.sys / self.address / bar
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                return mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            finally:
                os.close(fd)
        except (OSError, ValueError) as e:
            raise HostError(f"{path}: cannot map: {e}") from None
