"""The state that all parts of the protocol core stand on: peers, indices, timers, limits
and counts. It knows none of the parts."""

from collections import Counter
from collections.abc import Callable

from wgpy.constants import REKEY_TIMEOUT_JITTER
from wgpy.events import Kind, Reject
from wgpy.protocol import tai64n
from wgpy.protocol.effects import Effect, Event
from wgpy.protocol.indices import IndexTable
from wgpy.protocol.messages import Layout
from wgpy.protocol.noise import Noise
from wgpy.protocol.peer import Peer
from wgpy.protocol.timers import Instant, Timers
from wgpy.suite import Suite


class Core:
    """`entropy(n)` gives n unpredictable bytes."""

    strict = False  # what cannot happen raises; for tests, where nothing is lost by it

    def __init__(self, suite: Suite, entropy: Callable[[int], bytes]):
        self.suite, self.entropy = suite, entropy
        self.up = False
        self.noise, self.layout = Noise(suite), Layout(suite)
        self.peers: dict[bytes, Peer] = {}
        self.indices: IndexTable[Peer] = IndexTable(entropy)
        self.timers = Timers()
        self.rejects: Counter[Reject] = Counter()
        self.timestamp_floor = 0

    # limits

    def may_initiate(self, peer: Peer, now: Instant) -> bool:
        """Is the interface up, is there a secret of the static keys, and is the last handshake
        message that we sent to the peer 5 s old (Rekey-Timeout, paper 6.4)?"""
        return self.can_initiate(peer) and now.mono >= peer.may_initiate_at()

    def can_initiate(self, peer: Peer) -> bool:
        """But for the time."""
        return self.up and bool(peer.ss)

    def jitter(self) -> int:
        """ns to add to Rekey-Timeout, from 0 up to 334 ms."""
        return int.from_bytes(self.entropy(4), "little") * REKEY_TIMEOUT_JITTER >> 32

    def stamp(self, peer: Peer, now: Instant) -> int:
        """The time to stamp an initiation with: later than each before."""
        return tai64n.after(now.wall, peer.last_stamp, self.timestamp_floor)

    # counts

    def count(self, reason: Reject) -> None:
        """For what is not worth an event: anybody can send it."""
        self.rejects[reason] += 1

    def reject(self, reason: Reject, peer: Peer | None, out: list[Effect]) -> None:
        """A message that knew our public key, or a peer's, and still was no good."""
        self.count(reason)
        out.append(Event(Kind.REJECTED, peer.public_key if peer else None, reason))
