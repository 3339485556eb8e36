"""Where the time goes: one TCP stream through a tunnel and through encryptors, profiled.

    python -E -s benchmarks/breakdown.py [--quick] [--readme] [--json]

`perf record -a` samples all cores while the stream runs; each sample is put down to a
room and to a kind of work, and what the stream would reach if a kind cost nothing is
computed from the shares. Needs root and perf (Debian: linux-perf); without perf it says
so and does nothing. Results go to benchmarks/results/.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import breakdown_report
import machine
import report
from kinds import COLOURS, IDLE, OTHERS, kind
from peers import ENCRYPTOR, PEERS, joined

from wgpy.errors import HostError
from wgpy.lab.encryptors import ROOMS
from wgpy.lab.netns import need
from wgpy.lab.traffic import Throughput, iperf3

HERTZ = 1997  # prime, so as not to keep step with the kernel's own ticks
LOAD, KERNEL = "iperf3", "kernel"


def owners(tunnel) -> dict[int, str]:
    """Process number -> whose it is; `a` sends, `b` receives."""
    pids = [end if isinstance(end, int) else end.process.pid for end in tunnel.ends]
    rooms = ROOMS if len(pids) > 2 else ("wgpyd",)
    return dict(zip(pids, (f"{room} {end}" for end, room in product("ab", rooms)), strict=True))


SAMPLE = re.compile(r"\s*(?P<command>.+?)\s+(?P<pid>\d+)/(?P<tid>\d+)\s+[0-9a-f]+ (?P<what>.+?) \((?P<where>.*)\)$")


def classify(lines: Iterable[str], whose: dict[int, str]) -> tuple[Counter, Counter]:
    """Samples by (owner, kind), and by thread of the owners."""
    work, threads = Counter(), Counter()
    for line in lines:
        if not (m := SAMPLE.match(line)):
            continue
        owner = whose.get(int(m["pid"])) or (
            LOAD if m["command"] == "iperf3" else
            KERNEL if m["pid"] == "0" or m["command"].startswith(("ksoftirqd", "kworker", "rcu")) else OTHERS)
        what = kind(m["where"], m["what"], owner.split()[0] in ROOMS)
        work[owner, OTHERS if owner == OTHERS else what] += 1
        if owner not in (KERNEL, OTHERS):
            threads[owner, m["tid"]] += 1
    return work, threads


def record(tunnel, seconds: float, congestion: str | None, data: Path) -> Throughput:
    """Samples to the file `data` while a stream runs. HostError with perf's words;
    RuntimeError with iperf3's."""
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(iperf3, tunnel.b, tunnel.a, tunnel.address, seconds=seconds + 2,
                             congestion=congestion)
        time.sleep(0.7)
        perf = subprocess.run(["perf", "record", "-q", "-a", "-F", f"{HERTZ}", "-e", "cpu-clock", "-o", data,
                               "--", "sleep", f"{seconds}"], capture_output=True, text=True)
    if perf.returncode:
        raise HostError(f"perf refused: {perf.stderr.strip()}")
    return stream.result()


def samples(data: Path) -> list[str]:
    """A line each. Only once the rooms are gone: perf looks for a living process's
    objects in its own mount namespace, and a jail has none."""
    return subprocess.run(["perf", "script", "-i", data, "-F", "comm,pid,tid,ip,sym,dso"],
                          capture_output=True, text=True, check=True).stdout.splitlines()


def profile(name: str, seconds: float, congestion: str | None) -> dict:
    peer = next(p for p in PEERS if p.name == name)
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory, "perf.data")
        with joined(peer, False) as tunnel:
            whose, others = owners(tunnel), machine.settle(3)
            carried = record(tunnel, seconds, congestion, data)
        work, threads = classify(samples(data), whose)
    total = sum(work.values())
    if not total:
        raise HostError("perf gave no samples")
    names = [*whose.values(), LOAD, KERNEL, OTHERS]
    shares = {owner: {k: work[owner, k] / total for k in COLOURS if work[owner, k]} for owner in names}
    (owner, _), busiest = threads.most_common(1)[0]
    return {"gbps": carried.bits_per_second / 1e9, "samples": total, "others": round(others, 3),
            "shares": shares, "ceilings": ceilings(shares, carried.bits_per_second / 1e9),
            "busiest_thread": {"owner": owner, "of_a_core": busiest / total * (os.cpu_count() or 1)}}


def ceilings(shares: dict[str, dict[str, float]], gbps: float) -> dict[str, float]:
    """Gbit/s if a kind of work cost nothing and the time went to the others in proportion
    (Amdahl's law with the stream's CPU time as the whole); for idle: if no core ever was."""
    of = {k: sum(s.get(k, 0) for s in shares.values()) for k in COLOURS}
    busy = 1 - of[IDLE] - of[OTHERS]
    return {k: gbps * ((busy + of[k]) / busy if k == IDLE else busy / (busy - of[k]))
            for k in COLOURS if k != OTHERS and of[k]}


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--quick", action="store_true", help="short runs: an impression, no result")
    p.add_argument("--congestion", metavar="NAME", help="TCP's algorithm (the host's own)")
    p.add_argument("--readme", action="store_true", help="put the result into docs/performance.md too")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    args = p.parse_args()
    if not shutil.which("perf"):
        print("breakdown.py: no profile, perf is not installed (Debian: linux-perf)", file=sys.stderr)
        return 0
    try:
        need("ip", "nsenter", "unshare", "wg", "iperf3", "ping", "nft", "readelf")
        with machine.weight(-10):
            runs = {name: profile(name, 2 if args.quick else 6, args.congestion) for name in ("wgpy", ENCRYPTOR)}
    except (HostError, RuntimeError, TimeoutError) as error:
        print(f"breakdown.py: no profile, {error}", file=sys.stderr)
        return 0
    result = {"machine": machine.describe(args.congestion), "runs": runs}
    paths = breakdown_report.save(result, args.readme)
    report.tell(result, breakdown_report.text(result), paths, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
