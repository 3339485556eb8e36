"""Notices of the plane: what they make the core do at once, and which deadlines they arm
(wgpy.protocol.deadlines tells what comes of those)."""

from wgpy import notices
from wgpy.constants import KEEPALIVE_TIMEOUT, REKEY_AFTER_TIME, REKEY_TIMEOUT
from wgpy.protocol.core import Core
from wgpy.protocol.effects import Effect, FlushStaged, Rearm
from wgpy.protocol.handshake import Handshakes, Trigger
from wgpy.protocol.peer import Peer, State
from wgpy.protocol.sessions import Sessions
from wgpy.protocol.timers import UNANSWERED_TIME, Instant, Reason

_WANTS = notices.KEY_NEEDED | notices.REKEY_SEND | notices.REKEY_RECEIVE


class Upkeep:
    """What the plane's notices lead to. Effects are appended to `out`."""

    def __init__(self, core: Core, handshakes: Handshakes, sessions: Sessions):
        self._core, self._handshakes, self._sessions = core, handshakes, sessions

    def notice(self, peer: Peer, bits: int, promoted: int | None, now: Instant, out: list[Effect]) -> None:
        """A promotion of what was forgotten since confirms nothing."""
        key = peer.public_key
        if bits & notices.CONFIRMED and promoted in peer.expiry:
            self._handshakes.fire(peer, Trigger.CONFIRMED, now, out)
            self._sessions.promoted(peer, now, out)
        if bits & _WANTS:
            self._wanted(peer, bits, now, out)
        if bits & notices.DATA_SENT:
            self._arm_once(key, Reason.UNANSWERED, now.mono + UNANSWERED_TIME + self._core.jitter())
        if bits & notices.DATA_RECEIVED:
            self._arm_once(key, Reason.PASSIVE_KEEPALIVE, now.mono + KEEPALIVE_TIMEOUT)
            if peer.held & notices.DATA_SENT and peer.state is State.IDLE:
                peer.held &= ~notices.DATA_SENT
                out.append(Rearm(key, notices.DATA_SENT))

    def _wanted(self, peer: Peer, bits: int, now: Instant, out: list[Effect]) -> None:
        """A notice may have been on its way when the session that it asks for came."""
        age = now.mono - peer.usable_since
        if age < REKEY_TIMEOUT:
            if bits & notices.KEY_NEEDED:
                out.append(FlushStaged(peer.public_key))
        elif bits & (notices.KEY_NEEDED | notices.REKEY_SEND) or age >= REKEY_AFTER_TIME:
            self._handshakes.want(peer, now, out)

    def _arm_once(self, key: bytes, reason: Reason, at: int) -> None:
        if self._core.timers.at(key, reason) is None:
            self._core.timers.arm(key, reason, at)
