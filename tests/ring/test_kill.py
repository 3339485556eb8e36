"""Two processes on one ring, either of which is killed at random moments (A6, F10): after
each restart packets flow again, none arrives damaged, and nothing grows."""
import mmap
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wgpy.ring.backing import MemfdRing

ROOM = Path(__file__).with_name("room.py")
SECONDS = 10
RESUME = 60.0  # seconds after a restart, on a busy machine


class Side:
    def __init__(self, role: str, ring: MemfdRing, directory: Path):
        self.role, self.ring = role, ring
        self.file = directory / role
        self.file.write_bytes(bytes(32))
        with self.file.open("r+b") as f:
            self.counters = memoryview(mmap.mmap(f.fileno(), 32)).cast("Q")
        self.process = None
        self.start()

    def start(self) -> None:
        fds = self.ring.producer_fds() if self.role == "produce" else self.ring.consumer_fds()
        self.counters[3] = 0
        self.process = subprocess.Popen([sys.executable, "-E", "-s", str(ROOM), self.role, *map(str, fds), str(self.file)],
                                        pass_fds=fds)
        for fd in fds:
            os.close(fd)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)


def wait_for(what, seconds: float, *sides: Side) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "no packet came"
        assert all(s.process.poll() is None for s in sides), "a room ended by itself"
        time.sleep(0.005)


@pytest.mark.slow
def test_killed_rooms_come_back_and_nothing_is_damaged(tmp_path):
    ring = MemfdRing.create("kill", 256 << 10)
    seed = random.SystemRandom().getrandbits(32)
    chance = random.Random(seed)
    producer, consumer = sides = Side("produce", ring, tmp_path), Side("consume", ring, tmp_path)
    print("seed", seed)
    kills, end = 0, time.monotonic() + SECONDS
    first: dict[str, int] = {}
    descriptors = len(os.listdir("/proc/self/fd"))
    try:
        wait_for(lambda: consumer.counters[0] > 0, 60, *sides)
        while time.monotonic() < end or kills < 5 or consumer.counters[0] <= 1000:
            time.sleep(chance.uniform(0.01, 0.3))
            victims = chance.choice([[producer], [consumer], [producer, consumer]])
            for side in victims:
                if side.process.poll() is None:
                    side.kill()
            time.sleep(chance.choice([0, 0, 0.1]))
            for side in chance.sample(victims, len(victims)):
                side.start()
                time.sleep(chance.choice([0, 0.05]))
            kills += 1
            wait_for(lambda: all(s.counters[3] for s in sides), 60, *sides)  # Python has started
            lives = consumer.counters[2], consumer.counters[0]
            fresh = producer in victims
            wait_for(lambda was=lives, new=fresh: consumer.counters[0] > was[1] and (not new or consumer.counters[2] != was[0]),
                     RESUME, *sides)
            for side in sides:
                first.setdefault(side.role, side.counters[3])
        assert consumer.counters[1] == 0, f"{consumer.counters[1]} damaged of {consumer.counters[0]}"
        for side in sides:
            assert side.counters[3] < first[side.role] + 8192, "memory grows"
        assert len(os.listdir("/proc/self/fd")) == descriptors
    finally:
        for side in sides:
            side.kill()
        ring.close()
    print(kills, "kills,", consumer.counters[0], "packets checked")
