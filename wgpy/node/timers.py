"""Calls that come later, in the loop's thread. Times are seconds of CLOCK_BOOTTIME."""

import heapq
import itertools
import logging
import time
from collections.abc import Callable
from typing import Protocol

from wgpy.errors import WgpyError
from wgpy.loop import Loop

log = logging.getLogger(__name__)


class Timers:
    """The deadlines of `loop`, which has no others."""

    def __init__(self, loop: Loop):
        self._waiting: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        loop.next_deadline = lambda: int(self._waiting[0][0] * 1e9) if self._waiting else None
        loop.on_deadline = self._run

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        """Once, after `seconds` of CLOCK_BOOTTIME or a little later."""
        heapq.heappush(self._waiting, (_now() + seconds, next(self._order), call))

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        """The next time counts from this one, however late this one is."""
        def again() -> None:
            self.after(seconds, again)
            call()
        self.after(seconds, again)

    def _run(self) -> None:
        """One a turn: what a room said during a long one is heard before the next one
        asks whether it is silent."""
        if self._waiting and self._waiting[0][0] <= _now():
            heapq.heappop(self._waiting)[2]()


class Child(Protocol):
    """A process that is kept running: a room's, a guest's."""
    pid: int  # 0: it does not run

    def start(self) -> None:
        """OSError or WgpyError when it cannot be."""

    def pause(self) -> float:
        """Seconds until it is worth trying again."""


def try_start(timers: Timers, name: str, child: Child, unwanted: Callable[[], bool]) -> None:
    """Starts what does not run, after a pause again as long as it cannot be, until `unwanted()`."""
    if unwanted() or child.pid:
        return
    try:
        child.start()
    except (OSError, WgpyError) as e:
        log.error("cannot start %s: %s", name, e)
        timers.after(child.pause(), lambda: try_start(timers, name, child, unwanted))


class Backoff:
    """How long what ends again and again waits for its next start, in seconds: from `first`, each time
    twice as long, up to `last`; anew from `first` once it has been ready for `stable`."""

    def __init__(self, first: float, last: float, stable: float):
        self._first, self._last, self._stable = first, last, stable
        self._next = first

    def pause(self, ready_since: float) -> float:
        """`ready_since`: of CLOCK_MONOTONIC, 0 when it was not ready."""
        if ready_since and time.monotonic() - ready_since > self._stable:
            self._next = self._first
        wait, self._next = self._next, min(2 * self._next, self._last)
        return wait


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
