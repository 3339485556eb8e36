"""The handshake Noise IKpsk2 (paper, section 5.4; Noise specification, revision 34).

Functions compute on values of their own and return what should be kept; nothing that
exists changes before the last authentication has passed, so a forged message cannot
harm a handshake in flight.

CPython copies bytes freely: what is kept between messages lies in bytearrays that are
overwritten when it is over, but copies that passed through calls stay in freed memory
until the allocator reuses it.
"""

from collections.abc import Callable
from typing import NamedTuple

from wgpy.errors import WgpyError
from wgpy.events import Reject
from wgpy.protocol.messages import Initiation, Response
from wgpy.suite import Suite

_DRAWS = 128  # a suite that refuses so many is broken: of a curve's order, a draw is good at least every other time


class Refused(Exception):
    """A message that is not acceptable; `reason` is counted."""

    def __init__(self, reason: Reject):
        super().__init__(reason)
        self.reason = reason


def wipe(*secrets: bytearray) -> None:
    """Overwrites each with zeros, in place."""
    for secret in secrets:
        secret[:] = bytes(len(secret))


class InFlight:
    """An initiation of ours that waits for its response."""

    __slots__ = ("index", "_ephemeral", "_chain", "_hash")

    def __init__(self, index: int, ephemeral: bytes, chain: bytes, transcript: bytes):
        self.index = index
        self._ephemeral, self._chain = bytearray(ephemeral), bytearray(chain)
        self._hash = transcript

    def secrets(self) -> tuple[bytes, bytes, bytes]:
        """Ephemeral private key, chaining key and transcript hash, for Noise.finish."""
        return bytes(self._ephemeral), bytes(self._chain), self._hash

    def wipe(self) -> None:
        """When the response came, or none is awaited any more."""
        wipe(self._ephemeral, self._chain)


class Claim(NamedTuple):
    """An initiation whose static key was opened. Anybody who knows our public key can
    make one for any static key: only the timestamp proves the sender."""
    static: bytes
    message: Initiation
    chain: bytes
    transcript: bytes


class SessionKeys(NamedTuple):
    """Of the suite's AEAD, as this side uses them. Whoever takes them wipes them."""
    send: bytearray
    receive: bytearray


class Noise:
    """Both roles of the handshake for one suite and one static key."""

    def __init__(self, suite: Suite):
        self._suite = suite
        self._chain = suite.hash(suite.construction)
        self._prologue = suite.hash(self._chain + suite.identifier)
        self._private, self._own_hash = bytearray(), b""
        self.public: bytes | None = None

    def set_private_key(self, private: bytes | None) -> None:
        """The one before is overwritten. None: no handshake is possible. WgpyError, with
        nothing changed, for what is no private key of the suite."""
        public = None if private is None else self._suite.public(private)
        if private is not None and public is None:
            raise WgpyError(f"not a private key of suite {self._suite.name}")
        wipe(self._private)
        self._private, self.public = bytearray(private or b""), public
        if public is not None:
            self._own_hash = self._suite.hash(self._prologue + public)

    def static_static(self, peer: bytes) -> bytes | None:
        """The secret of the two static keys, None when it does not exist: no private
        key, or a public key of low order."""
        return self._suite.dh(bytes(self._private), peer) if self._private else None

    def ephemeral(self, entropy: Callable[[int], bytes]) -> bytes:
        """A new private key for one handshake. WgpyError when the suite takes no bytes for one."""
        for _ in range(_DRAWS):
            private = self._suite.private(entropy(self._suite.entropy_size))
            if private is not None:
                return private
        raise WgpyError(f"suite {self._suite.name} makes no private key of {_DRAWS} draws")

    def initiate(self, peer: bytes, ss: bytes, index: int, ephemeral: bytes,
                 timestamp: bytes) -> tuple[Initiation, InFlight]:
        """-> e, es, s, ss, {timestamp}. Raises Refused for a low-order peer key."""
        s = self._suite
        assert self.public is not None  # without a key there is no ss
        e = self._public(ephemeral)
        chain, = s.kdf(self._chain, e, 1)
        transcript = s.hash(s.hash(self._prologue + peer) + e)
        chain, key = self._mix(chain, self._dh(ephemeral, peer))
        static = s.seal(key, 0, self.public, transcript)
        transcript = s.hash(transcript + static)
        chain, key = self._mix(chain, ss)
        sealed = s.seal(key, 0, timestamp, transcript)
        transcript = s.hash(transcript + sealed)
        return Initiation(index, e, static, sealed), InFlight(index, ephemeral, chain, transcript)

    def claim(self, message: Initiation) -> Claim:
        """Opens the initiator's static key. Raises Refused."""
        s = self._suite
        transcript = s.hash(self._own_hash + message.ephemeral)
        chain, = s.kdf(self._chain, message.ephemeral, 1)
        chain, key = self._mix(chain, self._dh(bytes(self._private), message.ephemeral))
        static = s.open(key, 0, message.static, transcript)
        if static is None:
            raise Refused(Reject.STATIC)
        return Claim(static, message, chain, s.hash(transcript + message.static))

    def prove(self, claim: Claim, ss: bytes) -> tuple[bytes, Claim]:
        """Opens the timestamp: the initiator is who it claims. Raises Refused."""
        s = self._suite
        chain, key = self._mix(claim.chain, ss)
        timestamp = s.open(key, 0, claim.message.timestamp, claim.transcript)
        if timestamp is None:
            raise Refused(Reject.TIMESTAMP)
        transcript = s.hash(claim.transcript + claim.message.timestamp)
        return timestamp, claim._replace(chain=chain, transcript=transcript)

    def respond(self, proven: Claim, psk: bytes, index: int, ephemeral: bytes,
                payload: bytes = b"") -> tuple[Response, SessionKeys]:
        """<- e, ee, se, psk, {}. Raises Refused for a low-order key."""
        s = self._suite
        e = self._public(ephemeral)
        chain, = s.kdf(proven.chain, e, 1)
        transcript = s.hash(proven.transcript + e)
        chain, = s.kdf(chain, self._dh(ephemeral, proven.message.ephemeral), 1)
        chain, = s.kdf(chain, self._dh(ephemeral, proven.static), 1)
        chain, tau, key = s.kdf(chain, psk, 3)
        empty = s.seal(key[:s.key_size], 0, payload, s.hash(transcript + tau))
        receive, send = self._split(chain)
        return Response(index, proven.message.sender, e, empty), SessionKeys(send, receive)

    def finish(self, flight: InFlight, message: Response, psk: bytes) -> SessionKeys:
        """The initiator's end. Raises Refused and changes nothing when the response
        does not belong to `flight` or was made with another preshared key."""
        s = self._suite
        ephemeral, chain, transcript = flight.secrets()
        chain, = s.kdf(chain, message.ephemeral, 1)
        transcript = s.hash(transcript + message.ephemeral)
        chain, = s.kdf(chain, self._dh(ephemeral, message.ephemeral), 1)
        chain, = s.kdf(chain, self._dh(bytes(self._private), message.ephemeral), 1)
        chain, tau, key = s.kdf(chain, psk, 3)
        if s.open(key[:s.key_size], 0, message.empty, s.hash(transcript + tau)) is None:
            raise Refused(Reject.RESPONSE)
        return SessionKeys(*self._split(chain))

    def _mix(self, chain: bytes, secret: bytes) -> tuple[bytes, bytes]:
        """The next chaining key, and a key of the AEAD."""
        chain, key = self._suite.kdf(chain, secret, 2)
        return chain, key[:self._suite.key_size]

    def _split(self, chain: bytes) -> tuple[bytearray, bytearray]:
        """Keys of the initiator's packets, and of the responder's."""
        first, second = self._suite.kdf(chain, b"", 2)
        return bytearray(first[:self._suite.key_size]), bytearray(second[:self._suite.key_size])

    def _public(self, private: bytes) -> bytes:
        public = self._suite.public(private)
        if public is None:
            raise Refused(Reject.ZERO_DH)
        return public

    def _dh(self, private: bytes, public: bytes) -> bytes:
        shared = self._suite.dh(private, public)
        if shared is None:
            raise Refused(Reject.ZERO_DH)
        return shared
