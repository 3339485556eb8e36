"""Limits for handshakes under load: how long load lasts, and how many one source gets
(ratelimiter.c of the Linux module)."""

import ipaddress

from wgpy.constants import SECOND, UNDER_LOAD_HOLD, UNDER_LOAD_RATE
from wgpy.notices import Endpoint

PER_SECOND = 20
BURST = 5
MAX_SOURCES = 8192
QUIET = 4 * SECOND       # a peer tries once in REKEY_TIMEOUT
QUIET_BURST = 32
MAX_MARKS = 16384
ASKED = 256


def host_of(address: str) -> bytes | str:
    """The address itself; an IPv4-mapped one is the IPv4 address."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else parsed.packed


def source_of(address: str) -> bytes | str:
    """Whom a limit applies to: an IPv4 address or an IPv6 /64."""
    host = host_of(address)
    return host[:8] if isinstance(host, bytes) else host


def net_of(address: str) -> bytes | str:
    """A network of many: an IPv4 /16 or an IPv6 /32."""
    host = host_of(address)
    return host[:4] if isinstance(host, bytes) else ".".join(host.split(".")[:2])


class Budget:
    """`rate` a second, `burst` at once; kept as the time when it will be full again."""

    def __init__(self, rate: int, burst: int):
        self._cost, self._burst, self._full_at = SECOND // rate, burst, 0

    def take(self, now: int) -> bool:
        """One, if there is one; False otherwise, and nothing is spent."""
        full_at = max(self._full_at, now) + self._cost
        if full_at - now > self._burst * self._cost:
            return False
        self._full_at = full_at
        return True

    def is_full(self, now: int) -> bool:
        """Then it need not be remembered."""
        return self._full_at <= now


class Source:
    """A bucket for all of a source, and two for its ports and for its addresses of which
    nothing was let in lately: who floods shares a NAT or a /64 with others, and does not
    spend what these need."""

    def __init__(self) -> None:
        self.all = Budget(PER_SECOND, BURST)
        self.ports, self.addresses = (Budget(PER_SECOND, QUIET_BURST) for _ in range(2))

    def is_full(self, now: int) -> bool:
        """All three are, so that forgetting the source changes nothing for it."""
        return all(budget.is_full(now) for budget in (self.all, self.ports, self.addresses))


class Limiter:
    """The table of sources is bounded, and a source that finds no room in it is refused; of
    the marks of who was let in the oldest gives way."""

    def __init__(self, max_sources: int = MAX_SOURCES):
        self._sources: dict[bytes | str, Source] = {}
        self._quiet_at: dict[object, int] = {}  # by address, and by address and port; oldest first
        self._max = max_sources
        self._swept = -SECOND

    def allow(self, address: str, port: int, now: int) -> bool:
        """May an initiation or response with a valid MAC2 go on to the core? What is allowed is
        spent."""
        host = host_of(address)
        source = self._sources.get(source_of(address))
        if source is None:
            if len(self._sources) >= self._max and not self._sweep(now):
                return False
            source = self._sources[source_of(address)] = Source()
        if not (source.all.take(now) or self._is_quiet((host, port), now) and source.ports.take(now)
                or self._is_quiet(host, now) and source.addresses.take(now)):
            return False
        self._let_in((host, port), now)
        self._let_in(host, now)
        return True

    def _is_quiet(self, who: object, now: int) -> bool:
        return self._quiet_at.get(who, 0) <= now

    def _let_in(self, who: object, now: int) -> None:
        self._quiet_at.pop(who, None)
        if len(self._quiet_at) >= MAX_MARKS:
            del self._quiet_at[next(iter(self._quiet_at))]
        self._quiet_at[who] = now + QUIET

    def _sweep(self, now: int) -> bool:
        """Forgets sources with full buckets, at most once a second."""
        if now - self._swept >= SECOND:
            self._swept = now
            self._sources = {k: s for k, s in self._sources.items() if not s.is_full(now)}
        return len(self._sources) < self._max

    def __len__(self) -> int:
        return len(self._sources)


class Load:
    """Under load: from begin() on, and for as long as unproven messages keep coming faster
    than a small rate, and five seconds more. So it neither flaps nor stays for a peer or
    two that have no cookie yet."""

    def __init__(self) -> None:
        self._until = self._window = self._unproven = 0
        self._asked: dict[int, tuple[bytes, str, int]] = {}

    def begin(self, now: int) -> None:
        """From now on, for UNDER_LOAD_HOLD at least."""
        self._until = now + UNDER_LOAD_HOLD

    def lasts(self, now: int) -> bool:
        """Does a message need a cookie?"""
        return now < self._until

    def unproven(self, now: int) -> None:
        """A message came whose sender knows our public key and has shown no cookie."""
        if now >= self._window + SECOND:
            self._window, self._unproven = now, 0
            self._asked.clear()
        self._unproven += 1
        if self._unproven > UNDER_LOAD_RATE:
            self.begin(now)

    def was_asked(self, mac1: bytes, source: Endpoint) -> bool:
        """Was a cookie demanded for such a message in this second? A copy from where the first
        came from is not answered again; one from elsewhere may be the first that its sender sent."""
        place, asked = int.from_bytes(mac1[:4], "little") % ASKED, (mac1, source.address, source.port)
        if self._asked.get(place) == asked:
            return True
        self._asked[place] = asked
        return False
