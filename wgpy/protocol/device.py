"""The protocol core: handshakes, cookies of peers, indices and timers of one interface. Bytes,
notices, times and entropy in; effects out. It owns no clock, socket or key of a session: the
plane holds the keypairs that it is told to install.

Its driver carries out the effects of a call in order, then reports with freed() the indices
that the plane let go because of them, and only then makes the next call.

Device is the façade; below it lie, each on what stands before it:
    core         peers, indices, timers, limits and counts
    handshake    our own initiations: a state machine in a table
    sessions     keypairs from their installation to their end
    inbound      the peer's messages      upkeep  the plane's notices      deadlines  the timers
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from wgpy import notices
from wgpy.constants import SECOND
from wgpy.errors import WgpyError
from wgpy.events import Reject
from wgpy.notices import Activity, Endpoint
from wgpy.protocol.core import Core
from wgpy.protocol.deadlines import Deadlines
from wgpy.protocol.effects import Effect, PurgeStaged, SendKeepalive, SetPublicKey
from wgpy.protocol.handshake import Handshakes, Trigger
from wgpy.protocol.inbound import Inbound
from wgpy.protocol.indices import IndexTable
from wgpy.protocol.peer import NEVER, Peer, State
from wgpy.protocol.sessions import Sessions
from wgpy.protocol.timers import Deadline, Instant, Reason
from wgpy.protocol.upkeep import Upkeep
from wgpy.suite import PSK_SIZE, Suite

__all__ = ["Deadline", "Device", "Instant", "Peer", "Reason"]

MAX_KEEPALIVE = 65535


class Device:
    """`entropy(n)` gives n unpredictable bytes. Until start() the interface is down:
    messages are refused and nothing is sent."""

    def __init__(self, suite: Suite, entropy: Callable[[int], bytes]):
        core = self._core = Core(suite, entropy)
        self._handshakes, self._sessions = Handshakes(core), Sessions(core)
        parts = core, self._handshakes, self._sessions
        self._inbound, self._upkeep, self._deadlines = Inbound(*parts), Upkeep(*parts), Deadlines(*parts)
        self._peers = MappingProxyType(core.peers)

    # for reading

    @property
    def peers(self) -> Mapping[bytes, Peer]:
        """By public key, for reading; add_peer() and remove_peer() change it."""
        return self._peers

    @property
    def rejects(self) -> Counter[Reject]:
        """Refused messages by reason."""
        return self._core.rejects

    @property
    def indices(self) -> IndexTable[Peer]:
        """Of handshakes in flight and of keypairs, for tests and metrics."""
        return self._core.indices

    # configuration

    @property
    def suite(self) -> Suite:
        """That of every peer of the interface."""
        return self._core.suite

    @property
    def public_key(self) -> bytes | None:
        """Ours; None without a private key."""
        return self._core.noise.public

    def set_private_key(self, key: bytes | None, now: Instant) -> list[Effect]:
        """Ends all sessions and handshakes: they belong to the old key. None or zeros
        clear it. A peer that has our own public key is dropped, as the Linux module
        does. Raises WgpyError for a key of another size, or that is none."""
        if key is not None and len(key) != self.suite.private_size:
            raise WgpyError(f"a private key has {self.suite.private_size} bytes, not {len(key)}")
        noise = self._core.noise
        noise.set_private_key(key if key and any(key) else None)
        if noise.public is not None:
            self.remove_peer(noise.public)
        out: list[Effect] = [SetPublicKey(noise.public)]
        for peer in self.peers.values():
            wanted = peer.state is not State.IDLE
            peer.set_static_static(noise.static_static(peer.public_key))
            self._forget(peer, out)
            if wanted:
                self._handshakes.want(peer, now, out)
        return out

    def add_peer(self, public_key: bytes) -> None:
        """No-op for a peer that exists and, as in the Linux module, for our own key.
        Raises WgpyError for a key of another size."""
        if len(public_key) != self.suite.public_size:
            raise WgpyError(f"a public key has {self.suite.public_size} bytes, not {len(public_key)}")
        if public_key not in self.peers and public_key != self.public_key:
            peer = self._core.peers[public_key] = Peer(self.suite, public_key)
            peer.set_static_static(self._core.noise.static_static(public_key))

    def remove_peer(self, public_key: bytes) -> list[Effect]:
        """The plane's part of the peer is the driver's to remove."""
        peer = self._core.peers.pop(public_key, None)
        if peer is not None:
            self._forget(peer, [])
            self._core.timers.forget(public_key)
            self.timestamp_floor = max(self.timestamp_floor, peer.last_stamp)
            peer.wipe()
        return []

    def set_preshared_key(self, peer: bytes, psk: bytes | bytearray | None, now: Instant) -> list[Effect]:
        """Takes part in the next response, sent or received. None or zeros: none."""
        if psk is not None and len(psk) != PSK_SIZE:
            raise WgpyError(f"a preshared key has {PSK_SIZE} bytes, not {len(psk)}")
        if peer in self.peers:
            self.peers[peer].preshared_key = psk
        return []

    def set_keepalive(self, peer: bytes, seconds: int, now: Instant) -> list[Effect]:
        """0 (off) to 65535 s; a peer that had none gets a keepalive at once."""
        if not 0 <= seconds <= MAX_KEEPALIVE:
            raise WgpyError(f"a keepalive interval is 0 to {MAX_KEEPALIVE} s, not {seconds}")
        known = self.peers.get(peer)
        if known is None:
            return []
        before, known.keepalive = known.keepalive, seconds
        if not self.up:
            return []
        self._arm_persistent(known, now)
        return [SendKeepalive(peer)] if seconds and not before else []

    @property
    def timestamp_floor(self) -> int:
        """CLOCK_REALTIME ns: our initiations are stamped later than it. A node whose clock
        may lose the time saves greatest_stamp and sets this from it before start()."""
        return self._core.timestamp_floor

    @timestamp_floor.setter
    def timestamp_floor(self, floor: int) -> None:
        self._core.timestamp_floor = floor

    @property
    def greatest_stamp(self) -> int:
        """CLOCK_REALTIME ns of the latest stamp that an initiation of ours bore, or the
        floor."""
        return max(self.timestamp_floor, *(p.last_stamp for p in self.peers.values()), 0)

    # interface

    @property
    def up(self) -> bool:
        """Between start() and stop()."""
        return self._core.up

    def start(self, now: Instant) -> list[Effect]:
        """Up: peers with a persistent keepalive get one, wanted handshakes begin."""
        out: list[Effect] = []
        self._core.up = True
        for peer in self.peers.values():
            if peer.keepalive:
                out.append(SendKeepalive(peer.public_key))
                self._arm_persistent(peer, now)
            if peer.state is State.WAITING:
                self._handshakes.want(peer, now, out)
        return out

    def stop(self, now: Instant) -> list[Effect]:
        """Down: handshakes, sessions and waiting packets are forgotten."""
        out: list[Effect] = []
        self._core.up = False
        for peer in self.peers.values():
            self._forget(peer, out)
            out.append(PurgeStaged(peer.public_key))
            self._core.timers.forget(peer.public_key)
            peer.held = notices.DATA_SENT | notices.DATA_RECEIVED
        return out

    def reconnect(self, peer: bytes, now: Instant) -> list[Effect]:
        """Asks for a new session at once, as when an interface comes up: what was sent
        before may have been lost with the path, so the 5 s rule starts anew."""
        out: list[Effect] = []
        known = self.peers.get(peer)
        if known is not None:
            self._handshakes.fire(known, Trigger.FORGOTTEN, now, out)
            known.handshake_sent = NEVER
            self._handshakes.want(known, now, out)
        return out

    # events

    def receive(self, datagram: bytes, source: Endpoint, now: Instant) -> list[Effect]:
        """A message of type 1, 2 or 3 that the plane has admitted: nobody looks at its MACs
        any more."""
        return self._inbound.receive(datagram, source, now)

    def notice(self, peer: bytes, bits: int, now: Instant, promoted: int | None = None) -> list[Effect]:
        """Bits of wgpy.notices from the plane; `promoted`: with CONFIRMED, the local index of
        the keypair that became current."""
        out: list[Effect] = []
        known = self.peers.get(peer)
        if known is not None and (self.up or bits & notices.KEY_NEEDED):
            self._upkeep.notice(known, bits if self.up else notices.KEY_NEEDED, promoted, now, out)
        return out

    def freed(self, peer: bytes, indices: Iterable[int]) -> None:
        """The plane has let go of the keypairs with these local indices: it answers so when
        keypairs are installed, expired or wiped."""
        known = self.peers.get(peer)
        if known is not None:
            self._sessions.freed(known, indices)

    def deadline(self) -> Deadline | None:
        """The earliest; tick() is to be called when it has come."""
        return self._core.timers.earliest()

    def due(self, now: Instant) -> list[bytes]:
        """Peers whose Activity tick() will want."""
        return self._deadlines.due(now)

    def tick(self, now: Instant, activity: Mapping[bytes, Activity]) -> list[Effect]:
        """Everything that has come due; what lacks its Activity stays due."""
        return self._deadlines.tick(now, activity)

    def _arm_persistent(self, peer: Peer, now: Instant) -> None:
        if peer.keepalive:
            self._core.timers.arm(peer.public_key, Reason.PERSISTENT_KEEPALIVE,
                                  now.mono + peer.keepalive * SECOND)
        else:
            self._core.timers.disarm(peer.public_key, Reason.PERSISTENT_KEEPALIVE)

    def _forget(self, peer: Peer, out: list[Effect]) -> None:
        """As if there had never been a handshake."""
        self._handshakes.fire(peer, Trigger.FORGOTTEN, None, out)
        self._sessions.forget(peer, out)
