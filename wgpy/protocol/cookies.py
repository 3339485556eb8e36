"""MAC1, MAC2 and cookies (paper, sections 5.4.4 and 5.4.7), both sides."""

from collections.abc import Callable
from hmac import compare_digest

from wgpy.constants import COOKIE_LATENCY, COOKIE_SECRET_LIFETIME
from wgpy.events import Reject
from wgpy.notices import Endpoint
from wgpy.protocol.messages import CookieReply, Layout
from wgpy.suite import Suite


def _cookie_key(suite: Suite, public: bytes) -> bytes:
    """Under which cookies from the owner of this public key are sealed."""
    return suite.hash(suite.label_cookie + public)[:suite.xkey_size]


class CookieChecker:
    """Of this device, for what it receives. Times are ns of CLOCK_BOOTTIME."""

    def __init__(self, suite: Suite, entropy: Callable[[int], bytes]):
        self._suite, self._entropy, self._layout = suite, entropy, Layout(suite)
        self._secret, self._rotate_at = b"", 0
        self._mac1_key = self._cookie_key = b""
        self._admitted: set[bytes] = set()

    def set_public_key(self, public: bytes | None) -> None:
        """Ours, from which the keys of MAC1 and of cookie replies are derived. None:
        no message has a valid MAC1."""
        self._mac1_key = self._cookie_key = b""
        if public is not None:
            self._mac1_key = self._suite.hash(self._suite.label_mac1 + public)
            self._cookie_key = _cookie_key(self._suite, public)

    def mac1_is_valid(self, message: bytes) -> bool:
        """Of an initiation or response in its exact length; in constant time."""
        covered, mac1 = self._layout.mac1(message)
        return bool(self._mac1_key) and compare_digest(self._suite.mac(self._mac1_key, covered), mac1)

    def mac2_is_valid(self, message: bytes, source: Endpoint, now: int) -> bool:
        """Was it made with the cookie that `source` gets now? A cookie of the secret before is
        not accepted. In constant time."""
        covered, mac2 = self._layout.mac2(message)
        return compare_digest(self._suite.mac(self._cookie(source, now), covered), mac2)

    def is_copy(self, message: bytes) -> bool:
        """Was it asked about before, under the same secret? Whoever saw it can repeat it
        from a forged address."""
        _, mac2 = self._layout.mac2(message)
        if mac2 in self._admitted:
            return True
        self._admitted.add(mac2)
        return False

    def reply(self, message: bytes, source: Endpoint, receiver: int, now: int) -> bytes:
        """A cookie reply to a message whose MAC1 was valid; `receiver` is its sender
        index."""
        nonce, (_, mac1) = self._entropy(self._suite.xnonce_size), self._layout.mac1(message)
        sealed = self._suite.xseal(self._cookie_key, nonce, self._cookie(source, now), mac1)
        return CookieReply(receiver, nonce, sealed).body()

    def _cookie(self, source: Endpoint, now: int) -> bytes:
        if not self._secret or now >= self._rotate_at:
            self._secret, self._rotate_at = self._entropy(self._suite.hash_size), now + COOKIE_SECRET_LIFETIME
            self._admitted.clear()
        return self._suite.mac(self._secret, f"{source.address} {source.port}".encode())


class CookieJar:
    """Of one peer, for what we send to it."""

    __slots__ = ("_suite", "_mac1_key", "_cookie_key", "_cookie", "_fresh_until", "_mac1")

    def __init__(self, suite: Suite, peer: bytes):
        self._suite = suite
        self._mac1_key = suite.hash(suite.label_mac1 + peer)
        self._cookie_key = _cookie_key(suite, peer)
        self._cookie, self._fresh_until = b"", 0
        self._mac1 = b""   # of the last message sent; b"" once a cookie came for it

    def add_macs(self, body: bytes, now: int) -> bytes:
        """The message. MAC2 is zero without a cookie younger than 115 s."""
        mac1 = self._mac1 = self._suite.mac(self._mac1_key, body)
        message = body + mac1
        if not self.is_fresh(now):
            return message + bytes(self._suite.mac_size)
        return message + self._suite.mac(self._cookie, message)

    def is_fresh(self, now: int) -> bool:
        """The peer was under load, and let us prove our address."""
        return bool(self._cookie) and now < self._fresh_until

    def accept(self, reply: CookieReply, now: int) -> Reject | None:
        """Takes the cookie, at most one for each MAC1 sent. None, or why not."""
        if not self._mac1:
            return Reject.COOKIE_UNEXPECTED
        cookie = self._suite.xopen(self._cookie_key, reply.nonce, reply.cookie, self._mac1)
        if cookie is None:
            return Reject.COOKIE_INVALID
        self._cookie, self._mac1 = cookie, b""
        self._fresh_until = now + COOKIE_SECRET_LIFETIME - COOKIE_LATENCY
        return None
