"""In the place of black's main module, in an image made for a test: a room that was taken over. For
a minute it writes random bytes into all of the region that it shares with crypto, rings the doorbell
without a pause, then a ring's header of another geometry. Then it is black again."""

import importlib.machinery
import mmap
import os
import struct
import sys
import time

PHASES = (("everything", 20), ("its half", 20), ("another geometry", 20))  # s


def region() -> tuple[mmap.mmap, mmap.mmap]:
    (device,) = os.listdir("/sys/class/uio")
    folder = f"/sys/class/uio/{device}"
    size = int(open(f"{folder}/maps/map1/size").read(), 16)
    fd = os.open(f"/dev/{device}", os.O_RDWR)
    return mmap.mmap(fd, mmap.PAGESIZE), mmap.mmap(fd, size, offset=mmap.PAGESIZE)


def write(memory: mmap.mmap, phase: str) -> None:
    half = len(memory) // 2
    if phase == "everything":
        at = int.from_bytes(os.urandom(4), "little") % (len(memory) - 65536)
        memory[at:at + 65536] = os.urandom(65536)
        memory[half:half + 4096] = os.urandom(4096)  # indices, and its lane's page, more often
        memory[len(memory) - 8192:] = os.urandom(8192)
    elif phase == "its half":
        memory[half + 64:half + 65536] = os.urandom(65536 - 64)
    else:
        descriptors, arena = struct.unpack("<2I", os.urandom(8))
        memory[half:half + 16] = struct.pack("<4I", 0x77677231, 3, descriptors, arena)
        memory[half + 3 * 64:half + 3 * 64 + 4] = os.urandom(4)


bells, shared = region()
for phase, seconds in PHASES:
    print(f"hostile: {phase}", flush=True)
    until, writes = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        write(shared, phase)
        bells[12:16] = struct.pack("<I", 0)  # ivshmem's doorbell of peer 0, crypto
        writes += 1
    print(f"hostile: {writes} times", flush=True)
print("hostile: is black again", flush=True)
del bells, shared
here = sys.modules[__name__]
loader = importlib.machinery.SourcelessFileLoader(__name__, here.__file__ + "c")
loader.exec_module(here)
