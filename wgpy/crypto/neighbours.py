"""What black and red say on their control lanes, and what crypto does about it. Either may have
been taken over: what it costs to listen to them is bounded here. Times are CLOCK_BOOTTIME, ns."""

from collections.abc import Callable, Mapping
from typing import Any

from wgpy.constants import SECOND
from wgpy.ring.lane import Kind, Listener, Record

LOOK = SECOND          # between looks at lanes whose neighbour can ring,
POLL = SECOND // 20    # and at those of one that cannot
RINGS = 32             # after which there is a look at once; then
RING = SECOND // 50    # between looks at the earliest, however often it rings
SETTLE = SECOND // 20  # from hearing that black is there to asking peers: rings attach meanwhile
REVIVE = SECOND // 2   # from then to asking again for what the interruption cost
SILENT = 5 * SECOND    # without a beat: not up
ASKS = 8               # that a neighbour may cause at once; then one a second
_WAITING = 4           # of those, that are due later


class Neighbours:
    """`rings`: whether neighbours can ring. `moved(bool)`: black's network is another one, or something of it changed; `connect()`:
    black is there, or there again, or has its link back."""

    def __init__(self, lanes: Mapping[str, Listener], rings: bool, moved: Callable[[bool], None],
                 connect: Callable[[], None]):
        self._lanes, self._moved, self._connect = lanes, moved, connect
        self._pause, self._rings = LOOK if rings else POLL, RINGS
        self._life = 0                       # of black, of which peers were told
        self._network: Record | None = None  # what black said last of its network
        self._beaten: dict[str, int] = {}    # when each was heard last
        self._look_at = self._looked = 0
        self._due: list[int] = []            # when to connect
        self._asks, self._asks_at = ASKS, 0
        self._now = 0

    def next_deadline(self) -> int:
        """When to call on_deadline()."""
        return min([self._look_at, *self._due])

    def rung(self) -> None:
        """Somebody rang: there is a look as soon as there may be one. Until on_deadline() says
        that there was one, nobody needs to be heard."""
        self._rings -= self._rings > 0
        self._look_at = min(self._look_at, self._looked + (0 if self._rings else RING))

    def on_deadline(self, now: int) -> bool:
        """Looks at the lanes when it is time, which it returns, and does what is due."""
        self._now = now
        if looks := now >= self._look_at:
            self._rings = min(RINGS, self._rings + (now - self._looked) // RING)
            self._look_at, self._looked = now + self._pause, now
            for name, lane in self._lanes.items():
                self._heard(name, lane.look())
        if [at for at in self._due if at <= now]:
            self._due = [at for at in self._due if at > now]
            self._ask(now)
        return looks

    def status(self) -> dict[str, Any]:
        """Of each neighbour: whether it is up, what it counts, and what of it was refused."""
        return {name: {"up": name in self._beaten and self._now - self._beaten[name] < SILENT,
                       "refused": {str(why): n for why, n in lane.refused.items() if n},
                       "counters": list(lane.newest[Kind.COUNTERS].values) if Kind.COUNTERS in lane.newest else []}
                for name, lane in self._lanes.items()}

    def _heard(self, name: str, records: list[Record]) -> None:
        for record in records:
            if record.kind is Kind.UP:
                self._beaten[name] = self._now
            if name == "black":
                self._of_black(record)

    def _of_black(self, record: Record) -> None:
        """A new life has not seen what happened before it, so it may have moved."""
        if record.kind is Kind.UP and record.life != self._life:
            self._life = record.life
            self._moved(True)
            self._later(SETTLE)
            self._later(REVIVE)
        elif record.kind is Kind.NETWORK:
            before, self._network = self._network, record
            told = before.values if before is not None and before.life == record.life else (0,) * len(record.values)
            moved, changed, plugged = (a != b for a, b in zip(record.values[:3], told))
            if moved or changed:
                self._moved(moved)
            if plugged:
                self._later(REVIVE)

    def _later(self, wait: int) -> None:
        if len(self._due) < _WAITING:
            self._due.append(self._now + wait)

    def _ask(self, now: int) -> None:
        if earned := (now - self._asks_at) // SECOND:
            self._asks, self._asks_at = min(ASKS, self._asks + earned), now
        if self._asks:
            self._asks -= 1
            self._connect()
        elif len(self._due) < _WAITING:
            self._due.append(self._asks_at + SECOND)
