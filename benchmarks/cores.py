"""What more cores give: the data plane from ring to ring on one core, two and so on.

    python -E -s benchmarks/cores.py [--quick] [--json]

A queue is a pair of threads pinned to one core, `seal -> ring -> open`, with a peer of
its own; queues share one plane, or have one each, which shows what the machine itself takes.
One peer's packets, which lie ready in a ring, are sealed or opened by a group of threads,
one a core. Beyond the cores of this machine there is only a model.
Without root. Results go to benchmarks/results/.
"""
import argparse
import os
import statistics
import sys
import threading
import time

import cores_report
import machine
import report
from scaling import BURST, Site, packet

from wgpy._fast.ports import MemoryPort, Pump, RingIn, RingOut, clock
from wgpy.ring.backing import DEFAULT_SIZE, MemfdRing
from wgpy.rooms.pumproom import ring_end

LENGTHS = (64, 1420)
MOST = 16  # queues that a plane has at most
SETTLE = 0.2
FLOW_BYTES, FLOW_TRAINS = 32 << 20, 250  # what a ring holds


def ring(size: int, datagrams: bool) -> tuple[RingOut, RingIn]:
    memory = MemfdRing.create("cores", size)
    out, into = (ring_end(dict(zip((f"ring.cores.{part}" for part in ("own", "theirs", "data", "space")), fds)), "cores")
                 for fds in (memory.producer_fds(), memory.consumer_fds()))
    memory.close()
    return out.producer(datagrams=datagrams), into.consumer(datagrams=datagrams)


def on_core(core: int, call, *args) -> None:
    os.sched_setaffinity(0, {core})
    call(*args)


class Queue:
    """Queue `number` of a site, its two threads each pinned to one of `cores`."""

    def __init__(self, site: Site, number: int, cores: tuple[int, int], length: int):
        source, self.sink = MemoryPort(repeat=True), MemoryPort(discard=True)
        address = site.inside[number % len(site.inside)]
        for _ in range(min(BURST, 64_000 // length)):
            source.put(packet(address, address, length))
        out, into = ring(DEFAULT_SIZE, datagrams=True)
        queue = number % site.queues
        self._pumps = (Pump(source, site.plane.seal_stage(queue), out),
                       Pump(into, site.plane.open_stage(queue), self.sink))
        self._threads = [threading.Thread(target=on_core, args=(core, pump.run), daemon=True)
                         for pump, core in zip(self._pumps, cores)]
        for thread in self._threads:
            thread.start()

    def opened(self) -> int:
        return self.sink.stats()["packets_out"]

    def stop(self) -> None:
        for pump in self._pumps:
            pump.stop()
        for thread in self._threads:
            thread.join()


def rate(length: int, pinned: list[tuple[int, int]], shared: bool, seconds: float) -> float:
    """Gbit/s of inner packets that are sealed, cross a ring and are opened."""
    n, now = len(pinned), clock()
    sites = [Site(n, n, queues=n, now=now)] * n if shared else [Site(1, 1, now=now) for _ in pinned]
    queues = [Queue(site, number, cores, length) for number, (site, cores) in enumerate(zip(sites, pinned))]
    time.sleep(SETTLE)
    before, began = sum(q.opened() for q in queues), time.perf_counter()
    time.sleep(seconds)
    opened, elapsed = sum(q.opened() for q in queues) - before, time.perf_counter() - began
    for queue in queues:
        queue.stop()
    assert opened, [site.plane.drops() for site in sites]
    return opened * length * 8 / elapsed / 1e9


def flow(way: str, length: int, cores: list[int], seconds: float) -> float:
    """Gbit/s of inner packets of one peer that a group with a thread on each of `cores`
    seals or opens (`way`): the median of as many rings full as fit into the time."""
    rates, deadline = [], time.monotonic() + seconds
    while not rates or time.monotonic() < deadline:
        site, source, sink = Site(1, 1, queues=len(cores), now=clock()), MemoryPort(repeat=True), MemoryPort(discard=True)
        for _ in range(BURST):
            source.put(packet(site.inside[0], site.inside[0], length))
        out, into = ring(FLOW_BYTES, datagrams=way == "open")
        fill = Pump(source, site.plane.seal_stage() if way == "open" else None, out)
        group = Pump(into, [getattr(site.plane, f"{way}_stage")(i) for i in range(len(cores))], sink)
        for _ in range(3):  # attach
            fill.step(), group.step()
        for _ in range(min(FLOW_TRAINS, FLOW_BYTES // (BURST * (length + 128)))):
            fill.step()
        threads = [threading.Thread(target=on_core, args=(core, group.run, i), daemon=True)
                   for i, core in enumerate(cores)]
        before, end, began = sink.stats()["packets_out"], out.stats()["packets_out"], time.perf_counter()
        for thread in threads:
            thread.start()
        while sink.stats()["packets_out"] < end:
            time.sleep(0.0002)
        rates.append((end - before) * length * 8 / (time.perf_counter() - began) / 1e9)
        group.stop()
        for thread in threads:
            thread.join()
    return statistics.median(rates)


def arrangements(cores: list[int]) -> list[tuple[str, int, list[tuple[int, int]], bool]]:
    """Name, number of cores, where each queue's two threads run, whether they share a plane."""
    made = [("one plane", n, [(c, c) for c in cores[:n]], True) for n in range(1, len(cores) + 1)]
    made += [("a plane each", n, [(c, c) for c in cores[:n]], False) for n in range(2, len(cores) + 1)]
    if len(cores) > 1:
        made.append(("one queue, seal and open apart", 2, [(cores[0], cores[1])], True))
    return made


def measure(rounds: int, seconds: float) -> list[dict]:
    """Arrangements in turn, so that drift meets all alike; speed-ups are within a round."""
    cores = sorted(os.sched_getaffinity(0))[:MOST]
    todo = arrangements(cores)
    flows = [(f"one peer, {way} alone", n, way) for way in ("seal", "open") for n in range(1, len(cores) + 1)]
    rates: dict[tuple, list[float]] = {}
    for number in range(1, rounds + 1):
        for length in LENGTHS:
            for name, n, pinned, shared in todo:
                machine.settle(1)
                rates.setdefault((length, name, n), []).append(rate(length, pinned, shared, seconds))
            for name, n, way in flows:
                machine.settle(1)
                rates.setdefault((length, name, n), []).append(flow(way, length, cores[:n], seconds))
        print(f"cores, round {number} of {rounds}", file=sys.stderr, flush=True)
    return [{"length": length, "arrangement": name, "cores": n, "gbps": statistics.median(got),
             "least": min(got), "most": max(got),
             "speedup": statistics.median(g / one for g, one in zip(
                 got, rates[length, name if (length, name, 1) in rates else "one plane", 1]))}
            for (length, name, n), got in rates.items()]


def models(points: dict[int, float]) -> list[dict]:
    """The Universal Scalability Law, S(N) = N / (1 + a (N - 1) + b N (N - 1)) with a for
    waiting and b for coherence, through measured speed-ups. Two points, of which one is 1,
    give one equation: then the two cases in which only one of them is not 0."""
    many = {n: s for n, s in points.items() if n > 1}
    loss = {n: max(0.0, n / s - 1) for n, s in many.items()}
    if len(many) == 1:
        (n, lost), = loss.items()
        return [{"name": "all loss is waiting (Amdahl)", "a": lost / (n - 1), "b": 0.0},
                {"name": "all loss is coherence", "a": 0.0, "b": lost / n / (n - 1)}]
    if not many:
        return []
    import numpy
    terms = numpy.array([[n - 1, n * (n - 1)] for n in loss], float)
    (a, b), *_ = numpy.linalg.lstsq(terms, numpy.array(list(loss.values())), rcond=None)
    return [{"name": "least squares", "a": float(a), "b": float(b)}]


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--quick", action="store_true", help="short runs: an impression, no result")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    args = p.parse_args()
    with machine.weight(0 if os.geteuid() else -10):
        measured = measure(2, 0.4) if args.quick else measure(5, 1.0)
    speedups = {n: {r["cores"]: r["speedup"] for r in measured
                    if r["length"] == n and r["arrangement"] == "one plane"} for n in LENGTHS}
    result = {"machine": machine.describe(), "measured": measured,
              "models": {n: models(points) for n, points in speedups.items()}}
    paths = cores_report.save(result)
    report.tell(result, cores_report.text(result), paths, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
