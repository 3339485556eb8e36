"""Which handshake messages are worth the core's time (paper, section 5.3): the checks that
come before public-key cryptography, in the order of their cost, in front of a bounded
queue. The executable specification of wgpy/_fast/c/plane/admission.c.

Nothing is charged to a source before it has shown a cookie of ours, so that nobody can
spend what belongs to an address that is not his.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from wgpy.constants import (
    COOKIE_REPLIES_BURST,
    COOKIE_REPLIES_PER_SECOND,
    HANDSHAKE_QUEUE_UNDER_LOAD,
)
from wgpy.notices import Endpoint
from wgpy.protocol.cookies import CookieChecker
from wgpy.protocol.messages import COOKIE_REPLY, Layout
from wgpy.protocol.ratelimit import Budget, Limiter, Load, host_of, net_of, source_of
from wgpy.suite import Suite

HANDSHAKE_SLOTS, COOKIE_SLOTS, REPLY_SLOTS = 1024, 64, 256
REPLIES_KNOWN = 32     # of REPLY_SLOTS: only for where a peer is, or was
REPLIES_A_NET, REPLIES_A_SOURCE, REPLIES_A_PORT = 64, 32, 4


class Message(NamedTuple):
    """A datagram of type 1, 2 or 3, in its exact length, and where it came from."""
    datagram: bytes
    source: Endpoint


class Awaited(Protocol):
    """An initiation of ours: how many responses to it need no cookie under load."""
    answers: int


class Admission:
    """`handshakes` and `cookies` are the queues for the core, `replies` what is to be sent.
    Times are ns of CLOCK_BOOTTIME."""

    def __init__(self, suite: Suite, entropy: Callable[[int], bytes]):
        self.checker = CookieChecker(suite, entropy)
        self._layout = Layout(suite)
        self.load = Load()
        self.handshakes: deque[Message] = deque()
        self.cookies: deque[Message] = deque()
        self.replies: deque[Message] = deque()
        self._limiter = Limiter()
        self._known: set[tuple[bytes | str, int]] = set()
        self._cookie_replies = Budget(COOKIE_REPLIES_PER_SECOND, COOKIE_REPLIES_BURST)

    def judge(self, message: Message, now: int, known: bool, awaited: Awaited | None) -> str | None:
        """Of a message with the form of one. `known`: a cookie reply's index is one of ours;
        `awaited`: what a response answers. None when it was put into a queue, else why not."""
        datagram, source = message
        if datagram[:4] == COOKIE_REPLY:
            return self._cookie_reply(message, now) if known else "unawaited"
        if not known:
            return "unawaited"
        if not self.checker.mac1_is_valid(datagram):
            return "bad_mac1"
        if len(self.handshakes) >= HANDSHAKE_QUEUE_UNDER_LOAD:
            self.load.begin(now)
        if self.load.lasts(now) and not self._spend(awaited):
            if not self.checker.mac2_is_valid(datagram, source, now):
                return self._demand_cookie(datagram, source, now)
            if self.checker.is_copy(datagram):
                return "handshake_copy"
            if not self._limiter.allow(source.address, source.port, now):
                return "rate_limited"
        if len(self.handshakes) == HANDSHAKE_SLOTS:
            return "handshake_queue"
        self.handshakes.append(message)
        return None

    def know(self, endpoint: Endpoint) -> None:
        """A peer is here, as somebody with its key or an administrator said."""
        self._known.add((host_of(endpoint.address), endpoint.port))

    def take(self, limit: int) -> list[Message]:
        """Up to `limit` initiations and responses, oldest first, and an eighth as many cookie
        replies: these cost the core nothing but symmetric cryptography, and must not crowd out
        the others."""
        most = max(limit // 8, 1)
        return ([self.handshakes.popleft() for _ in range(min(limit, len(self.handshakes)))]
                + [self.cookies.popleft() for _ in range(min(most, len(self.cookies)))])

    def _spend(self, awaited: Awaited | None) -> bool:
        """Who answers has seen our initiation: a few answers to each need no cookie."""
        if awaited is None or not awaited.answers:
            return False
        awaited.answers -= 1
        return True

    def _cookie_reply(self, message: Message, now: int) -> str | None:
        if not self._cookie_replies.take(now) or len(self.cookies) == COOKIE_SLOTS:
            return "cookie_replies"
        self.cookies.append(message)
        return None

    def _demand_cookie(self, datagram: bytes, source: Endpoint, now: int) -> str:
        self.load.unproven(now)
        if not self._may_wait(source):
            return "cookie_lane"
        if self.load.was_asked(self._layout.mac1(datagram)[1], source):
            return "handshake_copy"
        sender = int.from_bytes(datagram[4:8], "little")
        self.replies.append(Message(self.checker.reply(datagram, source, sender, now), source))
        return "cookie_demanded"

    def _may_wait(self, source: Endpoint) -> bool:
        """Whom nobody has proven to be a peer leaves others their part; a peer's endpoint can be
        forged, so that it has no more of the queue than any port."""
        of_net = [r.source for r in self.replies if net_of(r.source.address) == net_of(source.address)]
        of_source = [s for s in of_net if source_of(s.address) == source_of(source.address)]
        port = host_of(source.address), source.port
        if len(self.replies) == REPLY_SLOTS or sum((host_of(s.address), s.port) == port for s in of_source) == REPLIES_A_PORT:
            return False
        return port in self._known or (len(self.replies) < REPLY_SLOTS - REPLIES_KNOWN
                                       and len(of_net) < REPLIES_A_NET and len(of_source) < REPLIES_A_SOURCE)
