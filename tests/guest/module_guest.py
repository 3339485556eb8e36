"""A guest with the module wgpy_ring in its RAM disk, and a peer for its ivshmem device."""

import gzip
import os
import socket
import subprocess
from pathlib import Path

from guest_image import COMMANDS, busybox, cpio, kernel_modules
from kernel_peer import Machine
from ring_module import Kernel

REGION = 1 << 20
GUEST, PEER = 0, 1  # their ids
PROBE = Path(__file__).parent / "ring_probe.c"

INIT = r"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t debugfs debugfs /sys/kernel/debug
mount -t securityfs securityfs /sys/kernel/security
for m in $(cat /modules/order); do insmod /modules/$m || echo "insmod $m failed"; done
""" + COMMANDS


class Peer:
    """The other end of an ivshmem-doorbell. What its server would say (QEMU's
    docs/specs/ivshmem-spec) lies in the socket before QEMU starts, so that there is no server:
    the version, the guest's id, the memory, and of each side the eventfd that rings it."""

    def __init__(self):
        self.memory = os.memfd_create("region")
        os.ftruncate(self.memory, REGION)
        self.rung, self._guest = os.eventfd(0), os.eventfd(0)
        self._server, self.client = socket.socketpair()
        for number, *fds in ((0,), (GUEST,), (-1, self.memory), (PEER, self.rung), (GUEST, self._guest)):
            socket.send_fds(self._server, [number.to_bytes(8, "little", signed=True)], fds)

    def ring(self) -> None:
        os.eventfd_write(self._guest, 1)

    def word(self, offset: int) -> int:
        return int.from_bytes(os.pread(self.memory, 4, offset), "little")

    def put(self, offset: int, word: int) -> None:
        os.pwrite(self.memory, word.to_bytes(4, "little"), offset)

    def close(self) -> None:
        for fd in (self.memory, self.rung, self._guest):
            os.close(fd)
        self._server.close()
        self.client.close()


class Guest(Machine):
    """Its devices: 5 ivshmem-doorbell, 6 ivshmem-plain of `plain` bytes, 7 one with two memory
    BARs, 8 one whose second BAR is not memory. The module is not loaded yet."""

    name = "guest"

    def __init__(self, kernel: Kernel, module: Path, folder: Path, plain: int = REGION):
        self.peer = Peer()
        probe = folder / "ring_probe"
        subprocess.run(["gcc", "-O2", "-static", "-o", str(probe), str(PROBE)], check=True)
        modules = kernel_modules(kernel.unpack(f"linux-image-{kernel.version}"), ("virtio_pci", "virtio_rng", "uio"))
        files = {"init": INIT.encode(), "bin/busybox": busybox(kernel.unpack("busybox-static")),
                 "bin/ring_probe": probe.read_bytes(), "wgpy_ring.ko": module.read_bytes(),
                 **{f"modules/{name}.ko": data for name, data in modules.items()},
                 "modules/order": "".join(f"{name}.ko\n" for name in modules).encode()}
        ramdisk = folder / "initrd"
        ramdisk.write_bytes(gzip.compress(cpio(files), 1))
        super().__init__(
            kernel.image(), ramdisk,
            "-chardev", f"socket,id=server,fd={self.peer.client.fileno()}",
            "-device", "ivshmem-doorbell,chardev=server,vectors=1,addr=5",
            "-object", f"memory-backend-memfd,id=plain,size={plain},share=on",
            "-device", "ivshmem-plain,memdev=plain,addr=6",
            "-device", "cirrus-vga,romfile=,addr=7", "-device", "pci-testdev,addr=8",
            pass_fds=[self.peer.client.fileno()])

    def sh(self, script: str, check: bool = True) -> str:
        """What it prints, errors included."""
        done = self.run("sh", "-c", script, check=check)
        return (done.stdout + done.stderr).strip()

    def uio(self, slot: int) -> str:
        """The name of the device in this slot, or nothing."""
        return self.sh(f"ls /sys/bus/pci/devices/0000:00:0{slot}.0/uio 2>/dev/null; true")

    def close(self) -> None:
        super().close()
        self.peer.close()
