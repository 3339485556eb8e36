"""Every deadline of the protocol (paper, section 6; timers.c of the Linux module): one
function each, named after the constant that it waits for.

Timers are evaluated lazily. The plane says once that data began to flow; when the deadline
comes, its function looks at what has happened since, and fires, waits on, or lets go and
lets the plane say so again (Rearm). Each exists at most once a peer.

    INITIATE              Rekey-Timeout, 5 s, since our last handshake message (6.4)
      armed:     a session is wanted, and an initiation is not allowed yet
      disarmed:  an initiation leaves; the peer's own handshake is confirmed
      comes:     the initiation is sent
    RETRANSMIT            Rekey-Timeout and up to 334 ms of jitter, since our initiation (6.4)
      armed:     an initiation leaves; anew, when we responded to the peer meanwhile
      disarmed:  a valid response comes; the peer's own handshake is confirmed
      comes:     a new initiation, until Rekey-Attempt-Time is over: then the handshake is
                 given up, and what waits for it is dropped
    UNANSWERED            Keepalive-Timeout + Rekey-Timeout, 15 s, and jitter (6.5)
      armed:     data is sent (DATA_SENT); anew, for data sent after something was heard
      disarmed:  never: it comes, finds that something was heard, and lets go
      comes:     a new handshake
    PASSIVE_KEEPALIVE     Keepalive-Timeout, 10 s (6.5)
      armed:     data is received (DATA_RECEIVED); anew, for data received after we sent
      disarmed:  a handshake is given up
      comes:     an empty packet, once for the same data and once more if data came since
    PERSISTENT_KEEPALIVE  the interval that is configured
      armed:     the interval is set; the interface comes up; by itself
      disarmed:  the interval is set to 0
      comes:     an empty packet, if nothing was sent or received for so long
    EXPIRE_KEYPAIR        Reject-After-Time, 180 s, of the oldest keypair (6.2)
      armed:     a keypair is installed, or one is gone and others are left
      disarmed:  the last keypair is gone
      comes:     the plane wipes the keypairs that are so old
    WIPE_KEYS             three times Reject-After-Time, 540 s, without a new session (6.3)
      armed:     a keypair is installed; a handshake is given up, if it is not armed
      disarmed:  never but with the sessions
      comes:     the plane wipes all keypairs of the peer

All of a peer's are disarmed when it is removed or the interface goes down; a new private key
disarms all but the two keepalives and UNANSWERED. Rekey-After-Time and -Messages are no
deadlines: the plane says so when it sends or receives with such a keypair (wgpy.protocol.upkeep).
"""

from collections.abc import Callable, Mapping

from wgpy import notices
from wgpy.constants import KEEPALIVE_TIMEOUT, SECOND
from wgpy.notices import Activity
from wgpy.protocol.core import Core
from wgpy.protocol.effects import ClearSource, Effect, Rearm, SendKeepalive, WipeKeypairs
from wgpy.protocol.handshake import Handshakes
from wgpy.protocol.peer import Peer
from wgpy.protocol.sessions import Sessions
from wgpy.protocol.timers import UNANSWERED_TIME, WANT_ACTIVITY, Instant, Reason

Handler = Callable[[Peer, Activity, Instant, list[Effect]], None]

# The plane sends our keepalive, and stamps it, a moment after the deadline.
_SLACK = SECOND


class Deadlines:
    """Handlers get the peer's Activity if their reason is in WANT_ACTIVITY, else an empty
    one, and append effects to `out`."""

    def __init__(self, core: Core, handshakes: Handshakes, sessions: Sessions):
        self._core, self._handshakes, self._sessions = core, handshakes, sessions
        self.handlers: Mapping[Reason, Handler] = {
            Reason.INITIATE: self.rekey_timeout_over,
            Reason.RETRANSMIT: self.rekey_timeout,
            Reason.UNANSWERED: self.keepalive_timeout_and_rekey_timeout,
            Reason.PASSIVE_KEEPALIVE: self.keepalive_timeout,
            Reason.PERSISTENT_KEEPALIVE: self.persistent_keepalive,
            Reason.EXPIRE_KEYPAIR: self.reject_after_time,
            Reason.WIPE_KEYS: self.wipe_after_time,
        }

    def due(self, now: Instant) -> list[bytes]:
        """Peers whose Activity tick() will want."""
        return list({d.peer: None for d in self._core.timers.due(now.mono) if d.reason in WANT_ACTIVITY})

    def tick(self, now: Instant, activity: Mapping[bytes, Activity]) -> list[Effect]:
        """Everything that has come due; what lacks its Activity stays due."""
        timers = self._core.timers
        out: list[Effect] = []
        for at, key, reason in sorted(timers.due(now.mono), key=lambda d: d.at):
            if timers.at(key, reason) != at or reason in WANT_ACTIVITY and key not in activity:
                continue
            timers.disarm(key, reason)
            seen = activity[key] if reason in WANT_ACTIVITY else Activity()
            self.handlers[reason](self._core.peers[key], seen, now, out)
        return out

    # handshakes

    def rekey_timeout_over(self, peer: Peer, seen: Activity, now: Instant, out: list[Effect]) -> None:
        """INITIATE: what was too soon is sent, if a session is still wanted."""
        self._handshakes.want(peer, now, out)

    def rekey_timeout(self, peer: Peer, seen: Activity, now: Instant, out: list[Effect]) -> None:
        """RETRANSMIT: once more, or given up after Rekey-Attempt-Time."""
        self._handshakes.overdue(peer, now, out)

    def keepalive_timeout_and_rekey_timeout(self, peer: Peer, seen: Activity, now: Instant,
                                            out: list[Effect]) -> None:
        """UNANSWERED: a handshake, unless something was heard since the first data that the
        plane sent. The source address is forgotten, since it may be why nothing comes back."""
        since = seen.unanswered_since
        if not since or since < peer.handshake_heard:
            self._let_go(peer, notices.DATA_SENT, bool(since), out)
        elif since + UNANSWERED_TIME > now.mono:
            self._core.timers.arm(peer.public_key, Reason.UNANSWERED, since + UNANSWERED_TIME + self._core.jitter())
        else:
            peer.held |= notices.DATA_SENT
            out.append(ClearSource(peer.public_key))
            self._handshakes.want(peer, now, out)

    # keepalives

    def keepalive_timeout(self, peer: Peer, seen: Activity, now: Instant, out: list[Effect]) -> None:
        """Fires at most once for the same data, and once more when data came in
        between (need_another_keepalive). A handshake message sent counts as an answer
        that puts the keepalive off."""
        since, next_at = seen.unacknowledged_since, None
        if since and since >= peer.passive_sent:
            next_at = max(since, peer.handshake_sent) + KEEPALIVE_TIMEOUT
            if next_at <= now.mono:
                peer.another_keepalive = seen.last_data_received > since
                next_at = self._send_passive(peer, now, out)
        elif peer.another_keepalive:
            peer.another_keepalive = False
            quiet = max(seen.last_sent, peer.handshake_sent) <= peer.passive_sent + _SLACK
            next_at = self._send_passive(peer, now, out) if quiet else None
        if next_at is None:
            self._let_go(peer, notices.DATA_RECEIVED, bool(since), out)
        else:
            self._core.timers.arm(peer.public_key, Reason.PASSIVE_KEEPALIVE, next_at)

    def persistent_keepalive(self, peer: Peer, seen: Activity, now: Instant, out: list[Effect]) -> None:
        """Anything that was sent or received puts it off, handshake messages too. As a handler
        it arms itself anew, until the interval is 0."""
        if not peer.keepalive:
            return
        interval = peer.keepalive * SECOND
        last = max(seen.last_received, seen.last_sent, peer.handshake_sent, peer.handshake_heard)
        at = last + interval
        if at <= now.mono:
            out.append(SendKeepalive(peer.public_key))
            at = now.mono + interval
        self._core.timers.arm(peer.public_key, Reason.PERSISTENT_KEEPALIVE, at)

    # sessions

    def reject_after_time(self, peer: Peer, seen: Activity, now: Instant, out: list[Effect]) -> None:
        """EXPIRE_KEYPAIR: the plane is told to wipe those of 180 s, and answers which they
        were."""
        self._sessions.expire(peer, now, out)

    def wipe_after_time(self, peer: Peer, seen: Activity, now: Instant, out: list[Effect]) -> None:
        """WIPE_KEYS: all keypairs of the peer, 540 s after the last was made."""
        out.append(WipeKeypairs(peer.public_key))

    def _let_go(self, peer: Peer, bit: int, holds: bool, out: list[Effect]) -> None:
        """Rearming while the condition still holds would raise the notice at once and
        for ever: then it waits for the next session."""
        if holds:
            peer.held |= bit
        else:
            out.append(Rearm(peer.public_key, bit))

    def _send_passive(self, peer: Peer, now: Instant, out: list[Effect]) -> int:
        peer.passive_sent = now.mono
        out.append(SendKeepalive(peer.public_key))
        return now.mono + KEEPALIVE_TIMEOUT
