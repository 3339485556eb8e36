"""Sessions: the core's side of keypairs. The plane holds, rotates and promotes them; here
stand their indices and how long they last, from install() until the plane says that it
freed the index."""

from collections.abc import Iterable

from wgpy.constants import REJECT_AFTER_TIME, SECOND, WIPE_AFTER_TIME
from wgpy.events import Kind
from wgpy.protocol.core import Core
from wgpy.protocol.effects import (
    Effect,
    Event,
    ExpireKeypairs,
    FlushStaged,
    InstallKeypair,
    Rearm,
    SendKeepalive,
    WipeKeypairs,
)
from wgpy.protocol.noise import SessionKeys
from wgpy.protocol.peer import NEVER, Peer
from wgpy.protocol.timers import Instant, Reason


class Sessions:
    """Effects are appended to `out`."""

    def __init__(self, core: Core):
        self._core = core

    def install(self, peer: Peer, index: int, remote_index: int, initiator: bool, keys: SessionKeys,
                now: Instant, out: list[Effect]) -> None:
        """A handshake is complete, for the responder as far as it can be: its session is
        confirmed by the first packet that comes over it."""
        key, timers = peer.public_key, self._core.timers
        peer.expiry[index] = now.mono + REJECT_AFTER_TIME
        self._arm_expiry(peer)
        timers.arm(key, Reason.WIPE_KEYS, now.mono + WIPE_AFTER_TIME)
        out.append(InstallKeypair(key, index, remote_index, initiator, keys.send, keys.receive))
        if peer.held:
            out.append(Rearm(key, peer.held))
            peer.held = 0

    def initiated(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        """We may send over the session that we asked for, and do at once to confirm it."""
        peer.usable_since, peer.last_handshake = now.mono, now.wall
        out.append(FlushStaged(peer.public_key))
        out.append(SendKeepalive(peer.public_key))
        out.append(Event(Kind.HANDSHAKE_COMPLETE, peer.public_key))

    def promoted(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        """The session that the peer asked for became the current one."""
        peer.usable_since, peer.last_handshake = now.mono, now.wall
        out.append(FlushStaged(peer.public_key))
        out.append(Event(Kind.HANDSHAKE_COMPLETE, peer.public_key))

    def expire(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        """The plane stamps a keypair's birth itself and may find it a moment too young:
        ask again until it says that it freed the index."""
        out.append(ExpireKeypairs(peer.public_key))
        for index, at in peer.expiry.items():
            if at <= now.mono:
                peer.expiry[index] = now.mono + SECOND
        self._arm_expiry(peer)

    def freed(self, peer: Peer, indices: Iterable[int]) -> None:
        """What the plane let go; what it never had from us, or we gave up, is nothing."""
        for index in indices:
            if peer.expiry.pop(index, None) is not None:
                self._core.indices.free(index)
        self._arm_expiry(peer)

    def forget(self, peer: Peer, out: list[Effect]) -> None:
        """As if there had never been one; the 5 s rule starts anew too."""
        for index in peer.expiry:
            self._core.indices.free(index)
        peer.expiry.clear()
        peer.usable_since = peer.handshake_sent = NEVER
        self._core.timers.disarm(peer.public_key, Reason.EXPIRE_KEYPAIR, Reason.WIPE_KEYS)
        out.append(WipeKeypairs(peer.public_key))

    def _arm_expiry(self, peer: Peer) -> None:
        timers, key = self._core.timers, peer.public_key
        if peer.expiry:
            timers.arm(key, Reason.EXPIRE_KEYPAIR, min(peer.expiry.values()))
        else:
            timers.disarm(key, Reason.EXPIRE_KEYPAIR)
