"""Control lanes: what rooms tell each other besides packets; docs/control-lanes.md is the
specification.

A lane is a board, not a queue: a page with one place for each kind of record, written by one
side and read by the other, which never answers on it. A place holds the newest record of its
kind, so nothing overflows or waits. What must not get lost is said as a count.

Behind the places lies a piece: bytes of which a record says what they are for, and the checksum.

A record carries a checksum, so it does not matter in which order its bytes become visible: what
is read while it is written does not check, and is read again at the next look. That is no
protection from the writer, who may write what it likes; who reads expects that.
"""

import mmap
import os
import struct
import zlib
from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import NamedTuple

AREA = 4096   # bytes
PLACES = 16
RECORD = 64   # bytes
PIECE = AREA - PLACES * RECORD  # bytes
VERSION = 1
VALUES = 5    # u64 each
PIECES = 96   # that a neighbour keeps

_FORM = struct.Struct("<IBBHQQ5Q")  # check, version, kind, zero, life, sequence, values
_CHECKED = 4  # the check covers what lies behind it
_NOTHING = bytes(RECORD)
_LIMIT = (1 << 64) - 1


class Kind(IntEnum):
    """A record's kind is its place. In brackets, what its values are; the rest are zero."""
    UP = 1        # beat: grows about once a second while the writer runs
    NETWORK = 2   # moved, changed, plugged: how often, in this life
    COUNTERS = 3  # packets in, packets out, bytes in, bytes out, dropped: since its life began
    KEEP = 4      # number, where, check, show: of the piece behind the places, or 0; where + 1 to be shown, or 0
    KEPT = 5      # life, number, pieces, shown, check: which piece of which life is kept, how many may be; what lies here


_KINDS = frozenset(Kind)


class Refused(StrEnum):
    """Why a record was ignored. Each content of a place is judged, and counted, once."""
    TORN = "lane_torn"          # its check is wrong: read while it was written, or never written whole
    VERSION = "lane_version"    # of a newer wgpy, or of none
    KIND = "lane_kind"          # not of the kind of its place, or of one that this side does not know
    BACKWARD = "lane_backward"  # older than what the same life has said before


class Record(NamedTuple):
    """`life`: the writer's start, a random number. `sequence` grows within a life and kind."""
    kind: Kind
    life: int
    sequence: int
    values: tuple[int, ...]


class Speaker:
    """The writing end. A new one is a new life: what the last one said is gone. `kick()` wakes
    who listens, if it can be woken."""

    def __init__(self, area: mmap.mmap | memoryview, kick: Callable[[], None] = lambda: None):
        self._area, self._kick, self._sequence = area, kick, dict.fromkeys(Kind, 0)
        self.life = int.from_bytes(os.urandom(8), "little") or 1
        self._area[:PLACES * RECORD] = bytes(PLACES * RECORD)

    def say(self, kind: Kind, *values: int, soon: bool = False) -> None:
        """At most VALUES of them, which count on from 0 again after 2^64. `soon`: it should be
        heard at once."""
        self._sequence[kind] += 1
        rest = _FORM.pack(0, VERSION, kind, 0, self.life, self._sequence[kind],
                          *(v & _LIMIT for v in values), *(0,) * (VALUES - len(values)))[_CHECKED:]
        at = kind * RECORD
        self._area[at:at + RECORD] = zlib.crc32(rest).to_bytes(_CHECKED, "little") + rest
        if soon:
            self._kick()

    def put(self, piece: bytes) -> int:
        """PIECE bytes in place of those before; returns their checksum, for a record to say."""
        self._area[PLACES * RECORD:AREA] = piece
        return zlib.crc32(piece)


class Listener:
    """The reading end. It takes a copy of a place before it looks at it, believes nothing of
    what it reads, keeps one record of each kind and never waits."""

    def __init__(self, area: mmap.mmap | memoryview):
        self._area = area
        self._seen = [_NOTHING] * PLACES
        self.newest: dict[Kind, Record] = {}
        self.refused: dict[Refused, int] = dict.fromkeys(Refused, 0)

    def look(self) -> list[Record]:
        """What is new since the last look, a record of each kind at most, in their order."""
        found = []
        for place in range(PLACES):
            copy = bytes(self._area[place * RECORD:(place + 1) * RECORD])
            if copy == self._seen[place]:
                continue
            self._seen[place] = copy
            if copy != _NOTHING and (record := self._judge(place, copy)) is not None:
                self.newest[record.kind] = record
                found.append(record)
        return found

    def piece(self, check: int) -> bytes | None:
        """A copy of the piece; None while it is not the one of that checksum."""
        copy = bytes(self._area[PLACES * RECORD:AREA])
        return copy if zlib.crc32(copy) == check else None

    def _judge(self, place: int, copy: bytes) -> Record | None:
        check, version, kind, zero, life, sequence, *values = _FORM.unpack(copy)
        why = None
        if check != zlib.crc32(copy[_CHECKED:]):
            why = Refused.TORN
        elif version != VERSION:
            why = Refused.VERSION
        elif kind != place or kind not in _KINDS or zero:
            why = Refused.KIND
        elif (before := self.newest.get(Kind(kind))) and before.life == life and sequence <= before.sequence:
            why = Refused.BACKWARD
        if why:
            self.refused[why] += 1
            return None
        return Record(Kind(kind), life, sequence, tuple(values))
