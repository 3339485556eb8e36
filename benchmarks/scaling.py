"""How cost grows with peers and prefixes, and what one core encrypts from ring to ring.

    python -E -s benchmarks/scaling.py [--quick] [--json]

Planes over memory ports and rings in one process, on one core, without root. A batch
goes either to one peer (a train) or to as many peers as it has packets (scattered), so
that what a train looks up once is seen both ways. Results go to benchmarks/results/.
"""
import argparse
import ctypes
import json
import mmap
import os
import random
import statistics
import struct
import subprocess
import sys
import time

import machine
import report
import scaling_plot

from wgpy._fast.plane import Plane, aead_backends
from wgpy._fast.ports import MemoryPort, Pump, RingIn, RingOut
from wgpy.notices import Endpoint
from wgpy.ring.layout import CONSUMER_SIZE

BURST = 128
PASSES = 5
PEERS = (1, 10, 50, 250)
PREFIXES = (1, 1_000, 10_000, 100_000)
LENGTHS = (64, 1420)
RING_BYTES = 1 << 20
NO_BELL = (-1, None, 0)
HOST = bytes((10, 0, 0, 1))
NOW = 1_000_000_000_000  # stands still: no key ages
# OPENSSL_ia32cap(3): without PCLMULQDQ, XOP, FMA, SSE4, AES-NI, XSAVE and AVX of leaf 1 and
# all of leaf 7. Guests of a seL4 host see no more than SSE4.
SSSE3_ONLY = "~0x1e18180200000000:~0xffffffffffffffff"


def packet(source: bytes, destination: bytes, length: int) -> bytes:
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0x4000, 64, 17, 0, source, destination)
    return header + bytes(length - len(header))


class Site:
    """A plane with `peers` peers that share `prefixes` random prefixes besides their own
    address, every one with a key for both ways."""

    def __init__(self, peers: int, prefixes: int, aead: str | None = None, queues: int = 1, now: int = NOW):
        before, self.queues = resident(), queues
        self.plane = Plane(max_peers=max(PEERS), max_prefixes=max(PREFIXES) + 2 * max(PEERS), aead=aead,
                           queues=queues)
        chance = random.Random(1)
        slots = [self.plane.add_peer() for _ in range(peers)]
        for i in range(prefixes - peers):
            cidr = chance.randint(12, 32)
            address = 11 << 24 | chance.getrandbits(31) >> (32 - cidr) << (32 - cidr)
            self.plane.allow(slots[i % peers], address.to_bytes(4), cidr)
        self.inside = []
        for i, slot in enumerate(slots):
            key = struct.pack("<I28x", i + 1)
            inside = bytes((10, 1, i // 250, 1 + i % 250))
            self.plane.allow(slot, inside, 32)
            self.plane.set_endpoint(slot, Endpoint(f"192.0.2.{1 + i % 250}", 51820))
            self.plane.install(slot, local_index=1000 + i, remote_index=1000 + i, send_key=key,
                               receive_key=key, initiator=True, now=now)
            self.inside.append(inside)
        self.memory = resident() - before


def resident() -> int:
    """Bytes of this process in memory, after what was freed went back."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def seal_and_open(site: Site, length: int, scattered: bool, rounds: int) -> dict[str, float]:
    """ns a packet to seal and to open, the best of `rounds` batches each. The packets have
    the peer's address as source too, so that the same plane opens what it sealed."""
    peers = len(site.inside)
    whose = [site.inside[(i * 7) % peers if scattered else peers * 3 // 4] for i in range(BURST)]
    source, sealed, arriving, sink = MemoryPort(repeat=True), MemoryPort(), MemoryPort(), MemoryPort(discard=True)
    for address in whose:
        source.put(packet(address, address, length))
    seal = Pump(source, site.plane.seal_stage(), sealed)
    opener = Pump(arriving, site.plane.open_stage(), sink)
    best = {"seal": float("inf"), "open": float("inf")}
    for _ in range(rounds):
        began = time.perf_counter_ns()
        seal.step(NOW)
        best["seal"] = min(best["seal"], (time.perf_counter_ns() - began) / BURST)
        for datagram, endpoint, _ in sealed.take():
            arriving.put(datagram, endpoint)
        began = time.perf_counter_ns()
        taken = opener.step(NOW)
        best["open"] = min(best["open"], (time.perf_counter_ns() - began) / taken)
    assert sink.stats()["packets_out"] == rounds * BURST, (seal.drops(), opener.drops())
    return best


def growth(rounds: int) -> list[dict]:
    """All sites are measured in turn, PASSES times, so that a busy moment spoils none."""
    crowds = [(p, p) for p in PEERS] + [(max(PEERS), n) for n in PREFIXES if n > max(PEERS)]
    sites = {crowd: Site(*crowd) for crowd in crowds}
    best: dict[tuple, dict[str, float]] = {}
    for number in range(1, PASSES + 1):
        for length in LENGTHS:
            for scattered in (False, True):
                for crowd, site in sites.items():
                    got = seal_and_open(site, length, scattered, rounds)
                    had = best.setdefault((crowd, length, scattered), got)
                    had.update({way: min(ns, had[way]) for way, ns in got.items()})
        print(f"peers and prefixes, pass {number} of {PASSES}", file=sys.stderr, flush=True)
    return [{"peers": crowd[0], "prefixes": crowd[1], "length": length, "scattered": scattered,
             "memory": sites[crowd].memory, **ns} for (crowd, length, scattered), ns in best.items()]


class Ring:
    def __init__(self, *, datagrams: bool):
        area, page = (mmap.mmap(-1, n) for n in (RING_BYTES, CONSUMER_SIZE))
        self.out = RingOut(area, page, NO_BELL, NO_BELL, datagrams=datagrams)
        self.into = RingIn(page, area, NO_BELL, NO_BELL, datagrams=datagrams)


def ring_to_ring(aead: str | None, length: int, seconds: float) -> dict[str, float]:
    """Gbit/s of inner packets that one core carries from red's ring through seal to black's
    and, the other way, from black's through open to red's. Filling and emptying the rings
    at their far ends is not timed."""
    site = Site(1, 1, aead)
    from_red, to_black = Ring(datagrams=False), Ring(datagrams=True)
    from_black, to_red = Ring(datagrams=True), Ring(datagrams=False)
    source, sink = MemoryPort(repeat=True), MemoryPort(discard=True)
    count = min(BURST, 64_000 // length)
    for _ in range(count):
        source.put(packet(site.inside[0], site.inside[0], length))
    pumps = {"fill": Pump(source, None, from_red.out),
             "seal": Pump(from_red.into, site.plane.seal_stage(), to_black.out),
             "wire": Pump(to_black.into, None, from_black.out),
             "open": Pump(from_black.into, site.plane.open_stage(), to_red.out),
             "drain": Pump(to_red.into, None, sink)}
    for _ring in (from_red, to_black, from_black, to_red):  # attach
        for _ in range(3):
            for pump in pumps.values():
                pump.step(NOW)
    spent = {"seal": [], "open": []}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for name, pump in pumps.items():
            began = time.perf_counter_ns()
            taken = pump.step(NOW)
            if name in spent and taken:
                spent[name].append((time.perf_counter_ns() - began) / taken)
    assert sink.stats()["packets_out"] > 0, {n: p.drops() for n, p in pumps.items()}
    return {f"{name}_gbps": length * 8 / statistics.median(ns) for name, ns in spent.items()}


def backends() -> list[str]:
    return sorted(name for name, supported, error, _ in aead_backends() if supported and error is None)


def rings(seconds: float) -> list[dict]:
    rows = []
    for name in backends():
        rows += [{"aead": name, "length": n, **ring_to_ring(name, n, seconds)} for n in LENGTHS]
        print(f"ring to ring with {name}", file=sys.stderr, flush=True)
    masked = subprocess.run([sys.executable, "-E", "-s", __file__, "--masked", str(seconds)], check=True, text=True,
                            stdout=subprocess.PIPE, env=os.environ | {"OPENSSL_ia32cap": SSSE3_ONLY})
    return rows + json.loads(masked.stdout)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--quick", action="store_true", help="short runs: an impression, no result")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p.add_argument("--masked", type=float, metavar="SECONDS", help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.masked:
        print(json.dumps([{"aead": "openssl, SSSE3 only", "length": n,
                           **ring_to_ring("openssl", n, args.masked)} for n in LENGTHS]))
        return 0
    result = {"machine": machine.describe(), "others": machine.busy(0.5),
              "growth": growth(10 if args.quick else 80), "rings": rings(0.3 if args.quick else 1.5)}
    paths = scaling_plot.save(result)
    report.tell(result, scaling_plot.tables(result), paths, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
