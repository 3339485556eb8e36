"""Who was turned away, without a way to fill the audit log by being turned away."""

import time
from collections.abc import Callable
from typing import TypedDict

REFUSALS_EVERY = 60.0    # s between two entries about the same uid
ALL_AT_ONCE = 16         # entries about different ones, and then
ALL_EVERY = 10.0         # s for another one: a user may have 65,536 uids (subuid(5))
_MAX_REMEMBERED = 256    # uids


class Refused(TypedDict, total=False):
    """`times`: that this one was; `others`: how many of those were who are not remembered."""
    times: int
    others: int


class Refusals:
    """By uid, of at most 256 of them. `clock()` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._last: dict[int, float] = {}  # when the last entry about a uid was
        self._untold: dict[int, int] = {}  # how often one was refused since
        self._others = 0  # refusals of those who are not remembered any more
        self._may, self._since = float(ALL_AT_ONCE), clock()

    def note(self, uid: int) -> Refused | None:
        """What to write down now: nothing new, or `times` that this one was refused and
        how many `others` were; None: not yet."""
        now, count = self._clock(), self._untold.pop(uid, 0) + 1
        self._may = min(ALL_AT_ONCE, self._may + (now - self._since) / ALL_EVERY)
        self._since = now
        if now - self._last.get(uid, -REFUSALS_EVERY) < REFUSALS_EVERY or self._may < 1:
            self._untold[uid] = count
            if len(self._untold) > _MAX_REMEMBERED:
                self._others += self._untold.pop(next(iter(self._untold)))
            return None
        self._may -= 1
        self._last.pop(uid, None)
        self._last[uid] = now
        if len(self._last) > _MAX_REMEMBERED:
            del self._last[next(iter(self._last))]
        others, self._others = self._others, 0
        refused: Refused = {}
        if count > 1:
            refused["times"] = count
        if others:
            refused["others"] = others
        return refused
