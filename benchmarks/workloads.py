"""What is measured. A workload takes a tunnel and returns named figures, and lists of
single values under names of their own."""
import statistics
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from peers import ROOT, Pair

from wgpy.lab.traffic import Throughput, iperf3, ping

UDP_PORT = 5203
UDPLOAD = ROOT / ".cache" / "udpload"
LOSS = 0.01
LINE = 950e6


@dataclass(frozen=True)
class Effort:
    seconds: float       # of each TCP run
    probe: float         # of each step of the search for a UDP rate
    steps: int
    pings: int
    congestion: str | None = None  # TCP's algorithm, None: the host's


Measure = Callable[[Pair, Effort], dict[str, float | list[int]]]


@dataclass(frozen=True)
class Workload:
    name: str
    run: Measure
    jumbo: bool = False


class Failed(RuntimeError):
    """A measurement that gave no figure; the text says why."""


def build() -> None:
    """Compiles the UDP load generator when its source is newer."""
    source = Path(__file__).with_name("udpload.c")
    if not UDPLOAD.exists() or UDPLOAD.stat().st_mtime < source.stat().st_mtime:
        UDPLOAD.parent.mkdir(exist_ok=True)
        subprocess.run(["cc", "-O2", "-Wall", "-o", str(UDPLOAD), str(source)], check=True)


def _streams(t: Pair, effort: Effort, count: int, both_ways: bool) -> list[Throughput]:
    ways = [(t.b, t.a, t.address, 5201)] + [(t.a, t.b, t.back, 5202)] * both_ways
    with ThreadPoolExecutor(len(ways)) as pool:
        started = [pool.submit(iperf3, server, client, address, port=port, streams=count,
                               seconds=effort.seconds, congestion=effort.congestion) for server, client, address, port in ways]
        return [run.result() for run in started]


def tcp(key: str, count: int = 1, both_ways: bool = False) -> Measure:
    def run(t: Pair, effort: Effort) -> dict[str, float]:
        before = t.cpu()
        got = _streams(t, effort, count, both_ways)
        cpu = t.cpu() - before
        gigabytes = sum(g.bits_per_second * g.seconds for g in got) / 8e9
        if not gigabytes:
            raise Failed("nothing arrived")
        figures = {key: sum(g.bits_per_second for g in got) / 1e9}
        if t.ends:
            figures[f"{key}_cpu_per_gb"] = cpu / gigabytes
        return figures
    return run


def line(t: Pair, effort: Effort) -> dict[str, float]:
    """What the daemons of one end use of a core while TCP is held to LINE (P1), in percent."""
    if not t.ends:
        return {}
    before = t.cpu()
    got = iperf3(t.b, t.a, t.address, seconds=effort.seconds, bitrate=f"{LINE:.0f}", congestion=effort.congestion)
    if got.bits_per_second < 0.98 * LINE:
        raise Failed(f"{got.bits_per_second / 1e6:.0f} Mbit/s at most")
    return {"line_core": 100 * (t.cpu() - before) / got.seconds / 2}


def _offer(t: Pair, size: int, rate: float, seconds: float) -> tuple[float, float, float]:
    """Sends at `rate` packets/s (0: flat out); rates sent and received, and the loss."""
    receiver = t.b.popen(UDPLOAD, "receive", UDP_PORT, seconds + 3, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, text=True)
    try:
        receiver.stdout.readline()
        sender = t.a.run(UDPLOAD, "send", t.address, UDP_PORT, size, f"{rate:.0f}", seconds)
        sent, elapsed = map(float, sender.stdout.split())
        received = float(receiver.communicate(timeout=10)[0])
    finally:
        receiver.kill()
        receiver.wait()
    if not sent:
        raise Failed("the sender could not send")
    return sent / elapsed, received / elapsed, 1 - received / sent


def udp(key: str, size: int) -> Measure:
    """The highest rate received while less than 1 % is lost, by bisection between what
    passes and what does not. A step fails only when it fails twice."""
    def run(t: Pair, effort: Effort) -> dict[str, float]:
        high, rate, loss = _offer(t, size, 0, effort.probe)
        best = rate if loss < LOSS else 0.0
        for _ in range(0 if best else effort.steps):
            sent, received, loss = _offer(t, size, rate, effort.probe)
            if loss >= LOSS:
                sent, received, loss = _offer(t, size, rate, effort.probe)
            if loss >= LOSS:
                high = min(high, rate)
                rate = (best + high) / 2 if best else rate * 0.7
                continue
            best = max(best, received)
            if sent < 0.9 * rate:  # the sender itself is the limit from here on
                break
            rate = (best + high) / 2
        if not best:
            raise Failed(f"more than 1 % lost at {rate / 1e3:.0f} kpps and above")
        return {key: best / 1e3}
    return run


def percentiles(times: list[int]) -> dict[str, float]:
    hundredths = statistics.quantiles(times, n=100)
    return {f"ping_p{n}": hundredths[n - 1] for n in (50, 90, 99)}


def latency(t: Pair, effort: Effort) -> dict[str, float | list[int]]:
    """Round trips in µs, the unit of ping(8), one every 5 ms so that all cores sleep between."""
    times = [round(x * 1e3) for x in ping(t.a, t.address, count=effort.pings, interval=0.005).times]
    if len(times) < effort.pings * 0.9:
        raise Failed(f"{len(times)} answers to {effort.pings} pings")
    return {**percentiles(times), "ping_us": times}


WORKLOADS = [
    Workload("tcp1", tcp("tcp1")),
    Workload("tcp4", tcp("tcp4", count=4)),
    Workload("both", tcp("both", both_ways=True)),
    Workload("line", line),
    Workload("udp64", udp("udp64", 64)),
    Workload("udp1392", udp("udp1392", 1392)),
    Workload("ping", latency),
    Workload("jumbo", tcp("jumbo"), jumbo=True),
]
