"""The machine that measures: what it is, whether it is quiet, its scheduler."""
import os
import platform
import subprocess
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from peers import ROOT

QUIET = 0.05  # share of all cores that others may use


def _ticks() -> tuple[int, int]:
    fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields), idle


def busy(seconds: float) -> float:
    """Share of all cores in use over the next `seconds`, stolen time included."""
    total, idle = _ticks()
    time.sleep(seconds)
    total_then, idle_then = _ticks()
    return 1 - (idle_then - idle) / max(1, total_then - total)


def settle(patience: float) -> float:
    """Waits up to `patience` seconds for a quiet moment; the share in use at the end."""
    deadline = time.monotonic() + patience
    while (load := busy(0.25)) > QUIET and time.monotonic() < deadline:
        pass
    return load


@contextmanager
def weight(nice: int):
    """Weighs this session, load generators and daemons alike, against whatever else runs.

    sched(7): with autogroup, nice counts only inside a session; a session's own weight is
    what is written to /proc/self/autogroup. Nothing happens where there is no autogroup.
    """
    group = Path("/proc/self/autogroup")
    before = group.read_text().split()[-1] if group.exists() else None
    if before is not None:
        group.write_text(str(nice))
    try:
        yield
    finally:
        if before is not None:
            group.write_text(before)


def describe(congestion: str | None = None) -> dict[str, str | int]:
    """`congestion`: TCP's algorithm, if not the one of this host."""
    cpu = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
           if line.startswith("model name")]
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
                            capture_output=True, text=True).stdout.strip()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": os.cpu_count() or 1,
        "kernel": platform.release(),
        "tcp": congestion or Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
        "commit": commit,
    }
