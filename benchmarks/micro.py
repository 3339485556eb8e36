"""Micro benchmarks with pyperf: AEAD backends, pumps over memory ports, trie, handshake.

    python -E -s benchmarks/micro.py -o before.json    then, after a change, -o after.json and
    python -I -m pyperf compare_to before.json after.json

Figures are seconds per packet, lookup or handshake. pyperf's own options apply.
"""
import os
import random
import struct
import time
from functools import cache

import pyperf

from wgpy._fast.plane import Plane, aead_backends, aead_measure
from wgpy._fast.ports import MemoryPort, Pump
from wgpy.notices import KEY_NEEDED, Endpoint
from wgpy.protocol.device import Device, Instant
from wgpy.protocol.effects import InstallKeypair, SendToPeer
from wgpy.suite import get

BURST = 160          # packets that fit one batch at 1420 bytes
THERE = Endpoint("127.0.0.1", 9)


def inner(length: int) -> bytes:
    """An IPv4 UDP packet from 10.0.0.1 to 10.0.0.2 of `length` bytes; no one checks its sums."""
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, 17, 0,
                         bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)))
    return header + bytes(length - len(header))


def plane(receiving: bool) -> Plane:
    """One peer that owns everything, with a fresh keypair whose two keys are the same."""
    p = Plane(max_peers=4)
    slot = p.add_peer()
    p.allow(slot, bytes(4), 0)
    p.set_endpoint(slot, THERE)
    key = bytes(range(32))
    p.install(slot, local_index=7, remote_index=7, send_key=key, receive_key=key,
              initiator=not receiving, now=time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    return p


def drain(pump: Pump, source: MemoryPort, wanted: int) -> float:
    """Seconds until the pump has taken `wanted` packets from its source."""
    goal = source.stats()["packets_in"] + wanted
    began = time.perf_counter()
    while source.stats()["packets_in"] < goal:
        pump.step()
    return time.perf_counter() - began


def forward(loops: int, length: int, sealing: bool) -> float:
    source, sink = MemoryPort(repeat=True), MemoryPort(discard=True)
    for _ in range(BURST):
        source.put(inner(length), THERE)
    pump = Pump(source, plane(False).seal_stage() if sealing else None, sink)
    drain(pump, source, BURST)
    before = sink.stats()["packets_out"], source.stats()["packets_in"]
    seconds = drain(pump, source, loops)
    out, taken = (sink.stats()["packets_out"] - before[0], source.stats()["packets_in"] - before[1])
    assert out == taken, pump.drops()
    return seconds * loops / taken


def opening(loops: int, length: int) -> float:
    """Every datagram is sealed anew, untimed, for a counter seen before is dropped."""
    a, b = plane(False), plane(True)
    source, sealed = MemoryPort(repeat=True), MemoryPort()
    for _ in range(BURST):
        source.put(inner(length))
    seal = Pump(source, a.seal_stage(), sealed)
    arriving, sink = MemoryPort(), MemoryPort(discard=True)
    pump = Pump(arriving, b.open_stage(), sink)
    seconds, done = 0.0, 0
    while done < loops:
        seal.step()
        datagrams = sealed.take()
        for datagram, endpoint, _ in datagrams:
            arriving.put(datagram, endpoint)
        seconds += drain(pump, arriving, len(datagrams))
        done += len(datagrams)
    assert sink.stats()["packets_out"] == done, b.drops()
    return seconds * loops / done


@cache
def crowd(prefixes: int) -> Plane:
    """250 peers that share `prefixes` random prefixes."""
    chance = random.Random(1)
    p = Plane(max_peers=256)
    slots = [p.add_peer() for _ in range(250)]
    for i in range(prefixes):
        cidr = chance.randint(12, 32)
        address = chance.getrandbits(32) >> (32 - cidr) << (32 - cidr)
        p.allow(slots[i % 250], address.to_bytes(4), cidr)
    return p


def trie(loops: int, prefixes: int) -> float:
    """Looks up random addresses one call each; the call from Python is included."""
    lookup = crowd(prefixes).lookup
    chance = random.Random(2)
    addresses = [chance.randbytes(4) for _ in range(4096)]
    began = time.perf_counter()
    for i in range(loops):
        lookup(addresses[i & 4095])
    return time.perf_counter() - began


def handshake(loops: int) -> float:
    """Both ends of a whole handshake, six virtual seconds apart."""
    a, b = (Device(get(), os.urandom) for _ in range(2))
    start = Instant(10**12, 1_700_000_000 * 10**9)
    for device in (a, b):
        device.set_private_key(os.urandom(32), start)
        device.start(start)
    a.add_peer(b.public_key)
    b.add_peer(a.public_key)
    seconds = 0.0
    for i in range(1, loops + 1):
        now = Instant(start.mono + i * 6 * 10**9, start.wall + i * 6 * 10**9)
        began = time.perf_counter()
        (first,) = (e for e in a.notice(b.public_key, KEY_NEEDED, now) if isinstance(e, SendToPeer))
        (reply,) = (e for e in b.receive(first.datagram, THERE, now) if isinstance(e, SendToPeer))
        (keys,) = (e for e in a.receive(reply.datagram, THERE, now) if isinstance(e, InstallKeypair))
        seconds += time.perf_counter() - began
        for device, peer, kept in ((a, b.public_key, keys.local_index), (b, a.public_key, keys.remote_index)):
            device.freed(peer, [index for index in device.peers[peer].expiry if index != kept])
    return seconds


def aead(loops: int, name: str, length: int) -> float:
    """One measurement of its own; more loops would only repeat it."""
    return loops * aead_measure(name, length, 32) * 1e-9


def main() -> None:
    runner = pyperf.Runner(processes=3, values=3, warmups=1, min_time=0.05,
                           add_cmdline_args=lambda cmd, args: cmd.extend(("--aead", args.aead)))
    runner.argparser.add_argument("--aead", help="backends, separated by commas (all that work)")
    args = runner.parse_args()
    if not args.aead:
        args.aead = ",".join(sorted(b[0] for b in aead_backends() if b[1] and b[2] is None))
    for name in args.aead.split(","):
        for length in (64, 1420):
            runner.bench_time_func(f"aead {name} seal {length} B", aead, name, length)
    for length in (64, 1420):
        runner.bench_time_func(f"pump pass {length} B", forward, length, False)
        runner.bench_time_func(f"pump seal {length} B", forward, length, True)
        runner.bench_time_func(f"pump open {length} B", opening, length)
    for prefixes in (1, 1_000, 100_000):
        runner.bench_time_func(f"trie lookup, {prefixes} prefixes", trie, prefixes)
    runner.bench_time_func("handshake, both ends", handshake)


if __name__ == "__main__":
    main()
