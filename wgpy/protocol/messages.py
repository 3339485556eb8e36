"""Layout of the handshake messages (paper, section 5.4): integers little-endian, lengths
exact and as the suite's sizes make them. A body is a message without its two MACs."""

import struct
from typing import NamedTuple

from wgpy.protocol import tai64n
from wgpy.suite import Suite

INITIATION = b"\x01\0\0\0"
RESPONSE = b"\x02\0\0\0"
COOKIE_REPLY = b"\x03\0\0\0"
TRANSPORT = b"\x04\0\0\0"

TRANSPORT_HEADER = 16  # type, receiver's index, counter


class Initiation(NamedTuple):
    """First message (paper 5.4.2): `sender` is the initiator's index."""
    sender: int
    ephemeral: bytes
    static: bytes      # sealed
    timestamp: bytes   # sealed

    def body(self) -> bytes:
        """116 bytes with WireGuard's suite."""
        return b"".join((INITIATION, self.sender.to_bytes(4, "little"), *self[1:]))


class Response(NamedTuple):
    """Second message (paper 5.4.3): `receiver` is the initiation's sender index."""
    sender: int
    receiver: int
    ephemeral: bytes
    empty: bytes       # sealed

    def body(self) -> bytes:
        """60 bytes with WireGuard's suite."""
        return b"".join((RESPONSE, self.sender.to_bytes(4, "little"),
                         self.receiver.to_bytes(4, "little"), *self[2:]))


class CookieReply(NamedTuple):
    """Answer under load (paper 5.4.7), sealed with the MAC1 that it answers as additional
    data."""
    receiver: int
    nonce: bytes
    cookie: bytes      # sealed

    def body(self) -> bytes:
        """The whole message: a cookie reply has no MACs."""
        return b"".join((COOKIE_REPLY, self.receiver.to_bytes(4, "little"), *self[1:]))


class Layout:
    """Of the messages of one suite. `sizes`: whole messages by type; `overhead`: what a
    transport message adds to the packet in it. parse methods are for messages of exactly
    their length, and raise struct.error for another."""

    def __init__(self, suite: Suite):
        key, tag, mac = suite.public_size, suite.tag_size, suite.mac_size
        self._initiation = struct.Struct(f"<4sI{key}s{key + tag}s{tai64n.SIZE + tag}s{2 * mac}x")
        self._response = struct.Struct(f"<4sII{key}s{tag}s{2 * mac}x")
        self._cookie_reply = struct.Struct(f"<4sI{suite.xnonce_size}s{mac + suite.xtag_size}s")
        self._mac = mac
        self.sizes = {INITIATION: self._initiation.size, RESPONSE: self._response.size,
                      COOKIE_REPLY: self._cookie_reply.size}
        self.overhead = TRANSPORT_HEADER + tag

    def kind_of(self, datagram: bytes) -> bytes | None:
        """INITIATION, RESPONSE or COOKIE_REPLY when type, reserved bytes and length are
        those of such a message, else None."""
        kind = datagram[:4]
        return kind if self.sizes.get(kind) == len(datagram) else None

    def parse_initiation(self, message: bytes) -> Initiation:
        """Without its MACs."""
        return Initiation._make(self._initiation.unpack(message)[1:])

    def parse_response(self, message: bytes) -> Response:
        """Without its MACs."""
        return Response._make(self._response.unpack(message)[1:])

    def parse_cookie_reply(self, message: bytes) -> CookieReply:
        """All of it."""
        return CookieReply._make(self._cookie_reply.unpack(message)[1:])

    def mac1(self, message: bytes) -> tuple[bytes, bytes]:
        """(what MAC1 is of, MAC1) of an initiation or response."""
        return message[:-2 * self._mac], message[-2 * self._mac:-self._mac]

    def mac2(self, message: bytes) -> tuple[bytes, bytes]:
        """(what MAC2 is of, MAC2)."""
        return message[:-self._mac], message[-self._mac:]
