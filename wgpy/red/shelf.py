"""What red keeps for crypto, where crypto has no disk: PIECES of one size, each at its place in one
file. Red has no key to them and looks at none; docs/control-lanes.md has the records."""

import logging
import os
from typing import Any

from wgpy.ring.lane import PIECE, PIECES, Kind, Listener, Record, Speaker

log = logging.getLogger(__name__)

BYTES = PIECE * PIECES
IDLE, SOON = 0.05, 0.005  # s between looks; while crypto asks


class Shelf:
    """`fd`: a file of BYTES, to be written in its midst; None: nothing is kept, and crypto is told so."""

    def __init__(self, speaker: Speaker, listener: Listener, fd: int | None):
        """OSError."""
        self._speaker, self._listener, self._fd = speaker, listener, fd
        kept = b"" if fd is None else os.pread(fd, BYTES, 0).ljust(BYTES, b"\0")
        self._pieces = [kept[at:at + PIECE] for at in range(0, len(kept), PIECE)]
        self._done: Record | None = None
        self._last = (0, 0)  # life and number of the piece that was kept last
        self._stored = self._failed = self._refused = 0

    def look(self) -> float:
        """Does what crypto asks for, at most one piece; returns seconds until it wants to look again."""
        self._listener.look()
        asked = self._listener.newest.get(Kind.KEEP)
        if asked is None or asked is self._done:
            return IDLE
        number, place, check, show, _ = asked.values
        pause = SOON if show else IDLE
        if number and (asked.life, number) != self._last:
            piece = self._listener.piece(check)
            if piece is None:  # the record is seen before the piece, or beside the next one
                return IDLE
            if self._store(place, piece):
                self._last = asked.life, number
        self._done = asked
        life, kept = self._last
        shown = show if 0 < show <= len(self._pieces) else 0
        self._speaker.say(Kind.KEPT, asked.life, kept if life == asked.life else 0, len(self._pieces), shown,
                          self._speaker.put(self._pieces[shown - 1]) if shown else 0)
        return pause

    def status(self) -> dict[str, Any]:
        """What became of what crypto asked to keep, in this life."""
        return {"pieces": len(self._pieces), "stored": self._stored, "failed": self._failed, "refused": self._refused}

    def _store(self, place: int, piece: bytes) -> bool:
        """On the disk when it returns True."""
        if self._fd is None or place >= len(self._pieces):
            self._refused += 1
            return False
        try:
            if os.pwrite(self._fd, piece, place * PIECE) != PIECE:
                raise OSError("written in part")
            os.fdatasync(self._fd)
        except OSError as e:
            if not self._failed:
                log.error("what crypto asks to keep cannot be kept: %s", e.strerror or e)
            self._failed += 1
            return False
        self._pieces[place] = piece
        self._stored += 1
        return True
