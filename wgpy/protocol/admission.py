"""Which handshake messages are worth the core's time (paper, section 5.3): the checks that
come before public-key cryptography, in the order of their cost, in front of a bounded
queue. The executable specification of wgpy/_fast/c/admission.c.

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
from wgpy.protocol.messages import COOKIE_REPLY
from wgpy.protocol.ratelimit import Budget, Limiter, Load, source_of
from wgpy.suite import Suite

HANDSHAKE_SLOTS, COOKIE_SLOTS, REPLY_SLOTS = 1024, 64, 256
REPLIES_A_SOURCE = 32


class Message(NamedTuple):
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
        self.load = Load()
        self.handshakes: deque[Message] = deque()
        self.cookies: deque[Message] = deque()
        self.replies: deque[Message] = deque()
        self._limiter = Limiter()
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
            if not self._limiter.allow(source.address, now):
                return "rate_limited"
        if len(self.handshakes) == HANDSHAKE_SLOTS:
            return "handshake_queue"
        self.handshakes.append(message)
        return None

    def take(self, limit: int) -> list[Message]:
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
        of_source = sum(source_of(reply.source.address) == source_of(source.address) for reply in self.replies)
        if len(self.replies) == REPLY_SLOTS or of_source == REPLIES_A_SOURCE:
            return "cookie_lane"
        sender = int.from_bytes(datagram[4:8], "little")
        self.replies.append(Message(self.checker.reply(datagram, source, sender, now), source))
        return "cookie_demanded"
