"""Devices of a guest that are memory for rings, played by files laid out like sysfs and /dev, and
a hypervisor played by a thread that carries events late, coalesced, or not at all."""
import os
import threading
import time
from pathlib import Path

from wgpy.ring import region as of_region
from wgpy.ring.region import attach, open_region

PAGE = 4096
ADDRESS, IVSHMEM, CONNECTION = "0000:00:05.0", "0x1110", "0xa111"


def pci(root: Path, device: str, uio: int = 0) -> Path:
    """A device below `root`/sys, which a UIO driver with so large a region has."""
    folder = root / "sys/bus/pci/devices" / ADDRESS
    folder.mkdir(parents=True)
    (folder / "vendor").write_text("0x1af4\n")
    (folder / "device").write_text(f"{device}\n")
    (root / "dev").mkdir()
    if uio:
        (folder / "uio/uio3").mkdir(parents=True)
        maps = root / "sys/class/uio/uio3/maps/map1"
        maps.mkdir(parents=True)
        (maps / "size").write_text(f"{uio:#010x}\n")
        (root / "dev/uio3").write_bytes(bytes(PAGE + uio))
    return folder


class Hypervisor:
    """Two guests' views of a connection: sysfs, /dev and an event pipe for each guest, which takes
    the place of the device where one waits for it."""

    def __init__(self, root: Path, monkeypatch, region=1 << 20, delay=0.0):
        self.root, self.delay, self.lost, self.stopping = root, delay, False, False
        for guest in "ab":
            pci(root / guest, CONNECTION, uio=region)
            os.mkfifo(root / guest / "events")
        (root / "b/dev/uio3").unlink()
        os.link(root / "a/dev/uio3", root / "b/dev/uio3")
        self.fifos = [os.open(root / g / "events", os.O_RDWR | os.O_NONBLOCK) for g in "ab"]
        self.thread = threading.Thread(target=self._carry, daemon=True)
        monkeypatch.setattr(of_region, "reopen", self._listen)

    def _listen(self, fd: int, mode: int) -> int:
        device = Path(os.readlink(f"/proc/self/fd/{fd}"))
        return os.open(device.parents[1] / "events", mode | os.O_NONBLOCK | os.O_CLOEXEC)

    def open(self, guest: str):
        found = open_region(f"uio:{ADDRESS}", sys=self.root / guest / "sys", dev=self.root / guest / "dev")
        return attach(*found, side="ab".index(guest))

    def _carry(self) -> None:
        """Events go to both guests: the stand-in's register is one, and a ring too many
        is harmless. Several stores in one turn are one event."""
        with open(self.root / "a/dev/uio3", "r+b", buffering=0) as file:
            while not self.stopping:
                if os.pread(file.fileno(), 4, 0) != bytes(4):
                    os.pwrite(file.fileno(), bytes(4), 0)
                    time.sleep(self.delay)
                    for fifo in self.fifos if not self.lost else ():
                        try:  # two readers a guest share the stand-in's pipe: one event each
                            os.write(fifo, bytes(8))
                        except BlockingIOError:
                            pass
                time.sleep(0.0005)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()
        for fd in self.fifos:
            os.close(fd)


def connection(root: Path, number: int, name: str, size: int = 1 << 20) -> Path:
    """One of several of seL4's connections below `root`; the file that is its memory."""
    folder, uio = root / f"sys/bus/pci/devices/0000:00:{number:02x}.0", f"uio{number}"
    (folder / "uio" / uio).mkdir(parents=True)
    (folder / "vendor").write_text("0x1af4\n")
    (folder / "device").write_text(f"{CONNECTION}\n")
    maps = root / "sys/class/uio" / uio / "maps/map1"
    maps.mkdir(parents=True)
    (maps / "size").write_text(f"{size:#x}\n")
    (root / "sys/class/uio" / uio / "name").write_text(f"{name}\n")
    (root / "dev").mkdir(exist_ok=True)
    memory = root / "dev" / uio
    memory.write_bytes(bytes(PAGE + size))
    return memory
