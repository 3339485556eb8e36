"""The data plane in pure Python: the executable specification of wgpy._fast.plane, with the
same interface (wgpy.protocol.interface), for the simulator and for differential tests. Naive
but exact.

Where the C plane has pumps, this one has seal(), open() and pull() of its own; each
takes the time that a pump would have stamped. It sends no ICMP.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

from wgpy import notices
from wgpy.constants import (
    ANSWERS,
    DEFAULT_MTU,
    HANDSHAKE_TOS,
    PLANE_PEERS,
    PLANE_PREFIXES,
    REKEY_TIMEOUT,
    STAGED_PACKETS,
)
from wgpy.errors import WgpyError
from wgpy.notices import Activity, Endpoint, Notice, PeerStats
from wgpy.protocol import inner, interface, loops, messages
from wgpy.protocol.admission import Admission, Message
from wgpy.protocol.inner import AllowedIPs
from wgpy.protocol.keypairs import Keypair
from wgpy.protocol.plane_peer import PlanePeer
from wgpy.suite import Suite, get

_KEEPALIVE, _FLUSH = 1, 2


class Sent(NamedTuple):
    """A datagram that leaves: `slot` is None for a cookie reply, `tos` the whole DS field."""
    slot: int | None
    endpoint: Endpoint
    datagram: bytes
    tos: int


class Plane(interface.Plane):
    """What each method of the interface does stands there."""

    notice_fd = -1
    aead = "python"

    def __init__(self, *, entropy: Callable[[int], bytes], max_peers: int = PLANE_PEERS,
                 max_prefixes: int = PLANE_PREFIXES, queues: int = 1, aead: str | None = None, suite: Suite | None = None,
                 mtu: int = DEFAULT_MTU) -> None:
        self._suite = suite or get()
        self._layout = messages.Layout(self._suite)
        if aead not in (None, "auto", self.aead):
            raise ValueError(f"no AEAD {aead!r}")
        self.mtu, self._max_peers = mtu, max_peers
        self._peers: dict[int, PlanePeer] = {}
        self._index: dict[int, tuple[int, Keypair]] = {}
        self._ips = AllowedIPs(max_prefixes)
        self._notices: dict[int, int] = {}
        self._admission = Admission(self._suite, entropy)
        self._lane: deque[tuple[bytes, int | None, Endpoint | None, int]] = deque()
        self._drops: Counter[str] = Counter()

    def set_public_key(self, key: bytes | None) -> None:
        self._admission.checker.set_public_key(key)

    # peers

    def add_peer(self) -> int:
        slot = next((s for s in range(self._max_peers) if s not in self._peers), None)
        if slot is None:
            raise WgpyError(f"more than {self._max_peers} peers")
        self._peers[slot] = PlanePeer()
        return slot

    def remove_peer(self, slot: int) -> None:
        self.wipe(slot)
        self.purge(slot)
        kept = deque(e for e in self._lane if e[1] != slot)
        self._drops["staged_purged"] += len(self._lane) - len(kept)
        self._lane = kept
        self._ips.remove_owner(slot)
        self._notices.pop(slot, None)
        del self._peers[slot]

    def set_endpoint(self, slot: int, endpoint: Endpoint | None) -> None:
        self._peers[slot].endpoint = endpoint
        if endpoint is not None:
            self._admission.know(endpoint)

    def endpoint(self, slot: int) -> Endpoint | None:
        return self._peers[slot].endpoint

    def clear_source(self, slot: int) -> None:
        peer = self._peers[slot]
        if peer.endpoint:
            peer.endpoint = peer.endpoint._replace(source="", ifindex=0)

    def allow(self, slot: int, address: bytes, cidr: int) -> None:
        self._ips.insert(address, cidr, slot)

    def disallow(self, slot: int, address: bytes, cidr: int) -> None:
        self._ips.remove(address, cidr, slot)

    def disallow_all(self, slot: int) -> None:
        self._ips.remove_owner(slot)

    def prefixes(self) -> dict[int, list[tuple[bytes, int]]]:
        return {slot: held for slot in self._peers if (held := self._ips.of(slot))}

    @property
    def prefix_count(self) -> int:
        return len(self._ips)

    # keypairs

    def install(self, slot: int, *, local_index: int, remote_index: int, send_key: bytes | bytearray,
                receive_key: bytes | bytearray, initiator: bool, now: int) -> list[int]:
        peer = self._peers[slot]
        new = Keypair(local_index, remote_index, initiator, send_key, receive_key, now)
        freed = self._destroy(peer, peer.keys.add(new))
        self._index[local_index] = slot, new
        peer.asked = None
        if peer.awaited == local_index:
            peer.awaited = None
        # the handshake was heard from the peer and answered
        peer.unanswered_since = peer.unacknowledged_since = 0
        return freed

    def live_indices(self, slot: int) -> list[int]:
        return [k.local for k in self._peers[slot].keys.live()]

    def expire(self, slot: int, now: int) -> list[int]:
        peer = self._peers[slot]
        return self._destroy(peer, [k for k in peer.keys.live() if k.expired(now)])

    def wipe(self, slot: int) -> list[int]:
        peer = self._peers[slot]
        return self._destroy(peer, peer.keys.live())

    def _destroy(self, peer: PlanePeer, keypairs: list[Keypair]) -> list[int]:
        """Answers which indices are free."""
        for keypair in keypairs:
            peer.keys.remove(keypair)
            del self._index[keypair.local]
            keypair.wipe()
        return [keypair.local for keypair in keypairs]

    # effects down, carried out by pull()

    def keepalive(self, slot: int) -> None:
        self._peers[slot].wants |= _KEEPALIVE

    def flush(self, slot: int) -> None:
        self._peers[slot].wants |= _FLUSH

    def purge(self, slot: int) -> int:
        peer = self._peers[slot]
        count = len(peer.staged)
        peer.staged.clear()
        peer.asked = None
        self._drops["staged_purged"] += count
        return count

    def send(self, datagram: bytes, *, slot: int | None = None, endpoint: Endpoint | None = None,
             tos: int = HANDSHAKE_TOS) -> None:
        self._lane.append((bytes(datagram), slot, endpoint, tos))
        if slot is not None:
            self._peers[slot].tx_bytes += len(datagram)

    def received(self, slot: int, octets: int) -> None:
        self._peers[slot].rx_bytes += octets

    def await_response(self, slot: int, index: int | None) -> None:
        self._peers[slot].awaited, self._peers[slot].answers = index, ANSWERS

    # notices up

    def notices(self) -> list[Notice]:
        raised, self._notices = self._notices, {}
        return [Notice(slot, bits, self._peers[slot].promoted if bits & notices.CONFIRMED else None)
                for slot, bits in raised.items()]

    def handshakes(self, limit: int = 64) -> list[tuple[bytes, Endpoint]]:
        return [(m.datagram, m.source) for m in self._admission.take(limit)]

    @property
    def handshake_depth(self) -> int:
        return len(self._admission.handshakes) + len(self._admission.cookies)

    def under_load(self, now: int) -> bool:
        return self._admission.load.lasts(now)

    def activity(self, slot: int) -> Activity:
        p = self._peers[slot]
        return Activity(p.unanswered_since, p.unacknowledged_since, p.last_data_received,
                        p.last_received, p.last_sent)

    def rearm(self, slot: int, bits: int) -> None:
        peer = self._peers[slot]
        peer.armed &= ~bits
        if peer.unanswered_since:
            self._raise_once(slot, bits & notices.DATA_SENT)
        if peer.unacknowledged_since:
            self._raise_once(slot, bits & notices.DATA_RECEIVED)

    def stats(self, slot: int) -> PeerStats:
        p = self._peers[slot]
        return PeerStats(p.rx_bytes, p.tx_bytes, p.rx_packets, p.tx_packets, len(p.staged))

    def drops(self) -> dict[str, int]:
        return dict(self._drops)

    # the stages

    def seal(self, packet: bytes, now: int) -> list[Sent]:
        """One IP packet from the TUN; returns the datagrams that leave because of it."""
        ip = inner.parse(packet)
        if ip is None or ip.total > len(packet):
            self._drops["malformed_ip"] += 1
            return []
        slot = self._ips.lookup(ip.destination)
        if loops.closes(packet, self._peers, slot, now):
            self._drops["routing_loop"] += 1
            return []
        if slot is None:
            self._drops["no_peer"] += 1
            return []
        peer = self._peers[slot]
        if peer.endpoint is None:
            self._drops["no_endpoint"] += 1
            return []
        if len(peer.staged) == STAGED_PACKETS:
            peer.staged.popleft()
            self._drops["staged_oldest"] += 1
        peer.staged.append(bytes(packet))
        return self._resume(slot, peer, now)

    def pull(self, now: int) -> list[Sent]:
        """What was asked for with send, keepalive and flush."""
        out = []
        while self._lane:
            datagram, slot, endpoint, tos = self._lane.popleft()
            if slot is not None:
                endpoint = self._peers[slot].endpoint if slot in self._peers else None
            if endpoint is None:
                self._drops["no_endpoint"] += 1
                continue
            out.append(Sent(slot, endpoint, datagram, tos))
        while self._admission.replies:
            datagram, endpoint = self._admission.replies.popleft()
            out.append(Sent(None, endpoint, datagram, HANDSHAKE_TOS))
        for slot, peer in self._peers.items():
            wants, peer.wants = peer.wants, 0
            if wants & _KEEPALIVE and not peer.staged:
                peer.staged.append(b"")
            if wants:
                out += self._resume(slot, peer, now)
        return out

    def _resume(self, slot: int, peer: PlanePeer, now: int) -> list[Sent]:
        out = []
        while peer.staged:
            key = peer.keys.current
            if key is None or not key.can_send(now):
                if peer.asked is None or now - peer.asked >= REKEY_TIMEOUT:
                    peer.asked = now
                    self._raise(slot, notices.KEY_NEEDED)
                break
            packet = peer.staged.popleft()
            if peer.endpoint is None:
                self._drops["no_endpoint"] += 1
            else:
                out.append(self._seal_one(slot, peer, peer.endpoint, key, packet, now))
        return out

    def _seal_one(self, slot: int, peer: PlanePeer, endpoint: Endpoint, key: Keypair, packet: bytes,
                  now: int) -> Sent:
        padded = min((len(packet) + 15) & ~15, max(self.mtu, len(packet)))
        counter, key.counter = key.counter, key.counter + 1
        sealed = self._suite.seal(bytes(key.send_key), counter, packet.ljust(padded, b"\0"), b"")
        datagram = b"".join((messages.TRANSPORT, key.remote.to_bytes(4, "little"),
                             counter.to_bytes(8, "little"), sealed))
        peer.tx_bytes += len(datagram)
        peer.tx_packets += 1
        peer.last_sent, peer.unacknowledged_since = now, 0
        if packet:
            peer.unanswered_since = peer.unanswered_since or now
            self._raise_once(slot, notices.DATA_SENT)
        if key.raises_rekey_send(now):
            self._raise(slot, notices.REKEY_SEND)
        return Sent(slot, endpoint, datagram, inner.ecn(packet))

    def open(self, datagram: bytes, source: Endpoint, now: int, tos: int = 0) -> list[bytes]:
        """One datagram from the UDP socket; returns the IP packet for the TUN, if any."""
        if datagram[:4] != messages.TRANSPORT:
            refused = self._judge(Message(bytes(datagram), source), now)
            if refused is not None:
                self._drops[refused] += 1
            return []
        opened = self._authenticate(datagram, now)
        if isinstance(opened, str):
            self._drops[opened] += 1
            return []
        slot, key, packet = opened
        peer = self._peers[slot]
        self._confirm(slot, peer, key)
        self._follow(slot, peer, source)
        self._note_received(slot, peer, key, packet, len(datagram), now)
        if not packet:
            return []
        admitted = self._admit(slot, packet, tos)
        if isinstance(admitted, str):
            self._drops[admitted] += 1
            return []
        return [admitted]

    def _judge(self, message: Message, now: int) -> str | None:
        kind = self._layout.kind_of(message.datagram)
        if kind is None:
            return "malformed_message"
        if kind == messages.INITIATION:
            return self._admission.judge(message, now, True, None)
        at = 8 if kind == messages.RESPONSE else 4
        index = int.from_bytes(message.datagram[at:at + 4], "little")
        awaited = next((p for p in self._peers.values() if p.awaited == index), None)
        known = awaited is not None or (kind == messages.COOKIE_REPLY and index in self._index)
        return self._admission.judge(message, now, known, awaited)

    def _authenticate(self, datagram: bytes, now: int) -> tuple[int, Keypair, bytes] | str:
        if len(datagram) < self._layout.overhead:
            return "malformed_message"
        found = self._index.get(int.from_bytes(datagram[4:8], "little"))
        if found is None:
            return "unknown_index"
        slot, key = found
        if key.expired(now):
            return "expired_key"
        counter = int.from_bytes(datagram[8:16], "little")
        if not key.window.admits(counter):
            return "replayed"
        packet = self._suite.open(bytes(key.receive_key), counter, datagram[messages.TRANSPORT_HEADER:], b"")
        if packet is None:
            return "bad_tag"
        key.window.mark(counter)
        return slot, key, packet

    def _confirm(self, slot: int, peer: PlanePeer, key: Keypair) -> None:
        if peer.keys.confirm(key):
            peer.promoted = key.local
            peer.asked = None
            peer.wants |= _FLUSH
            self._raise(slot, notices.CONFIRMED)

    def _follow(self, slot: int, peer: PlanePeer, source: Endpoint) -> None:
        if peer.endpoint is None or peer.endpoint[:2] != source[:2]:
            self._admission.know(source)
            self._raise(slot, notices.ROAMED)
        peer.endpoint = source

    def _note_received(self, slot: int, peer: PlanePeer, key: Keypair, packet: bytes, size: int,
                       now: int) -> None:
        peer.rx_bytes += size
        peer.rx_packets += 1
        peer.last_received, peer.unanswered_since = now, 0
        if key.raises_rekey_receive(now):
            self._raise(slot, notices.REKEY_RECEIVE)
        if packet:
            peer.last_data_received = now
            peer.unacknowledged_since = peer.unacknowledged_since or now
            self._raise_once(slot, notices.DATA_RECEIVED)

    def _admit(self, slot: int, packet: bytes, tos: int) -> bytes | str:
        ip = inner.parse(packet)
        if ip is None:
            return "inner_malformed"
        if ip.total > len(packet):
            return "inner_length"
        if self._ips.lookup(ip.source) != slot:
            return "wrong_source"
        packet = packet[:ip.total]
        marked = inner.decapsulate_ecn(packet, tos)
        self._drops["ecn_lost"] += marked is None
        return packet if marked is None else marked

    def _raise(self, slot: int, bits: int) -> None:
        self._notices[slot] = self._notices.get(slot, 0) | bits

    def _raise_once(self, slot: int, bit: int) -> None:
        peer = self._peers[slot]
        if bit & ~peer.armed:
            peer.armed |= bit
            self._raise(slot, bit)
