"""What crypto, where it has no disk, gives to red's to keep: pieces of one size, sealed with a key that
nobody else has. Red sees places, counters, and when.

A piece: version, three zeros, place, counter and nonce in clear, which with the node's public key are
associated data; then, sealed, struct _INSIDE and the data, padded with zeros. Little-endian.
"""

import os
import struct
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from wgpy.crypto import stamps
from wgpy.errors import WgpyError
from wgpy.ring.lane import PIECE, PIECES
from wgpy.suite import wireguard

VERSION = 1
_LABEL = wireguard.hash(b"wgpy: what red keeps for crypto, 1")
_CLEAR = struct.Struct("<B3xIQ24s")   # version, place, counter, nonce
_INSIDE = struct.Struct("<QQQIII")    # life, floor, number, end, offset, length of the data
_TAG = 16
_ROOM = PIECE - _CLEAR.size - _TAG
KEPT = PIECE * PIECES                 # bytes of red's file
DATA = stamps.PAGE                    # bytes, at most
TRAILS = range(stamps.PAGES, PIECES)  # places that hold the audit trail; those before hold pages of stamps


class Refused(StrEnum):
    """Why what red says that it kept is ignored."""
    VERSION = "piece_version"  # of another wgpy
    FORGED = "piece_forged"    # damaged, from another place, of another node or of none


class Piece(NamedTuple):
    """`life`: the guest's start, a random number. `floor`: of our time stamps, ns. `number`: of the newest
    piece of the trail, this one if it is of the trail, counted from 1 across lives, and `end`, how much
    it held. `offset`: of the data in its life's trail."""
    place: int
    counter: int
    life: int
    floor: int
    number: int
    end: int
    offset: int
    data: bytes


class Sealer:
    """For one private key, 32 bytes: rooms that run alone have WireGuard's suite."""

    def __init__(self, private_key: bytes):
        key = wireguard.clamp(private_key)
        self._key, self._node = wireguard.kdf(_LABEL, key, 1)[0], wireguard.public(key)

    def seal(self, piece: Piece) -> bytes:
        """PIECE bytes."""
        clear = _CLEAR.pack(VERSION, piece.place, piece.counter, piece.counter.to_bytes(8, "little") + os.urandom(16))
        inside = _INSIDE.pack(piece.life, piece.floor, piece.number, piece.end, piece.offset, len(piece.data)) + piece.data
        return clear + wireguard.xseal(self._key, clear[-24:], inside.ljust(_ROOM, b"\0"), clear + self._node)

    def unseal(self, data: bytes, place: int) -> Piece | Refused:
        """Of what was found at a place, PIECE bytes that are not all zero."""
        version, own_place, counter, nonce = _CLEAR.unpack_from(data)
        if version != VERSION:
            return Refused.VERSION
        inside = wireguard.xopen(self._key, nonce, data[_CLEAR.size:], data[:_CLEAR.size] + self._node)
        if inside is None or own_place != place:
            return Refused.FORGED
        life, floor, number, end, offset, length = _INSIDE.unpack_from(inside)
        return Piece(place, counter, life, floor, number, end, offset, inside[_INSIDE.size:_INSIDE.size + length])


def trail_of(kept: bytes, sealer: Sealer) -> tuple[list[bytes], list[str]]:
    """The audit trails, one for each start of crypto's guest, the oldest first, from the file in which
    red keeps, and what is wrong with them: a line for each. WgpyError when nothing there is ours."""
    found, wrong = [], []
    for place in range(PIECES):
        data = kept[place * PIECE:(place + 1) * PIECE]
        if not any(data):
            continue
        piece = sealer.unseal(data, place) if len(data) == PIECE else Refused.FORGED
        if isinstance(piece, Refused):
            wrong.append(f"place {place}: {piece}")
        else:
            found.append(piece)
    if not found:
        raise WgpyError("nothing there was kept for this node")
    pieces = sorted((p for p in found if p.place in TRAILS), key=lambda p: p.number)
    trails: dict[int, tuple[int, bytearray]] = {}
    for p in pieces:
        begins, trail = trails.setdefault(p.life, (p.offset, bytearray()))
        del trail[max(0, p.offset - begins):]
        trail += p.data
    whole = [bytes(trail.partition(b"\n")[2] if begins else trail) for begins, trail in trails.values()]
    return whole, wrong + list(_missing(pieces, found))


def _missing(pieces: list[Piece], found: list[Piece]) -> Iterable[str]:
    """What there was, by what each piece says of the newest one of its time."""
    newest = max(found, key=lambda p: (p.number, p.end))
    before = max(0, newest.number - len(TRAILS))  # older ones were written over
    for p in pieces:
        if p.number != before + 1:
            yield f"pieces {before + 1} to {p.number - 1} of the trail are missing"
        before = p.number
    if before < newest.number:
        yield f"pieces {before + 1} to {newest.number} of the trail are missing"
    elif pieces and len(pieces[-1].data) < newest.end:
        yield f"the last piece of the trail is an older one, with {len(pieces[-1].data)} of {newest.end} bytes"
