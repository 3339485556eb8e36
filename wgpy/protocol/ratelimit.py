"""Limits for handshakes under load: how long load lasts, and how many one source gets
(ratelimiter.c of the Linux module)."""

import ipaddress

from wgpy.constants import SECOND, UNDER_LOAD_HOLD, UNDER_LOAD_RATE

PER_SECOND = 20
BURST = 5
MAX_SOURCES = 8192
_COST = SECOND // PER_SECOND


def source_of(address: str) -> bytes | str:
    """Whom a limit applies to: an IPv4 address or an IPv6 /64."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else parsed.packed[:8]


class Limiter:
    """A bucket of five tokens for each source, refilled 20 times a second, kept as the
    time when it will be full again. The table is bounded: a source that finds no room
    in it is refused."""

    def __init__(self, max_sources: int = MAX_SOURCES):
        self._full_at: dict[bytes | str, int] = {}
        self._max = max_sources
        self._swept = -SECOND

    def allow(self, address: str, now: int) -> bool:
        source = source_of(address)
        full_at = self._full_at.get(source)
        if full_at is None and len(self._full_at) >= self._max and not self._sweep(now):
            return False
        full_at = max(full_at or 0, now) + _COST
        if full_at - now > BURST * _COST:
            return False
        self._full_at[source] = full_at
        return True

    def _sweep(self, now: int) -> bool:
        """Forgets the full buckets, at most once a second."""
        if now - self._swept >= SECOND:
            self._swept = now
            self._full_at = {s: t for s, t in self._full_at.items() if t > now}
        return len(self._full_at) < self._max

    def __len__(self) -> int:
        return len(self._full_at)


class Budget:
    """`rate` a second, `burst` at once."""

    def __init__(self, rate: int, burst: int):
        self._cost, self._burst, self._full_at = SECOND // rate, burst, 0

    def take(self, now: int) -> bool:
        full_at = max(self._full_at, now) + self._cost
        if full_at - now > self._burst * self._cost:
            return False
        self._full_at = full_at
        return True


class Load:
    """Under load: from begin() on, and for as long as unproven messages keep coming faster
    than a small rate, and five seconds more. So it neither flaps nor stays for a peer or
    two that have no cookie yet."""

    def __init__(self) -> None:
        self._until = self._window = self._unproven = 0

    def begin(self, now: int) -> None:
        self._until = now + UNDER_LOAD_HOLD

    def lasts(self, now: int) -> bool:
        return now < self._until

    def unproven(self, now: int) -> None:
        """A message came whose sender knows our public key and has shown no cookie."""
        if now >= self._window + SECOND:
            self._window, self._unproven = now, 0
        self._unproven += 1
        if self._unproven > UNDER_LOAD_RATE:
            self.begin(now)
