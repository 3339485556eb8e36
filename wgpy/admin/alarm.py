"""Is the node flooded? Told from how fast datagrams are refused, whatever the reason, so
that no kind of flood is silent. Samples come from outside the packet path."""

import logging
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from wgpy.constants import SECOND

log = logging.getLogger(__name__)

PERIOD = SECOND // 2      # between samples: two of them see a second that has begun anywhere
FLOOD = 1000              # datagrams refused within a second
CLEAR = 5 * SECOND        # after the last second with so many; as the under-load state lasts
# what somebody without a key can cause; not what a peer's own traffic fills (queue_full, peer_share)
REFUSED = frozenset((
    "malformed_message", "not_wireguard", "truncated", "unknown_index", "expired_key", "replayed", "bad_tag",
    "unawaited", "bad_mac1", "cookie_demanded", "cookie_lane", "handshake_copy", "rate_limited", "cookie_replies",
    "handshake_queue", "ring_share"))


class Flood:
    """Times are ns of CLOCK_BOOTTIME. `begun` and `over` count changes; `total` is what was
    refused during the present or the last flood, `reasons` in the second at its begin."""

    def __init__(self) -> None:
        self.begun = self.over = self.total = 0
        self.reasons: dict[str, int] = {}
        self._last: dict[str, tuple[int, Counter[str]]] = {}
        self._second: deque[tuple[int, Counter[str]]] = deque()
        self._since = self._above = 0

    @property
    def active(self) -> bool:
        """Between its begin and its end, which sample() tells."""
        return self.begun > self.over

    def facts(self) -> dict[str, Any]:
        """For status.json, as docs/administration.md has them."""
        return {"active": self.active, "count": self.begun, "refused": self.total, "reasons": self.reasons}

    def sample(self, drops: Mapping[str, int], now: int, source: str = "") -> bool:
        """`drops` by reason since the start of `source`, which may start anew; True when the
        flood began or is over. The first sample of a source only tells where it stands."""
        counts = Counter({r: n for r, n in drops.items() if r in REFUSED and type(n) is int and n > 0})
        at, before = self._last.get(source, (now, counts))
        self._last[source] = now, counts
        if before - counts:  # it started anew
            before = Counter()
        new = counts - before
        if self.active:
            self.total += new.total()
        while self._second and self._second[0][0] <= now - SECOND:
            self._second.popleft()
        if new:
            longer = max(1, (now - at) / SECOND)
            self._second.append((now, Counter({r: int(n / longer) for r, n in new.items()})))
        return self._judge(now)

    def _judge(self, now: int) -> bool:
        refused: Counter[str] = Counter()
        for _, counts in self._second:
            refused += counts
        if refused.total() >= FLOOD:
            self._above = now
            if not self.active:
                self.begun, self._since, self.total = self.begun + 1, now, refused.total()
                self.reasons = dict(refused.most_common())
                log.warning("flood: %d datagrams refused in a second (%s)", self.total, ", ".join(
                    f"{r} {n}" for r, n in self.reasons.items()))
                return True
        elif self.active and now - self._above >= CLEAR:
            self.over += 1
            log.warning("the flood is over: %d datagrams refused in %d s", self.total, max(1, (self._above - self._since) // SECOND))
            return True
        return False
