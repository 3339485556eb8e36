"""Is a room that does not answer stuck, or did it not get its chance? On a machine under
load it may wait for the processor for any time, so it is not the clock that judges but
what /proc says of its threads (proc(5), /proc/PID/stat).

What counts is *chance*: processor time that the room got since it was asked, and time in
which none of its threads wanted any. A room that is stopped, as by SIGSTOP, gets none and
will not by itself.

This finds rooms that are stuck. One that was taken over can answer for as long as it likes
and do nothing else: no question tells that from work, and what it withholds is its own half
of the traffic, which it could as well drop.
"""

import os
from pathlib import Path
from typing import NamedTuple

LOOK = 0.5          # s between looks
STOPPED_LOOKS = 2   # in a row at which a room is found stopped, or its process gone
RUNNING = 4.0       # s of chance for an answer
STARTING = 60.0     # s of chance until it is ready; Argon2id may take 16 passes over 512 MiB
LONGEST = 300.0     # s, whatever it got
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_HALTED = set("TZXx")
_WANTING = set("RD")


class Seen(NamedTuple):
    """A process at one look: the state of its first thread, whether any wants the
    processor or waits for a disk, and what all have used of it, in seconds."""
    state: str
    wanting: bool
    used: float


def jailed(pid: int, proc: Path = Path("/proc")) -> int:
    """The room itself, of which `pid` is the waiting parent; before it is made, `pid`."""
    try:
        children = (proc / str(pid) / "task" / str(pid) / "children").read_text().split()
    except OSError:
        return pid
    return int(children[0]) if children else pid


def look(pid: int, proc: Path = Path("/proc")) -> Seen:
    """A process that is gone is in state "X"."""
    first, wanting, used = "X", False, 0.0
    try:
        for name in os.listdir(proc / str(pid) / "task"):
            try:
                fields = (proc / str(pid) / "task" / name / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # a thread that has just ended
                continue
            first = fields[0] if name == str(pid) else first
            wanting |= fields[0] in _WANTING
            used += (int(fields[11]) + int(fields[12])) * _TICK
    except OSError:
        pass
    return Seen(first, wanting, used)


class Judge:
    """Of one life of a room. Times are seconds of any clock that stands still while the
    machine sleeps."""

    def __init__(self, now: float):
        self._at = now
        self._chance, self._halted = 0.0, 0
        self._waiting_since: float | None = now  # it has to get ready
        self._limit = STARTING
        self._before: Seen | None = None

    def asked(self, now: float) -> None:
        """A request went out; those before that are not answered still count."""
        if self._waiting_since is None:
            self._waiting_since, self._chance, self._before = now, 0.0, None

    def heard(self, ready: bool) -> None:
        """It answered what was asked. Until it is `ready`, whatever it says is progress, and a
        limit remains."""
        self._chance, self._before = 0.0, None
        if ready:
            self._waiting_since, self._limit = None, RUNNING

    def seen(self, seen: Seen, now: float) -> str:
        """Why it has to be killed, or ""."""
        passed, self._at = min(now - self._at, 2 * LOOK), now
        # while it starts, processes come and go that are not yet the room
        self._halted = self._halted + 1 if seen.state in _HALTED and self._limit == RUNNING else 0
        if self._halted >= STOPPED_LOOKS:
            return "is stopped"
        if self._waiting_since is None:
            return ""
        if self._before is not None:
            got = max(0.0, seen.used - self._before.used)
            self._chance += min(passed, got) if seen.wanting else passed
        self._before = seen
        if self._chance > self._limit or now - self._waiting_since > LONGEST:
            return "does not answer"
        return ""
