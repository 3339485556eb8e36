"""Keypairs of one peer and their rotation, and the replay window: the executable
specification of what the C plane does."""

from wgpy.constants import (
    KEEPALIVE_TIMEOUT,
    REJECT_AFTER_MESSAGES,
    REJECT_AFTER_TIME,
    REKEY_AFTER_MESSAGES,
    REKEY_AFTER_TIME,
    REKEY_TIMEOUT,
)
from wgpy.protocol.noise import wipe

WINDOW = 8192 - 64  # RFC 6479: one word of the bitmap is always being reused
_REKEY_RECEIVE_AGE = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT


class ReplayWindow:
    """Every counter once, none more than WINDOW behind the highest."""

    def __init__(self) -> None:
        self._next = 0
        self._seen: set[int] = set()

    def admits(self, counter: int) -> bool:
        """May a packet with this counter be opened? It is not marked before its tag was
        right."""
        if counter >= REJECT_AFTER_MESSAGES:
            return False
        return counter >= self._next or (self._next - 1 - counter <= WINDOW
                                         and counter not in self._seen)

    def mark(self, counter: int) -> None:
        """The counter was authenticated."""
        self._next = max(self._next, counter + 1)
        self._seen.add(counter)
        if len(self._seen) > 2 * WINDOW:
            self._seen = {c for c in self._seen if self._next - 1 - c <= WINDOW}


class Keypair:
    """The two keys of a session, copied, and what they were used for. `local`
    is our receiver index, `remote` the peer's; `birth` is ns of CLOCK_BOOTTIME."""

    def __init__(self, local: int, remote: int, initiator: bool, send_key: bytes | bytearray,
                 receive_key: bytes | bytearray, birth: int):
        self.local, self.remote, self.initiator, self.birth = local, remote, initiator, birth
        self.send_key, self.receive_key = bytearray(send_key), bytearray(receive_key)
        self.counter = 0
        self.window = ReplayWindow()
        self.rekey_raised: int | None = None
        self.lastminute_raised = False

    def expired(self, now: int) -> bool:
        """Reject-After-Time has come: neither sends nor receives any more."""
        return now >= self.birth + REJECT_AFTER_TIME

    def can_send(self, now: int) -> bool:
        """Not expired, and Reject-After-Messages is not reached."""
        return not self.expired(now) and self.counter < REJECT_AFTER_MESSAGES

    def raises_rekey_send(self, now: int) -> bool:
        """Whether a packet sent with it raises REKEY_SEND: every 5 s for as long as the keypair
        wants a successor (send.c:keep_key_fresh)."""
        due = self.counter > REKEY_AFTER_MESSAGES or (self.initiator and now >= self.birth + REKEY_AFTER_TIME)
        if not due or (self.rekey_raised is not None and now - self.rekey_raised < REKEY_TIMEOUT):
            return False
        self.rekey_raised = now
        return True

    def raises_rekey_receive(self, now: int) -> bool:
        """Whether a packet received with it raises REKEY_RECEIVE: one, in its last seconds
        (receive.c:keep_key_fresh)."""
        if self.lastminute_raised or not self.initiator or now < self.birth + _REKEY_RECEIVE_AGE:
            return False
        self.lastminute_raised = True
        return True

    def wipe(self) -> None:
        """Overwrites both keys with zeros."""
        wipe(self.send_key, self.receive_key)


class Keypairs:
    """current sends; previous, current and next receive (noise.c:add_new_keypair)."""

    def __init__(self) -> None:
        self.current: Keypair | None = None
        self.previous: Keypair | None = None
        self.next: Keypair | None = None

    def live(self) -> list[Keypair]:
        """Those that receive."""
        return [k for k in (self.current, self.previous, self.next) if k is not None]

    def add(self, new: Keypair) -> list[Keypair]:
        """Puts a new keypair in its place and returns those that fell out."""
        before = self.live()
        if not new.initiator:
            self.next, self.previous = new, None
        elif self.next is not None:
            self.current, self.previous, self.next = new, self.next, None
        else:
            self.current, self.previous = new, self.current
        kept = self.live()
        return [k for k in before if k not in kept]

    def confirm(self, used: Keypair) -> bool:
        """A keypair authenticated a packet: the next one becomes current. None falls out,
        for while there is a next one there is no previous one."""
        if used is not self.next:
            return False
        self.current, self.previous, self.next = used, self.current, None
        return True

    def remove(self, old: Keypair) -> None:
        """Whichever place it has; no-op for one that fell out."""
        for place in ("current", "previous", "next"):
            if getattr(self, place) is old:
                setattr(self, place, None)
