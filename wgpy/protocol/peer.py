"""What the core knows of a peer. Endpoint, allowed IPs and keypairs are the plane's."""

from enum import Enum, auto

from wgpy.constants import REKEY_TIMEOUT, SECOND
from wgpy.protocol import tai64n
from wgpy.protocol.cookies import CookieJar
from wgpy.protocol.noise import InFlight, wipe
from wgpy.suite import PSK_SIZE, Suite

NEVER = -(1 << 62)  # earlier than any CLOCK_BOOTTIME by more than any interval
NO_PSK = bytes(PSK_SIZE)
AHEAD = 300 * SECOND  # a clock by less is not called wrong; an encryptor stamps up to 120 s ahead


class State(Enum):
    """Of our own initiation; its transitions are in wgpy.protocol.handshake."""
    IDLE = auto()
    WAITING = auto()     # one is wanted and not allowed yet
    IN_FLIGHT = auto()   # sent; waits for the response


class Peer:
    """Public, for reading: public_key, preshared_key, keepalive (s), last_handshake
    (CLOCK_REALTIME ns, 0 never). greatest_timestamp may be saved and set again."""

    def __init__(self, suite: Suite, public_key: bytes):
        self.public_key = public_key
        self.keepalive = 0
        self.last_handshake = 0
        self._psk = bytearray(NO_PSK)
        self.ss = bytearray()             # empty: none exists

        self.state = State.IDLE
        self.flight: InFlight | None = None
        self.tries = 0                    # initiations sent since the handshake was asked for
        self.cookies = CookieJar(suite, public_key)
        self.last_stamp = 0               # of our own initiations, whitened wall ns
        self._greatest = tai64n.ZERO      # of the peer's initiations
        self._refused = tai64n.ZERO       # the greatest that was refused since
        self.stamps_back = 0              # s by which it is behind, once that is no mere copy
        self.initiation_heard = NEVER

        self.expiry: dict[int, int] = {}  # local index of a keypair -> when to wipe it
        self.usable_since = NEVER         # when the newest session could be sent with

        self.handshake_sent = NEVER       # initiation or response
        self.handshake_heard = NEVER
        self.passive_sent = NEVER         # the last passive keepalive
        self.another_keepalive = False    # data came while one was due
        self.held = 0                     # notice bits to rearm with the next session

    @property
    def preshared_key(self) -> bytes:
        """32 bytes; zeros for none."""
        return bytes(self._psk)

    @preshared_key.setter
    def preshared_key(self, psk: bytes | bytearray | None) -> None:
        self._psk[:] = psk or NO_PSK

    @property
    def greatest_timestamp(self) -> bytes:
        """TAI64N (12 bytes) of the newest initiation accepted; zeros for none. An older
        or equal one is refused as a replay, so restoring it after a restart keeps
        replays of before out. A peer whose clock once was far ahead stays locked out
        while this value lasts, unless it stamps monotonically as this core does: then
        setting it back to zeros, or restarting without restoring it, lets it in."""
        return self._greatest

    @greatest_timestamp.setter
    def greatest_timestamp(self, stamp: bytes) -> None:
        if len(stamp) != tai64n.SIZE:
            raise ValueError("a TAI64N timestamp has 12 bytes")
        self._greatest = bytes(stamp)
        self._refused, self.stamps_back = tai64n.ZERO, 0

    def refuse(self, stamp: bytes, wall: int) -> bool:
        """A genuine initiation whose stamp is not greater than the greatest. True once, when
        it cannot be a mere copy of one that was accepted: either the greatest lies ahead of
        our own clock, or several came whose stamps go on. Then the peer's clock went back,
        or somebody replays a recording of several. `wall` in ns."""
        if stamp >= self._greatest:
            return False
        before, known = self._refused, self.stamps_back
        self._refused = max(before, bytes(stamp))
        if known or tai64n.ZERO < before < stamp or tai64n.decode(self._greatest) > wall + AHEAD:
            self.stamps_back = max(1, (tai64n.decode(self._greatest) - tai64n.decode(stamp)) // SECOND)
        return self.stamps_back > 0 and not known

    def may_initiate_at(self) -> int:
        """One initiation in 5 s, counted also from a response that we sent."""
        return self.handshake_sent + REKEY_TIMEOUT

    def set_static_static(self, ss: bytes | None) -> None:
        """Noise.static_static of the peer; the one before is overwritten. None: no handshake is
        possible with this peer."""
        wipe(self.ss)
        self.ss = bytearray(ss or b"")

    def wipe(self) -> None:
        """Overwrites all secrets; the peer is not used any more."""
        wipe(self._psk, self.ss)
        if self.flight:
            self.flight.wipe()

    def __repr__(self) -> str:
        return f"<Peer {self.public_key[:4].hex()}… {self.state.name}>"
