"""Drives the protocol core and the plane: notices up, effects down, configuration in.

Knows no event loop: its owner calls on_notices() when plane.notice_fd is readable and
on_deadline() when next_deadline() has passed. One turn takes a bounded number of
handshake messages, so that a flood of them starves neither timers nor UAPI (F3).
"""

import socket
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from wgpy.config.model import NO_KEY, DeviceState, HostPort, KeySizes, PeerChange, PeerState, Prefix, SetRequest, SuiteState
from wgpy.config.values import quoted
from wgpy.constants import PLANE_PEERS, PLANE_PREFIXES, SECOND
from wgpy.crypto.apply import Applier
from wgpy.crypto.clock import now as read_clock
from wgpy.errors import LimitError, WgpyError
from wgpy.events import Kind
from wgpy.notices import Endpoint, PeerStats
from wgpy.protocol.effects import Effect, Event, SetEndpoint
from wgpy.protocol.interface import Plane, ProtocolCore
from wgpy.protocol.messages import Layout
from wgpy.protocol.peer import NEVER, Peer, State
from wgpy.protocol.timers import Instant

HANDSHAKES_A_TURN = 32
ROAM_PAUSE = SECOND // 2  # a change of network comes as a burst of events
# What waited for a path may be sent at once with what followed: a peer answers the first
# initiation, which is forgotten here, and refuses the next within 20 ms. Longer than the
# second in which the kernel looks for a neighbour again.
ASK_AGAIN = SECOND + SECOND // 4


class Inspected(NamedTuple):
    """What may be known of one peer."""
    peer: Peer
    stats: PeerStats
    endpoint: Endpoint | None
    sessions: list[int]  # local indices
    events: Mapping[str, int]  # what happened with it, counted


class Engine:
    """`clock()` gives Instants; the limits are those the plane was made with."""

    def __init__(self, device: ProtocolCore, plane: Plane, *, clock: Callable[[], Instant] = read_clock,
                 max_peers: int = PLANE_PEERS, max_prefixes: int = PLANE_PREFIXES):
        self.device, self.plane, self._clock = device, plane, clock
        self._max_peers, self._max_prefixes = max_peers, max_prefixes
        self._private_key = NO_KEY
        self._slots: dict[bytes, int] = {}
        self._keys: dict[int, bytes] = {}
        self._applier = Applier(plane, self._slots)
        self._roam_at: int | None = None
        self._again_at: int | None = None
        self._load_at: int | None = None  # when to look again, while under load

    def before_initiation(self, call: Callable[[int], None]) -> None:
        """`call(greatest stamp)` comes before each initiation of ours leaves."""
        self._applier.before_initiation = lambda: call(self.device.greatest_stamp)

    def before_response(self, call: Callable[[bytes, bytes], None]) -> None:
        """`call(peer's key, its greatest stamp)` comes before each response leaves."""
        self._applier.before_response = lambda key: call(key, self.device.peers[key].greatest_timestamp)

    # the loop's side

    def on_notices(self) -> None:
        """Takes all notices and some handshake messages; the rest keeps notice_fd
        readable."""
        now = self._clock()
        for slot, bits, promoted in self.plane.notices():
            peer = self._keys.get(slot)
            if peer is not None:
                self._run(self.device.notice(peer, bits, now, promoted), now)
        for datagram, source in self.plane.handshakes(HANDSHAKES_A_TURN):
            effects = self.device.receive(datagram, source, now)
            for effect in effects:  # it was authentic: count it as wg(8) does
                if isinstance(effect, SetEndpoint) and effect.peer in self._slots:
                    self.plane.received(self._slots[effect.peer], len(datagram))
            self._run(effects, now)
        self._look_at_load(now)

    def next_deadline(self) -> int | None:
        """CLOCK_BOOTTIME, ns."""
        deadline = self.device.deadline()
        times = [t for t in (self._roam_at, self._again_at, self._load_at, deadline and deadline[0]) if t is not None]
        return min(times, default=None)

    def on_deadline(self) -> None:
        """What is due by now, of the core's deadlines and of the engine's own."""
        now = self._clock()
        due = [peer for peer in self.device.due(now) if peer in self._slots]
        activity = {peer: self.plane.activity(self._slots[peer]) for peer in due}
        self._run(self.device.tick(now, activity), now)
        if self._roam_at is not None and self._roam_at <= now.mono:
            self._roam_at = None
            self._greet(now.mono)
        if self._again_at is not None and self._again_at <= now.mono:
            self._again_at = None
            self._reconnect(lambda peer, slot: self.device.peers[peer].state is not State.IDLE)
        if self._load_at is not None and self._load_at <= now.mono:
            self._look_at_load(now)

    def _look_at_load(self, now: Instant) -> None:
        loaded = self.plane.under_load(now.mono)
        if loaded != (self._load_at is not None):
            self._run([Event(Kind.UNDER_LOAD if loaded else Kind.LOAD_OVER)], now)
        self._load_at = now.mono + SECOND if loaded else None

    def start(self) -> None:
        """The interface came up."""
        now = self._clock()
        self._run(self.device.start(now), now)

    def stop(self) -> None:
        """The interface went down: sessions end, configuration stays."""
        now = self._clock()
        self._again_at = None
        self._run(self.device.stop(now), now)

    def connect(self) -> None:
        """Asks every peer whose endpoint is known for a session, and once more after
        ASK_AGAIN who has not answered by then."""
        self._reconnect(lambda peer, slot: True)
        self._again_at = self._clock().mono + ASK_AGAIN

    def revive(self) -> None:
        """The way to the peers was interrupted and is back. What it may have cost is asked
        for again without waiting for timers: handshakes in flight, and sessions over which
        data was sent and nothing heard since, for a quarter of a second; and once more after
        ASK_AGAIN."""
        since = self._clock().mono - SECOND // 4

        def suspect(peer: bytes, slot: int) -> bool:
            known = self.device.peers[peer]
            if known.state is not State.IDLE:
                return known.handshake_sent < since
            return 0 < self.plane.activity(slot).unanswered_since < since
        self._reconnect(suspect)
        self._again_at = self._clock().mono + ASK_AGAIN

    def _reconnect(self, wanted: Callable[[bytes, int], bool]) -> None:
        now = self._clock()
        for peer, slot in self._slots.items():
            if self.plane.endpoint(slot) is not None and wanted(peer, slot):
                self._run(self.device.reconnect(peer, now), now)

    def network_changed(self, moved: bool) -> None:
        """Routes or addresses of the host changed: sticky sources may be wrong. `moved`:
        peers may be sending to where we no longer are. ROAM_PAUSE after the first such
        change each peer with a session gets one keepalive, from which it learns our new
        place even if we only receive (F4)."""
        for slot in self._slots.values():
            self.plane.clear_source(slot)
        if moved and self._roam_at is None:
            self._roam_at = self._clock().mono + ROAM_PAUSE

    def _greet(self, now: int) -> None:
        """Without a keypair to send with, a keepalive would ask for a handshake."""
        for key, slot in self._slots.items():
            peer = self.device.peers[key]
            if peer.usable_since != NEVER and any(at > now for at in peer.expiry.values()):
                self.plane.keepalive(slot)

    # configuration

    def check(self, request: SetRequest) -> None:
        """Raises WgpyError when apply(request) could not be carried out whole."""
        self._check_keys(request)
        kept = set() if request.replace_peers else set(self._slots)
        added = 0
        for peer in request.peers:
            if peer.remove:
                kept.discard(peer.public_key)
            elif not peer.update_only:
                kept.add(peer.public_key)
            added += sum(not change.remove for change in peer.allowed_ips)
            if peer.endpoint is not None and "%" in peer.endpoint.host:
                _check_scope(peer.endpoint)
        if len(kept) > self._max_peers:
            raise LimitError(f"more than {self._max_peers} peers")
        if added:
            old = 0 if request.replace_peers else self.plane.prefix_count
            if old + added > self._max_prefixes:
                raise LimitError(f"more than {self._max_prefixes} allowed IPs")

    def _check_keys(self, request: SetRequest) -> None:
        suite, key = self.device.suite, request.private_key
        if key not in (None, NO_KEY) and (len(key) != suite.private_size or suite.public(suite.clamp(key)) is None):
            raise WgpyError(f"not a private key of suite {suite.name}, which has {suite.private_size} bytes")
        if any(len(peer.public_key) != suite.public_size for peer in request.peers):
            raise WgpyError(f"a public key of suite {suite.name} has {suite.public_size} bytes")

    def apply(self, request: SetRequest) -> None:
        """Carries out a checked request; listen_port and fwmark belong to the owner of
        the sockets."""
        now = self._clock()
        if request.private_key is not None:
            self._set_private_key(request.private_key, now)
        if request.replace_peers:
            self._remove_all()
        # asked once: to find what one peer holds, the plane looks at what all hold
        several = sum(change.replace_allowed_ips for change in request.peers) > 1
        held = self.plane.prefixes() if several and self._slots else {}
        for change in request.peers:
            if change.public_key != self.device.public_key:
                self._change_peer(change, held, now)

    @property
    def key_sizes(self) -> KeySizes:
        """Of the suite."""
        return KeySizes(self.device.suite.private_size, self.device.suite.public_size)

    def describe(self, listen_port: int = 0, fwmark: int = 0) -> DeviceState:
        """With what the owner of the sockets knows; bytes and handshakes are as of now."""
        held = self.plane.prefixes()
        return DeviceState(self._private_key, listen_port, fwmark,
                           tuple(self._describe_peer(k, s, held.get(s, ())) for k, s in self._slots.items()),
                           self._suite_state())

    def _suite_state(self) -> SuiteState | None:
        suite = self.device.suite
        return None if suite.table is None else SuiteState(suite.name, self.device.public_key)

    def metrics(self) -> dict[str, int | str]:
        """Counts since the start: `event_…` (wgpy.events), `reject_…` and `drop_…` by
        reason."""
        out: dict[str, int | str] = {"suite": self.device.suite.name, "overhead": Layout(self.device.suite).overhead,
                                      "aead": self.plane.aead, "peers": len(self._slots)}
        out |= {f"event_{k}": n for k, n in self._applier.events.items()}
        out |= {f"reject_{k}": n for k, n in self.device.rejects.items()}
        out |= {f"drop_{k}": n for k, n in self.plane.drops().items()}
        return out

    def loads(self) -> list[int]:
        """How often load began, and was over."""
        return [self._applier.events[kind] for kind in (Kind.UNDER_LOAD, Kind.LOAD_OVER)]

    def inspect(self) -> list[Inspected]:
        """Of each peer."""
        return [Inspected(self.device.peers[key], self.plane.stats(slot), self.plane.endpoint(slot),
                          self.plane.live_indices(slot), self._applier.of_peer.get(key, {}))
                for key, slot in self._slots.items()]

    def _set_private_key(self, key: bytes, now: Instant) -> None:
        if key != NO_KEY:
            key = self.device.suite.clamp(key)
        if key == self._private_key:
            return
        self._private_key = key
        self._run(self.device.set_private_key(None if key == NO_KEY else key, now), now)
        if self.device.public_key in self._slots:
            self._remove(self.device.public_key)

    def _change_peer(self, change: PeerChange, held: dict[int, list[tuple[bytes, int]]], now: Instant) -> None:
        """`held`: what present peers that were not changed yet hold, as far as it is known."""
        key, added = change.public_key, False
        if change.remove:
            if key in self._slots:
                held.pop(self._slots[key], None)
                self._remove(key)
            return
        if key not in self._slots:
            if change.update_only:
                return
            self._add(key)
            added = True
        slot = self._slots[key]
        if change.preshared_key is not None:
            self._run(self.device.set_preshared_key(key, change.preshared_key, now), now)
        if change.endpoint is not None:
            self.plane.set_endpoint(slot, Endpoint(*change.endpoint))
        if change.replace_allowed_ips and not added:
            self._withdraw(slot, change, held.pop(slot, None))
        for (address, cidr), remove in change.allowed_ips:
            (self.plane.disallow if remove else self.plane.allow)(slot, address, cidr)
        if change.keepalive is not None:
            self._run(self.device.set_keepalive(key, change.keepalive, now), now)

    def _withdraw(self, slot: int, change: PeerChange, held: list[tuple[bytes, int]] | None) -> None:
        if held is None:
            return self.plane.disallow_all(slot)
        wanted = {(address, cidr) for (address, cidr), _ in change.allowed_ips}
        for prefix in held:
            if prefix not in wanted:
                self.plane.disallow(slot, *prefix)

    def _remove_all(self) -> None:
        """A peer that holds no prefix is removed without a look at those of the others."""
        for slot, held in self.plane.prefixes().items():
            for prefix in held:
                self.plane.disallow(slot, *prefix)
        for peer in list(self._slots):
            self._remove(peer)

    def _add(self, key: bytes) -> None:
        slot = self.plane.add_peer()
        self._slots[key], self._keys[slot] = slot, key
        self.device.add_peer(key)

    def _remove(self, key: bytes) -> None:
        """The plane goes first: afterwards no pump uses the slot any more."""
        slot = self._slots.pop(key)
        del self._keys[slot]
        self._applier.of_peer.pop(key, None)
        self.plane.remove_peer(slot)
        self.device.remove_peer(key)

    def _describe_peer(self, key: bytes, slot: int, held: Iterable[tuple[bytes, int]]) -> PeerState:
        peer, stats, where = self.device.peers[key], self.plane.stats(slot), self.plane.endpoint(slot)
        return PeerState(
            key, peer.preshared_key,
            None if where is None else HostPort(where[0], where[1]), peer.keepalive,
            tuple(Prefix(a, c) for a, c in held),
            peer.last_handshake, stats.rx_bytes, stats.tx_bytes)

    def _run(self, effects: Iterable[Effect], now: Instant) -> None:
        """Carries them out; only then the core hears what the plane let go."""
        for peer, indices in self._applier.run(effects, now):
            self.device.freed(peer, indices)


def _check_scope(endpoint: HostPort) -> None:
    try:
        socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_DGRAM,
                           flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
    except OSError:
        raise WgpyError(f"endpoint {quoted(endpoint.host)}: no such interface") from None
