"""The greatest time stamps of peers' initiations, in memory of the supervisor's that outlives
the room: an initiation that was recorded before a restart is refused after it as it was
before. Neither black nor red has this memory, and nothing in it is secret."""

import mmap
import os

from wgpy.protocol import tai64n

_KEY = 32
_RECORD = 64  # key, stamp, rest; does not cross a page
BYTES = 1024 * _RECORD  # as many as the room takes peers


class Stamps:
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

    def restore(self, peers) -> None:
        """To those that have accepted nothing yet; who is no peer any more is forgotten.
        `peers`: of the device, by public key."""
        for key in self._places.keys() - peers.keys():
            at = self._places.pop(key)
            self._memory[at:at + _RECORD] = bytes(_RECORD)
            self._free.append(at)
        for key, at in self._places.items():
            if peers[key].greatest_timestamp == tai64n.ZERO:
                peers[key].greatest_timestamp = self._memory[at + _KEY:at + _KEY + tai64n.SIZE]

    def keep(self, key: bytes, stamp: bytes) -> None:
        if self._memory is None:
            return
        if key not in self._places:
            if not self._free:
                return
            self._places[key] = self._free.pop()
            self._memory[self._places[key]:self._places[key] + _KEY] = key
        at = self._places[key] + _KEY
        self._memory[at:at + tai64n.SIZE] = stamp
