"""Layout of the handshake messages (paper, section 5.4): integers little-endian,
lengths exact. A body is a message without its two MACs."""

import struct
from typing import NamedTuple

from wgpy.constants import COOKIE_REPLY_SIZE, INITIATION_SIZE, RESPONSE_SIZE

INITIATION = b"\x01\0\0\0"
RESPONSE = b"\x02\0\0\0"
COOKIE_REPLY = b"\x03\0\0\0"

SIZES = {INITIATION: INITIATION_SIZE, RESPONSE: RESPONSE_SIZE, COOKIE_REPLY: COOKIE_REPLY_SIZE}
MACS = 32

_INITIATION = struct.Struct("<4sI32s48s28s32x")
_RESPONSE = struct.Struct("<4sII32s16s32x")
_COOKIE_REPLY = struct.Struct("<4sI24s32s")


class Initiation(NamedTuple):
    sender: int
    ephemeral: bytes
    static: bytes      # sealed
    timestamp: bytes   # sealed

    @classmethod
    def parse(cls, message: bytes) -> "Initiation":
        return cls._make(_INITIATION.unpack(message)[1:])

    def body(self) -> bytes:
        return b"".join((INITIATION, self.sender.to_bytes(4, "little"), *self[1:]))


class Response(NamedTuple):
    sender: int
    receiver: int
    ephemeral: bytes
    empty: bytes       # sealed

    @classmethod
    def parse(cls, message: bytes) -> "Response":
        return cls._make(_RESPONSE.unpack(message)[1:])

    def body(self) -> bytes:
        return b"".join((RESPONSE, self.sender.to_bytes(4, "little"),
                         self.receiver.to_bytes(4, "little"), *self[2:]))


class CookieReply(NamedTuple):
    receiver: int
    nonce: bytes
    cookie: bytes      # sealed

    @classmethod
    def parse(cls, message: bytes) -> "CookieReply":
        return cls._make(_COOKIE_REPLY.unpack(message)[1:])

    def body(self) -> bytes:
        return _COOKIE_REPLY.pack(COOKIE_REPLY, *self)


def kind_of(datagram: bytes) -> bytes | None:
    """INITIATION, RESPONSE or COOKIE_REPLY when type, reserved bytes and length are
    those of such a message, else None."""
    kind = datagram[:4]
    return kind if SIZES.get(kind) == len(datagram) else None
