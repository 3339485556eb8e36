"""The greatest time stamps of peers' initiations, in memory of the supervisor's that outlives
the room: an initiation that was recorded before a restart is refused after it as it was
before. Neither black nor red has this memory, and nothing in it is secret."""

import hashlib
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from wgpy.constants import PLANE_PEERS
from wgpy.protocol import tai64n

_KEY = 32
_RECORD = 64  # key, stamp, rest; does not cross a page
BYTES = PLANE_PEERS * _RECORD


def memory() -> int:
    """A new descriptor, in which nothing is remembered yet. OSError."""
    fd = os.memfd_create("stamps", os.MFD_CLOEXEC)
    os.ftruncate(fd, BYTES)
    return fd


def file(path: Path) -> int:
    """The same in a file, for what has to outlive the supervisor too; its blocks are there from the
    beginning, since what is mapped cannot be told that a disk is full. OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.ftruncate(fd, BYTES)
        os.posix_fallocate(fd, 0, BYTES)
    except OSError:
        os.close(fd)
        raise
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
        """To those that have accepted nothing yet; who is no peer any more is forgotten.
        `peers`: of the device, by public key."""
        if self._memory is None:
            return
        named = {_name(key): peer for key, peer in peers.items()}
        for key in self._places.keys() - named.keys():
            at = self._places.pop(key)
            self._memory[at:at + _RECORD] = bytes(_RECORD)
            self._free.append(at)
        for key, at in self._places.items():
            if named[key].greatest_timestamp == tai64n.ZERO:
                named[key].greatest_timestamp = self._memory[at + _KEY:at + _KEY + tai64n.SIZE]

    def keep(self, key: bytes, stamp: bytes) -> None:
        """Before the response goes out, so that no restart forgets what was answered. When
        there is no room, nothing is remembered."""
        if self._memory is None:
            return
        key = _name(key)
        if key not in self._places:
            if not self._free:
                return
            self._places[key] = self._free.pop()
            self._memory[self._places[key]:self._places[key] + _KEY] = key
        at = self._places[key] + _KEY
        self._memory[at:at + tai64n.SIZE] = stamp
