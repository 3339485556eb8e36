"""The protocol core: handshakes, cookies of peers, indices and timers of one interface. Bytes, notices, times and entropy in; effects out. It owns no clock, socket
or key of a session: the plane holds the keypairs that it is told to install.

Its driver carries out the effects of a call in order before the next call, and after
each install, expire, wipe and confirmed notice reports live_indices.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType

from wgpy import notices
from wgpy.constants import REJECT_AFTER_TIME, SECOND, WIPE_AFTER_TIME
from wgpy.errors import WgpyError
from wgpy.notices import Activity, Endpoint
from wgpy.protocol.effects import (
    Effect,
    Event,
    InstallKeypair,
    PurgeStaged,
    Rearm,
    SendKeepalive,
    SetPublicKey,
    WipeKeypairs,
)
from wgpy.protocol.handshake import Handshakes, Trigger
from wgpy.protocol.inbound import Inbound
from wgpy.protocol.indices import IndexTable
from wgpy.protocol.noise import Noise, SessionKeys
from wgpy.protocol.peer import NEVER, Peer, State
from wgpy.protocol.timers import WANT_ACTIVITY, Deadline, Instant, Reason, Timers
from wgpy.protocol.upkeep import Upkeep
from wgpy.suite import Suite

__all__ = ["Deadline", "Device", "Instant", "Peer", "Reason"]

MAX_KEEPALIVE = 65535


class Device:
    """`entropy(n)` gives n unpredictable bytes. Until start() the interface is down:
    messages are refused and nothing is sent.

    rejects counts refused messages by reason. timestamp_floor (CLOCK_REALTIME ns): our
    initiations are stamped later than it; a node whose clock may lose the time saves
    greatest_stamp and sets this from it before start()."""

    def __init__(self, suite: Suite, entropy: Callable[[int], bytes]):
        self.suite, self.entropy = suite, entropy
        self.up = False
        self.rejects: Counter[str] = Counter()
        self.noise = Noise(suite)
        self.indices: IndexTable[Peer] = IndexTable(entropy)
        self.timers = Timers()
        self.handshakes, self.upkeep = Handshakes(self), Upkeep(self)
        self._inbound = Inbound(self)
        self._peers: dict[bytes, Peer] = {}
        self.peers: Mapping[bytes, Peer] = MappingProxyType(self._peers)
        self.timestamp_floor = 0

    # configuration

    @property
    def public_key(self) -> bytes | None:
        return self.noise.public

    def set_private_key(self, key: bytes | None, now: Instant) -> list[Effect]:
        """Ends all sessions and handshakes: they belong to the old key. None or zeros
        clear it. A peer that has our own public key is dropped, as the Linux module
        does. Raises WgpyError for a key that is not 32 bytes."""
        if key is not None and len(key) != self.suite.key_size:
            raise WgpyError(f"a private key has {self.suite.key_size} bytes, not {len(key)}")
        self.noise.set_private_key(key if key and any(key) else None)
        if self.public_key in self._peers:
            self.remove_peer(self.public_key)
        out: list[Effect] = [SetPublicKey(self.public_key)]
        for peer in self._peers.values():
            wanted = peer.state is not State.IDLE
            peer.set_static_static(self.noise.static_static(peer.public_key))
            self._forget_sessions(peer, out)
            if wanted:
                self.handshakes.want(peer, now, out)
        return out

    def add_peer(self, public_key: bytes) -> None:
        """No-op for a peer that exists and, as in the Linux module, for our own key.
        Raises WgpyError for a key that is not 32 bytes."""
        if len(public_key) != self.suite.key_size:
            raise WgpyError(f"a public key has {self.suite.key_size} bytes, not {len(public_key)}")
        if public_key not in self._peers and public_key != self.public_key:
            peer = self._peers[public_key] = Peer(self.suite, public_key)
            peer.set_static_static(self.noise.static_static(public_key))

    def remove_peer(self, public_key: bytes) -> list[Effect]:
        """The plane's part of the peer is the driver's to remove."""
        peer = self._peers.pop(public_key, None)
        if peer is not None:
            self._forget_sessions(peer, [])
            self.timers.forget(public_key)
            self.timestamp_floor = max(self.timestamp_floor, peer.last_stamp)
            peer.wipe()
        return []

    def set_preshared_key(self, peer: bytes, psk: bytes | None, now: Instant) -> list[Effect]:
        """Takes part in the next response, sent or received. None or zeros: none."""
        if psk is not None and len(psk) != self.suite.key_size:
            raise WgpyError(f"a preshared key has {self.suite.key_size} bytes, not {len(psk)}")
        if peer in self._peers:
            self._peers[peer].preshared_key = psk
        return []

    def set_keepalive(self, peer: bytes, seconds: int, now: Instant) -> list[Effect]:
        """0 (off) to 65535 s; a peer that had none gets a keepalive at once."""
        if not 0 <= seconds <= MAX_KEEPALIVE:
            raise WgpyError(f"a keepalive interval is 0 to {MAX_KEEPALIVE} s, not {seconds}")
        known = self._peers.get(peer)
        if known is None:
            return []
        before, known.keepalive = known.keepalive, seconds
        if not self.up:
            return []
        self._arm_persistent(known, now)
        return [SendKeepalive(peer)] if seconds and not before else []

    @property
    def greatest_stamp(self) -> int:
        """CLOCK_REALTIME ns of the latest stamp that an initiation of ours bore, or the
        floor."""
        return max(self.timestamp_floor, *(p.last_stamp for p in self._peers.values()), 0)

    # interface

    def start(self, now: Instant) -> list[Effect]:
        """Up: peers with a persistent keepalive get one, wanted handshakes begin."""
        out: list[Effect] = []
        self.up = True
        for peer in self._peers.values():
            if peer.keepalive:
                out.append(SendKeepalive(peer.public_key))
                self._arm_persistent(peer, now)
            if peer.state is State.WAITING:
                self.handshakes.want(peer, now, out)
        return out

    def stop(self, now: Instant) -> list[Effect]:
        """Down: handshakes, sessions and waiting packets are forgotten."""
        out: list[Effect] = []
        self.up = False
        for peer in self._peers.values():
            self._forget_sessions(peer, out)
            out.append(PurgeStaged(peer.public_key))
            self.timers.forget(peer.public_key)
            peer.held = notices.DATA_SENT | notices.DATA_RECEIVED
        return out

    def reconnect(self, peer: bytes, now: Instant) -> list[Effect]:
        """Asks for a new session at once, as when an interface comes up: what was sent
        before may have been lost with the path, so the 5 s rule starts anew."""
        out: list[Effect] = []
        known = self._peers.get(peer)
        if known is not None:
            self.handshakes.fire(known, Trigger.FORGOTTEN, now, out)
            known.handshake_sent = NEVER
            self.handshakes.want(known, now, out)
        return out

    # events

    def receive(self, datagram: bytes, source: Endpoint, now: Instant) -> list[Effect]:
        """A message of type 1, 2 or 3 that the plane has admitted: nobody looks at its MACs
        any more."""
        return self._inbound.receive(datagram, source, now)

    def notice(self, peer: bytes, bits: int, now: Instant) -> list[Effect]:
        """Bits of wgpy.notices from the plane."""
        out: list[Effect] = []
        known = self._peers.get(peer)
        if known is not None and (self.up or bits & notices.KEY_NEEDED):
            self.upkeep.notice(known, bits if self.up else notices.KEY_NEEDED, now, out)
        return out

    def deadline(self) -> Deadline | None:
        """The earliest; tick() is to be called when it has come."""
        return self.timers.earliest()

    def due(self, now: Instant) -> list[bytes]:
        """Peers whose Activity tick() will want."""
        return list({d.peer: None for d in self.timers.due(now.mono) if d.reason in WANT_ACTIVITY})

    def tick(self, now: Instant, activity: Mapping[bytes, Activity]) -> list[Effect]:
        """Everything that has come due; what lacks its Activity stays due."""
        out: list[Effect] = []
        for at, key, reason in sorted(self.timers.due(now.mono), key=lambda d: d.at):
            if self.timers.at(key, reason) != at:
                continue
            if reason in WANT_ACTIVITY:
                if key in activity:
                    self.timers.disarm(key, reason)
                    self.upkeep.activity(reason, self._peers[key], activity[key], now, out)
                continue
            self.timers.disarm(key, reason)
            self._expired(reason, key, now, out)
        return out

    def _expired(self, reason: Reason, key: bytes | None, now: Instant, out: list[Effect]) -> None:
        peer = self._peers[key]
        if reason is Reason.INITIATE:
            self.handshakes.want(peer, now, out)
        elif reason is Reason.RETRANSMIT:
            self.handshakes.overdue(peer, now, out)
        elif reason is Reason.EXPIRE_KEYPAIR:
            self.upkeep.expire(peer, now, out)
        elif reason is Reason.WIPE_KEYS:
            out.append(WipeKeypairs(key))

    def live_indices(self, peer: bytes, indices: list[int]) -> None:
        """What keypairs the plane holds for the peer: the other indices are free again.
        The newest keypair may not have been installed yet."""
        known = self._peers.get(peer)
        if known is None:
            return
        if known.unreported in indices:
            known.unreported = None
        for index in [i for i in known.expiry if i not in indices and i != known.unreported]:
            del known.expiry[index]
            self.indices.free(index)
        self.upkeep.arm_expiry(known)

    # for the parts of the core

    def find(self, public_key: bytes) -> Peer | None:
        return self._peers.get(public_key)

    def count(self, reason: str) -> None:
        self.rejects[reason] += 1

    def reject(self, reason: str, peer: Peer | None, out: list[Effect]) -> None:
        """A message that knew our public key, or a peer's, and still was no good."""
        self.rejects[reason] += 1
        out.append(Event("rejected", peer.public_key if peer else None, reason))

    def install(self, peer: Peer, index: int, remote_index: int, initiator: bool, keys: SessionKeys,
                now: Instant, out: list[Effect]) -> None:
        key = peer.public_key
        peer.expiry[index] = now.mono + REJECT_AFTER_TIME
        peer.unreported = index
        self.upkeep.arm_expiry(peer)
        self.timers.arm(key, Reason.WIPE_KEYS, now.mono + WIPE_AFTER_TIME)
        out.append(InstallKeypair(key, index, remote_index, initiator, keys.send, keys.receive))
        if peer.held:
            out.append(Rearm(key, peer.held))
            peer.held = 0

    def _arm_persistent(self, peer: Peer, now: Instant) -> None:
        if peer.keepalive:
            self.timers.arm(peer.public_key, Reason.PERSISTENT_KEEPALIVE,
                            now.mono + peer.keepalive * SECOND)
        else:
            self.timers.disarm(peer.public_key, Reason.PERSISTENT_KEEPALIVE)

    def _forget_sessions(self, peer: Peer, out: list[Effect]) -> None:
        """As if there had never been a handshake; the 5 s rule starts anew too."""
        self.handshakes.fire(peer, Trigger.FORGOTTEN, None, out)
        for index in peer.expiry:
            self.indices.free(index)
        peer.expiry.clear()
        peer.unreported = None
        peer.usable_since = peer.handshake_sent = NEVER
        self.timers.disarm(peer.public_key, Reason.EXPIRE_KEYPAIR, Reason.WIPE_KEYS)
        out.append(WipeKeypairs(peer.public_key))
