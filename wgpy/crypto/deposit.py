"""What outlives crypto's guest where it has no disk: red keeps it, sealed, in pieces that crypto gives to
it one at a time (wgpy.crypto.pieces), and shows them when crypto starts. Red may have been taken over: what
it shows counts only if it is ours, and nothing waits for it longer than RECALL. Times are
CLOCK_BOOTTIME, ns."""

import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from wgpy.constants import SECOND
from wgpy.crypto.keystore import FLOOR_HEADROOM
from wgpy.crypto.pieces import DATA, TRAILS, Piece, Refused, Sealer
from wgpy.crypto.stamps import PAGES, Stamps
from wgpy.ring.lane import PIECES, Kind, Listener, Speaker

RECALL = 5 * SECOND    # that a start of crypto waits for red; what comes later is taken, too
PACE = SECOND // 5     # between pieces, and between looks
SOON = SECOND // 50    # between looks while red answers
AGAIN = SECOND         # until red is asked again


class Deposit:
    """`life`: of the guest, as its trail has it; `trail`: a descriptor to read it, or None."""

    def __init__(self, speaker: Speaker, listener: Listener, sealer: Sealer, stamps: Stamps, life: int, trail: int | None):
        self._speaker, self._listener, self._sealer, self._stamps = speaker, listener, sealer, stamps
        self._life, self._trail = life, trail
        self.floor = 0                     # of our own stamps, as it was kept
        self._floor = 0                    # what is kept of it from now on
        self._counter = self._newest = self._end = 0  # the greatest of all pieces that are ours
        self._first = 0                    # number of the first piece of this life's trail; 0: none yet
        self._written = 0                  # bytes of the trail that red has
        self._next = 0                     # place to be shown
        self._pieces = 0                   # that red keeps, by its word
        self._answered = False
        # pages of stamps that red does not have; at first, what an earlier crypto of this guest may not have given
        self._changed = {n for n in range(PAGES) if any(stamps.page(n))}
        self._number = 0                   # of pieces given, in this life of the lane
        self._given: tuple[int, int, int, Callable[[], None]] | None = None  # number, place, check; when it is kept
        self._asked: tuple[int, ...] = ()  # what red was asked last
        self._at = self._asked_at = 0
        self._stamps_next = True
        self.counts: Counter[str] = Counter()

    # at the start

    def recall(self, clock: Callable[[], int], sleep: Callable[[float], None] = time.sleep) -> None:
        """Asks red for what it has, and waits for it, RECALL at most."""
        until = clock() + RECALL
        while not self.recalled and clock() < until:
            self.on_deadline(clock())
            sleep(0.005)

    @property
    def recalled(self) -> bool:
        """Red has shown all that it has, or said that it keeps nothing."""
        return self._answered and self._next >= self._pieces

    # what is to be kept

    def stamped(self, page: int | None) -> None:
        """A page of stamps changed."""
        if page is not None:
            self._changed.add(page)

    def raise_floor(self, greatest: int) -> None:
        """Before an initiation of ours leaves, whose stamp is `greatest`, ns."""
        if greatest + FLOOR_HEADROOM // 2 > self._floor:
            self._floor = greatest + FLOOR_HEADROOM
            self._changed.add(0)

    # the loop's side

    def next_deadline(self) -> int:
        """When to call on_deadline()."""
        return self._at

    def on_deadline(self, now: int) -> bool:
        """Hears red, and says one thing. True when something of peers or floor was recalled."""
        self._listener.look()
        answer = self._listener.newest.get(Kind.KEPT)
        news = answer is not None and answer.values[0] == self._speaker.life and self._heard(*answer.values[1:])
        self._say(now)
        waits = self._given is not None or not self.recalled
        self._at = now + (SOON if waits and now - self._asked_at < AGAIN // 4 else PACE)
        return news

    def _heard(self, number: int, pieces: int, shown: int, check: int) -> bool:
        self._answered, self._pieces = True, PIECES if pieces == PIECES else 0
        if self._given and number == self._given[0]:
            self.counts["kept"] += 1
            self._given[3]()
            self._given = None
        if self._next < self._pieces and shown == self._next + 1 and (data := self._listener.piece(check)) is not None:
            self._next += 1
            return any(data) and self._take(data)
        return False

    def _take(self, data: bytes) -> bool:
        piece = self._sealer.unseal(data, self._next - 1)
        if isinstance(piece, Refused):
            self.counts[piece] += 1
            return False
        self.counts["recalled"] += 1
        self._counter = max(self._counter, piece.counter)
        self._newest, self._end = max((self._newest, self._end), (piece.number, piece.end))
        self.floor = max(self.floor, piece.floor)
        self._floor = max(self._floor, piece.floor)
        if piece.place not in TRAILS:
            self._stamps.recall(piece.place, piece.data)
        elif piece.life == self._life:  # crypto started anew in its guest
            self._first = piece.number - piece.offset // DATA
            self._written = max(self._written, piece.offset + len(piece.data))
        return True

    def _say(self, now: int) -> None:
        """What red was not asked yet, or did not answer."""
        if self._given is None and self.recalled and self._pieces and now - self._asked_at >= PACE:
            self._give()
        number, place, check = self._given[:3] if self._given else (0, 0, 0)
        wanted = number, place, check, 0 if number or self.recalled else self._next + 1
        if any(wanted) and (wanted != self._asked or now - self._asked_at >= AGAIN):
            self._speaker.say(Kind.KEEP, *wanted)
            self._asked, self._asked_at = wanted, now

    def _give(self) -> None:
        """Stamps and trail take turns, so that neither waits for the other."""
        makers = [self._of_stamps, self._of_trail]
        for make in makers if self._stamps_next else reversed(makers):
            if (made := make()) is not None:
                piece, kept = made
                self._stamps_next = make == self._of_trail
                self._number += 1
                self._given = self._number, piece.place, self._speaker.put(self._sealer.seal(piece)), kept
                return

    def _of_stamps(self) -> tuple[Piece, Callable[[], None]] | None:
        if not self._changed:
            return None
        page = self._changed.pop()
        return self._piece(page, 0, self._stamps.page(page)), lambda: None

    def _of_trail(self) -> tuple[Piece, Callable[[], None]] | None:
        if self._trail is None or self._size() <= self._written:
            return None
        nth, begun = divmod(self._written, DATA)
        data = os.pread(self._trail, DATA, nth * DATA)
        if not self._first:
            self._first = self._newest + 1
        self._newest, self._end = self._first + nth, len(data)
        if not begun and self._newest > len(TRAILS):
            self.counts["overwritten"] += 1

        def kept() -> None:
            self._written = nth * DATA + len(data)
        return self._piece(TRAILS[self._newest % len(TRAILS)], nth * DATA, data), kept

    def _piece(self, place: int, offset: int, data: bytes) -> Piece:
        self._counter += 1
        return Piece(place, self._counter, self._life, self._floor, self._newest, self._end, offset, data)

    def status(self) -> dict[str, Any]:
        """Whether red keeps anything; counts of pieces, refused ones by name (pieces.Refused), and the bytes
        of the trail that it does not have."""
        return {"keeps": bool(self._pieces), "recalled_all": self.recalled,
                "behind": max(0, self._size() - self._written)} | dict(self.counts)

    def _size(self) -> int:
        """Of the trail."""
        return 0 if self._trail is None else os.lseek(self._trail, 0, os.SEEK_END)
