"""Deadlines with their reasons. No callbacks: whoever drives the core sleeps until
the earliest one and then calls Device.tick."""

import heapq
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from wgpy.constants import KEEPALIVE_TIMEOUT, REKEY_TIMEOUT

UNANSWERED_TIME = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT


class Instant(NamedTuple):
    """One reading of both clocks, ns: CLOCK_BOOTTIME for everything that lasts,
    CLOCK_REALTIME only for timestamps."""
    mono: int
    wall: int


class Reason(Enum):
    """What each waits for, who arms it and who disarms it: wgpy.protocol.deadlines."""
    INITIATE = "an initiation is wanted and allowed again"
    RETRANSMIT = "no response to the initiation"
    UNANSWERED = "data sent and nothing heard back"
    PASSIVE_KEEPALIVE = "data received and nothing sent back"
    PERSISTENT_KEEPALIVE = "the configured keepalive interval"
    EXPIRE_KEYPAIR = "a keypair reaches reject-after-time"
    WIPE_KEYS = "three times reject-after-time without a new session"


WANT_ACTIVITY = frozenset((Reason.UNANSWERED, Reason.PASSIVE_KEEPALIVE, Reason.PERSISTENT_KEEPALIVE))


class Deadline(NamedTuple):
    """Of one peer, by its public key."""
    at: int              # ns of CLOCK_BOOTTIME
    peer: bytes
    reason: Reason


class Timers:
    """At most one deadline for each peer and reason. Disarming leaves its entry in the
    heap, to be passed over when it comes up."""

    def __init__(self) -> None:
        self._at: dict[tuple[bytes, Reason], int] = {}
        self._heap: list[tuple[int, int, bytes, Reason]] = []
        self._serial = 0

    def arm(self, peer: bytes, reason: Reason, at: int) -> None:
        """Sets the deadline, in place of an earlier or later one."""
        if self._at.get((peer, reason)) == at:
            return
        self._at[peer, reason] = at
        self._serial += 1
        heapq.heappush(self._heap, (at, self._serial, peer, reason))
        if len(self._heap) > 2 * len(self._at) + 64:
            self._heap = [e for e in self._heap if self._is_live(e)]
            heapq.heapify(self._heap)

    def disarm(self, peer: bytes, *reasons: Reason) -> None:
        """No-op for what is not armed."""
        for reason in reasons:
            self._at.pop((peer, reason), None)

    def forget(self, peer: bytes) -> None:
        """All deadlines of the peer."""
        self.disarm(peer, *Reason)

    def at(self, peer: bytes, reason: Reason) -> int | None:
        """ns of CLOCK_BOOTTIME; None when it is not armed."""
        return self._at.get((peer, reason))

    def earliest(self) -> Deadline | None:
        """None when nothing is armed. It may have come already."""
        while self._heap:
            if self._is_live(self._heap[0]):
                at, _, peer, reason = self._heap[0]
                return Deadline(at, peer, reason)
            heapq.heappop(self._heap)
        return None

    def due(self, now: int) -> Iterator[Deadline]:
        """All that have come, in no order; changes nothing."""
        places = [0]
        while places:
            i = places.pop()
            if i < len(self._heap) and self._heap[i][0] <= now:
                if self._is_live(self._heap[i]):
                    at, _, peer, reason = self._heap[i]
                    yield Deadline(at, peer, reason)
                places += (2 * i + 1, 2 * i + 2)

    def _is_live(self, entry: tuple[int, int, bytes, Reason]) -> bool:
        return self._at.get(entry[2:]) == entry[0]
