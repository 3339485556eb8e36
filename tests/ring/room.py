"""One room of the kill test, run as a process: `room.py produce|consume FD FD FD FD SHARED`.

The descriptors are those of the ring's end; SHARED is a file of u64 counters that the
test reads: packets checked, packets wrong, start of the newest life seen, resident KiB.
A packet is 8 bytes of number, then as many bytes as its length says of a pattern made
from it, then BLAKE2s of all before.
"""
import hashlib
import mmap
import os
import random
import struct
import sys
import threading
import time

from wgpy._fast.ports import MemoryPort, Pump
from wgpy.ring.backing import attach

COUNTERS = 4


def packet(number: int, length: int) -> bytes:
    body = struct.pack("<QI", number, length) + bytes((number + i) & 0xFF for i in range(8)) * (length // 8)
    return body + hashlib.blake2s(body).digest()


def right(data: bytes) -> bool:
    if len(data) < 44 or hashlib.blake2s(data[:-32]).digest() != data[-32:]:
        return False
    return len(data) == 44 + struct.unpack_from("<I", data, 8)[0] // 8 * 8


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * mmap.PAGESIZE // 1024


def produce(end, counters) -> None:
    """The same few hundred packets of this life over and over, at full speed in C with
    pauses, so that a kill falls into any step and the ring is full, empty and between."""
    source, life = MemoryPort(repeat=True), random.SystemRandom().getrandbits(62)
    for i in range(200):
        source.put(packet(life + i, random.choice((0, 8, 60, 500, 1300, 9000))))
    pump = Pump(source, None, end.producer(datagrams=False))
    while True:
        for _ in range(random.randrange(1, 40)):
            pump.step()
        counters[3] = resident()
        time.sleep(random.choice((0, 0.0002, 0.003)))


def consume(end, counters) -> None:
    sink = MemoryPort()
    pump = Pump(end.consumer(datagrams=False), None, sink)
    threading.Thread(target=pump.run, daemon=True).start()
    while True:
        for data, _, _ in sink.take():
            counters[0] += 1
            counters[1] += not right(data)
            counters[2] = struct.unpack_from("<Q", data)[0]
        counters[3] = resident()
        time.sleep(0.001)


if __name__ == "__main__":
    role, *fds, shared = sys.argv[1:]
    with open(shared, "r+b") as file:
        memory = memoryview(mmap.mmap(file.fileno(), 8 * COUNTERS)).cast("Q")
    os.nice(5)
    {"produce": produce, "consume": consume}[role](attach(*map(int, fds)), memory)
