"""MAC1, MAC2 and cookies (paper, sections 5.4.4 and 5.4.7), both sides."""

from collections.abc import Callable
from hmac import compare_digest

from wgpy.constants import COOKIE_LATENCY, COOKIE_SECRET_LIFETIME
from wgpy.notices import Endpoint
from wgpy.protocol.messages import CookieReply
from wgpy.suite import Suite


class CookieChecker:
    """Of this device, for what it receives. Times are ns of CLOCK_BOOTTIME."""

    def __init__(self, suite: Suite, entropy: Callable[[int], bytes]):
        self._suite, self._entropy = suite, entropy
        self._secret, self._rotate_at = b"", 0
        self._mac1_key = self._cookie_key = b""
        self._admitted: set[bytes] = set()

    def set_public_key(self, public: bytes | None) -> None:
        self._mac1_key = self._cookie_key = b""
        if public is not None:
            self._mac1_key = self._suite.hash(self._suite.label_mac1 + public)
            self._cookie_key = self._suite.hash(self._suite.label_cookie + public)

    def mac1_is_valid(self, message: bytes) -> bool:
        return bool(self._mac1_key) and compare_digest(
            self._suite.mac(self._mac1_key, message[:-32]), message[-32:-16])

    def mac2_is_valid(self, message: bytes, source: Endpoint, now: int) -> bool:
        cookie = self._cookie(source, now)
        return compare_digest(self._suite.mac(cookie, message[:-16]), message[-16:])

    def is_copy(self, message: bytes) -> bool:
        """Was it asked about before, under the same secret? Whoever saw it can repeat it
        from a forged address."""
        mac2 = message[-16:]
        if mac2 in self._admitted:
            return True
        self._admitted.add(mac2)
        return False

    def reply(self, message: bytes, source: Endpoint, receiver: int, now: int) -> bytes:
        """A cookie reply to a message whose MAC1 was valid; `receiver` is its sender
        index."""
        nonce = self._entropy(24)
        sealed = self._suite.xseal(self._cookie_key, nonce, self._cookie(source, now), message[-32:-16])
        return CookieReply(receiver, nonce, sealed).body()

    def _cookie(self, source: Endpoint, now: int) -> bytes:
        if not self._secret or now >= self._rotate_at:
            self._secret, self._rotate_at = self._entropy(32), now + COOKIE_SECRET_LIFETIME
            self._admitted.clear()
        return self._suite.mac(self._secret, f"{source.address} {source.port}".encode())


class CookieJar:
    """Of one peer, for what we send to it."""

    __slots__ = ("_suite", "_mac1_key", "_cookie_key", "_cookie", "_fresh_until", "_mac1")

    def __init__(self, suite: Suite, peer: bytes):
        self._suite = suite
        self._mac1_key = suite.hash(suite.label_mac1 + peer)
        self._cookie_key = suite.hash(suite.label_cookie + peer)
        self._cookie, self._fresh_until = b"", 0
        self._mac1 = b""   # of the last message sent; b"" once a cookie came for it

    def add_macs(self, body: bytes, now: int) -> bytes:
        """The message. MAC2 is zero without a cookie younger than 115 s."""
        mac1 = self._mac1 = self._suite.mac(self._mac1_key, body)
        message = body + mac1
        if not self.is_fresh(now):
            return message + bytes(16)
        return message + self._suite.mac(self._cookie, message)

    def is_fresh(self, now: int) -> bool:
        """The peer was under load, and let us prove our address."""
        return bool(self._cookie) and now < self._fresh_until

    def accept(self, reply: CookieReply, now: int) -> str | None:
        """Takes the cookie, at most one for each MAC1 sent. None, or why not."""
        if not self._mac1:
            return "cookie-unexpected"
        cookie = self._suite.xopen(self._cookie_key, reply.nonce, reply.cookie, self._mac1)
        if cookie is None:
            return "cookie-invalid"
        self._cookie, self._mac1 = cookie, b""
        self._fresh_until = now + COOKIE_SECRET_LIFETIME - COOKIE_LATENCY
        return None
