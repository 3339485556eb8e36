"""The greatest time stamps of peers' initiations, in memory of the supervisor's that outlives
the room: an initiation that was recorded before a restart is refused after it as it was
before. Neither black nor red has this memory, and nothing in it is secret."""

import hashlib
import mmap
import os
from collections.abc import Mapping
from typing import Protocol

from wgpy.constants import PLANE_PEERS
from wgpy.protocol import tai64n

_KEY = 32
_RECORD = 64  # key, stamp, rest; does not cross a page
BYTES = PLANE_PEERS * _RECORD
_IN_PAGE = 46
PAGE = _IN_PAGE * _RECORD  # bytes; that so many records are kept together is for wgpy.crypto.deposit
PAGES = -(-PLANE_PEERS // _IN_PAGE)


def memory() -> int:
    """A new descriptor, in which nothing is remembered yet. OSError."""
    fd = os.memfd_create("stamps", os.MFD_CLOEXEC)
    os.ftruncate(fd, BYTES)
    return fd


def _name(key: bytes) -> bytes:
    return key if len(key) == _KEY else hashlib.sha256(key).digest()


class Stamped(Protocol):
    """As much of a peer of the device as is seen here."""
    greatest_timestamp: bytes


class Stamps:
    """Records of 64 bytes: a peer's public key, or the SHA-256 of one that has not 32 bytes, and its
    stamp (TAI64N, 12 bytes); zeros are free."""

    def __init__(self, fd: int | None):
        """Takes the descriptor of BYTES over; without one nothing is remembered. OSError."""
        self._memory: mmap.mmap | None = None
        self._places: dict[bytes, int] = {}
        if fd is None:
            return
        try:
            self._memory = mmap.mmap(fd, BYTES)
        finally:
            os.close(fd)
        places = range(0, len(self._memory), _RECORD)
        self._free = [at for at in places if not any(self._memory[at:at + _KEY])]
        self._places = {self._memory[at:at + _KEY]: at for at in places if any(self._memory[at:at + _KEY])}

    def restore(self, peers: Mapping[bytes, Stamped]) -> None:
        """To those that have accepted nothing newer; who is no peer any more is forgotten.
        `peers`: of the device, by public key."""
        if self._memory is None:
            return
        named = {_name(key): peer for key, peer in peers.items()}
        for key in self._places.keys() - named.keys():
            at = self._places.pop(key)
            self._memory[at:at + _RECORD] = bytes(_RECORD)
            self._free.append(at)
        for key, at in self._places.items():
            if (stamp := self._memory[at + _KEY:at + _KEY + tai64n.SIZE]) > named[key].greatest_timestamp:
                named[key].greatest_timestamp = stamp

    def keep(self, key: bytes, stamp: bytes) -> int | None:
        """Before the response goes out, so that no restart forgets what was answered. When
        there is no room, nothing is remembered. Returns the page in which it is, of PAGES."""
        at = self._place(_name(key))
        if self._memory is None or at is None:
            return None
        self._memory[at + _KEY:at + _KEY + tai64n.SIZE] = stamp
        return at // PAGE

    def page(self, number: int) -> bytes:
        """Its records, as they are now, PAGE bytes or, of the last one, what there is."""
        return b"" if self._memory is None else self._memory[number * PAGE:(number + 1) * PAGE]

    def recall(self, number: int, page: bytes) -> None:
        """What page(number) gave in a life before: the greater stamp of each peer holds, and who has no
        place yet has the one that he had."""
        for at in range(0, len(page) - _RECORD + 1, _RECORD):
            name, stamp = page[at:at + _KEY], page[at + _KEY:at + _KEY + tai64n.SIZE]
            if self._memory is None or not any(name) or (own := self._place(name, number * PAGE + at)) is None:
                continue
            own += _KEY
            if stamp > self._memory[own:own + tai64n.SIZE]:
                self._memory[own:own + tai64n.SIZE] = stamp

    def _place(self, name: bytes, wish: int = -1) -> int | None:
        """Where its record is, made if there was none, at `wish` where that is free; None: there is no room."""
        if self._memory is None or (name not in self._places and not self._free):
            return None
        if name not in self._places:
            at = self._places[name] = self._free.pop(self._free.index(wish) if wish in self._free else -1)
            self._memory[at:at + _KEY] = name
        return self._places[name]
