"""What an attack costs whoever is not the attacker: one cell of the table at a time, each
in an arena of its own that is gone afterwards, whatever happened.

What is kept of the throughput is a ratio to the same flood that only the target's kernel
receives and drops, measured in turn with it: the flood itself takes its share of the cores
either way. Every wait has a bound, so that a run has one (`Plan.limit`).
"""

import itertools
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from statistics import median

from wgpy.errors import HostError, WgpyError
from wgpy.lab.attack_arena import Arena
from wgpy.lab.netns import meanwhile
from wgpy.lab.traffic import Ping, iperf3, ping, pinging
from wgpy.lab.tunnel import Implementation

KINDS = {
    "garbage": "every size; one half has an initiation's and a wrong MAC1",
    "forged": "the same from the peer's address and port",
    "mac1": "initiations whose MAC1 is valid, from one address",
    "replay": "a recorded initiation of the peer, from its address and port",
    "sources": "initiations whose MAC1 is valid, each from an address of its own",
    "datagrams": "a valid peer: datagrams of 65,000 bytes through its tunnel, as many as it can",
    "packets": "a valid peer: packets of 64 bytes through its tunnel, as many as it can",
}
OF_A_PEER = ("datagrams", "packets")
QUICK_KINDS = ("forged", "mac1", "datagrams")
SESSIONS = ("none", "live")
_HEAD_START = 1.0        # s: how long a flood lasts before anything is measured under it
_POLL = 0.05             # s


@dataclass(frozen=True)
class Plan:
    """Rates in packets a second, times in seconds. `limit` bounds the run: a cell that would
    begin later is not run, and said to be so."""
    rate: float = 300_000
    seconds: float = 2       # of TCP at a time
    rounds: int = 2          # of TCP under the flood and beside it
    handshake: float = 12    # how long a handshake is waited for: two retries
    limit: float = 690

    def cell(self) -> float:
        """An upper bound of the time of one cell under the flood."""
        return 2 * self.rounds * (self.seconds + 10) + 2 * self.handshake + 30


QUICK = Plan(seconds=1, rounds=1, limit=120)


@dataclass
class Cell:
    """Seconds, bits and packets a second, milliseconds, bytes; None: not measured, and of
    delays: not within the time that was waited. `kept` is the ratio to the flood that the
    kernel drops."""
    implementation: str
    kind: str
    session: str
    rate: float = 0.0                # achieved
    handshake: float | None = None   # first, or new
    waited: float = 0.0              # for it
    idle_bits: float | None = None   # without any flood
    dropped_bits: float | None = None
    bits: float | None = None
    kept: float | None = None
    ping_p50: float | None = None
    ping_p99: float | None = None
    pings_lost: float | None = None  # of 1
    alarm: float | None = None
    alarmed: bool | None = None      # None: it has no alarm that could be asked
    memory: int = 0                  # growth
    crashes: int = 0
    error: str = ""
    notes: list[str] = field(default_factory=list)

    def plain(self) -> dict:
        return asdict(self)


def cells(implementations: list[str], kinds, sessions):
    """(implementation, kind, session); a valid peer that floods has a session."""
    for implementation, kind, session in itertools.product(implementations, kinds, sessions):
        if kind not in OF_A_PEER or session == "live":
            yield implementation, kind, session


def run(plan: Plan, chosen, implementations: dict[str, Implementation | str], say=lambda cell: None) -> list[Cell]:
    """`implementations` by the names in `chosen`. A cell that failed says why."""
    began, out = time.monotonic(), []
    for name, kind, session in chosen:
        cell = Cell(name, kind, session)
        if time.monotonic() - began > plan.limit:
            cell.error = f"not run: {plan.limit:g} s were over"
        else:
            try:
                with Arena(implementations[name]) as arena:
                    _measure(arena, plan, cell)
            except (WgpyError, subprocess.SubprocessError, OSError, RuntimeError) as error:
                cell.error = f"{type(error).__name__}: {error}"
        out.append(cell)
        say(cell)
    return out


def _measure(arena: Arena, plan: Plan, cell: Cell) -> None:
    if cell.session == "live" or cell.kind == "replay":
        arena.session()
    if cell.session == "live":
        cell.idle_bits = _tcp(arena, plan)
    before = arena.resident_bytes()
    order = arena.order(cell.kind, plan.rate, plan.cell())
    with alarm(arena, cell) as watch:
        if cell.session == "live":
            _live(arena, plan, cell, order, watch)
        with arena.flooding(order) as counts:
            watch.set()
            time.sleep(_HEAD_START)
            cell.handshake, cell.waited = _handshake(arena, cell, plan.handshake)
            cell.memory = arena.resident_bytes() - before
    _note_rate(cell, counts)
    cell.crashes = arena.target.crashes()


def _live(arena: Arena, plan: Plan, cell: Cell, order, watch: threading.Event) -> None:
    """TCP beside a flood that the kernel drops and under the real one, in turn."""
    dropped, real, pings = [], [], []
    for _ in range(plan.rounds):
        with arena.kernel_drops(order) as harmless, arena.flooding(harmless):
            time.sleep(_HEAD_START / 2)
            dropped.append(_tcp(arena, plan))
        with arena.flooding(order) as counts:
            watch.set()
            time.sleep(_HEAD_START / 2)
            real.append(_tcp(arena, plan))
            with pinging(arena.peer.host, arena.inner, interval=0.01) as seen:
                time.sleep(plan.seconds)
            pings += seen
        _note_rate(cell, counts)
    cell.dropped_bits, cell.bits = median(dropped), median(real)
    cell.kept = median(r / d for r, d in zip(real, dropped, strict=True) if d)
    _note_pings(cell, pings)


def _tcp(arena: Arena, plan: Plan) -> float:
    """Bits a second from the peer to the target; 0 when no connection comes about."""
    try:
        return iperf3(arena.target.host, arena.peer.host, arena.inner, seconds=plan.seconds, patience=3).bits_per_second
    except RuntimeError:
        return 0.0


def _note_pings(cell: Cell, pings: list[Ping]) -> None:
    times, sent = sorted(t for p in pings for t in p.times), sum(p.sent for p in pings)
    if times:
        cell.ping_p50, cell.ping_p99 = median(times), times[min(len(times) * 99 // 100, len(times) - 1)]
    if sent:
        cell.pings_lost = (sent - len(times)) / sent


def _note_rate(cell: Cell, counts: list[dict]) -> None:
    if counts and counts[0].get("seconds"):
        cell.rate = counts[0]["sent"] / counts[0]["seconds"]


def _handshake(arena: Arena, cell: Cell, limit: float) -> tuple[float | None, float]:
    """Seconds from the peer's first packet that needs a new session to its answer. The
    peer forgets the target and learns it anew, the target keeps what it has. One packet a second,
    so that none of those that wait for the session gives way to others."""
    began = time.monotonic()
    arena.peer.forget_and_relearn()
    lost = ping(arena.peer.host, arena.inner, count=1, interval=1, wait=limit).lost
    took = time.monotonic() - began
    return (None if lost else took), limit


@contextmanager
def alarm(arena: Arena, cell: Cell):
    """Yields an event for the begin of the flood, and notes how long after it the target
    said that it is under attack."""
    begun = threading.Event()

    def watch(over):
        while not begun.wait(_POLL):
            if over.is_set():
                return
        since = time.monotonic()
        while not over.is_set():
            try:
                if alarmed(arena.target.facts()):
                    cell.alarm, cell.alarmed = time.monotonic() - since, True
                    return
            except OSError:
                pass  # not answered in time: asked again
            over.wait(_POLL)

    with meanwhile(watch):
        cell.alarmed = False if arena.target.facts() else None
        yield begun


def alarmed(facts: dict) -> bool:
    """As Standalone.facts() or Encryptor.facts() tell it."""
    return any(facts.get(event, 0) > 0 for event in ("event_flood", "event_under_load"))


def implementations(reference: str | None) -> dict[str, Implementation | str]:
    """What is attacked, by name; `reference` is a program that takes -f IFACE."""
    found: dict[str, Implementation | str] = {"wgpyd": "wgpyd", "encryptor": "encryptor"}
    if reference:
        found["wireguard-go"] = Implementation("wireguard-go", (reference, "-f"))
    return found


def check(kinds, names) -> None:
    """HostError that names what is unknown."""
    for word, known in [(k, KINDS) for k in kinds] + [(n, ("wgpyd", "encryptor", "wireguard-go")) for n in names]:
        if word not in known:
            raise HostError(f"{word}: unknown; one of {', '.join(known)}")
