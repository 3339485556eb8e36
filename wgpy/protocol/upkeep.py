"""Timers of sessions (timers.c of the Linux module), evaluated lazily: the plane says
once that data began to flow, and only when the deadline comes does the core look at
what has happened since. After that it fires, waits on, or lets go and lets the plane
say so again."""

from typing import TYPE_CHECKING

from wgpy import notices
from wgpy.constants import (
    KEEPALIVE_TIMEOUT,
    REKEY_AFTER_TIME,
    REKEY_TIMEOUT,
    SECOND,
)
from wgpy.notices import Activity
from wgpy.protocol.effects import (
    ClearSource,
    Effect,
    Event,
    ExpireKeypairs,
    FlushStaged,
    Rearm,
    SendKeepalive,
)
from wgpy.protocol.handshake import Trigger
from wgpy.protocol.peer import Peer, State
from wgpy.protocol.timers import Instant, Reason

if TYPE_CHECKING:
    from wgpy.protocol.device import Device

UNANSWERED_TIME = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT
_WANTS = notices.KEY_NEEDED | notices.REKEY_SEND | notices.REKEY_RECEIVE
# The plane sends our keepalive, and stamps it, a moment after the deadline.
_SLACK = SECOND


class Upkeep:
    def __init__(self, device: "Device"):
        self._device = device
        self._handlers = {
            Reason.UNANSWERED: self._unanswered,
            Reason.PASSIVE_KEEPALIVE: self._passive,
            Reason.PERSISTENT_KEEPALIVE: self._persistent,
        }

    def notice(self, peer: Peer, bits: int, now: Instant, out: list[Effect]) -> None:
        device, key = self._device, peer.public_key
        if bits & notices.CONFIRMED:
            device.handshakes.fire(peer, Trigger.CONFIRMED, now, out)
            peer.usable_since, peer.last_handshake = now.mono, now.wall
            out.append(FlushStaged(key))
            out.append(Event("handshake-complete", key))
        if bits & _WANTS:
            self._wanted(peer, bits, now, out)
        if bits & notices.DATA_SENT:
            self._arm_once(key, Reason.UNANSWERED, now.mono + UNANSWERED_TIME + device.handshakes.jitter())
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
            self._device.handshakes.want(peer, now, out)

    def _arm_once(self, key: bytes, reason: Reason, at: int) -> None:
        if self._device.timers.at(key, reason) is None:
            self._device.timers.arm(key, reason, at)

    def activity(self, reason: Reason, peer: Peer, seen: Activity, now: Instant,
                 out: list[Effect]) -> None:
        """One of the deadlines that need to know what the plane did."""
        self._handlers[reason](peer, seen, now, out)

    def _let_go(self, peer: Peer, bit: int, holds: bool, out: list[Effect]) -> None:
        """Rearming while the condition still holds would raise the notice at once and
        for ever: then it waits for the next session."""
        if holds:
            peer.held |= bit
        else:
            out.append(Rearm(peer.public_key, bit))

    def _unanswered(self, peer: Peer, seen: Activity, now: Instant, out: list[Effect]) -> None:
        since = seen.unanswered_since
        if not since or since < peer.handshake_heard:
            self._let_go(peer, notices.DATA_SENT, bool(since), out)
        elif since + UNANSWERED_TIME > now.mono:
            self._device.timers.arm(peer.public_key, Reason.UNANSWERED,
                                    since + UNANSWERED_TIME + self._device.handshakes.jitter())
        else:
            peer.held |= notices.DATA_SENT
            out.append(ClearSource(peer.public_key))
            self._device.handshakes.want(peer, now, out)

    def _passive(self, peer: Peer, seen: Activity, now: Instant, out: list[Effect]) -> None:
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
            self._device.timers.arm(peer.public_key, Reason.PASSIVE_KEEPALIVE, next_at)

    def _send_passive(self, peer: Peer, now: Instant, out: list[Effect]) -> int:
        peer.passive_sent = now.mono
        out.append(SendKeepalive(peer.public_key))
        return now.mono + KEEPALIVE_TIMEOUT

    def _persistent(self, peer: Peer, seen: Activity, now: Instant, out: list[Effect]) -> None:
        if not peer.keepalive:
            return
        interval = peer.keepalive * SECOND
        last = max(seen.last_received, seen.last_sent, peer.handshake_sent, peer.handshake_heard)
        at = last + interval
        if at <= now.mono:
            out.append(SendKeepalive(peer.public_key))
            at = now.mono + interval
        self._device.timers.arm(peer.public_key, Reason.PERSISTENT_KEEPALIVE, at)

    def expire(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        """The plane stamps a keypair's birth itself and may find it a moment too young:
        ask again until it is gone from live_indices."""
        out.append(ExpireKeypairs(peer.public_key))
        for index, at in peer.expiry.items():
            if at <= now.mono:
                peer.expiry[index] = now.mono + SECOND
        self.arm_expiry(peer)

    def arm_expiry(self, peer: Peer) -> None:
        timers, key = self._device.timers, peer.public_key
        if peer.expiry:
            timers.arm(key, Reason.EXPIRE_KEYPAIR, min(peer.expiry.values()))
        else:
            timers.disarm(key, Reason.EXPIRE_KEYPAIR)
