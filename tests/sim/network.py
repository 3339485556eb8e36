"""A network of Nodes under one virtual clock that jumps from one announced deadline or
arrival to the next. Loss, reordering, duplication and delay come from a seed."""

import heapq
import random
from dataclasses import dataclass

from sim.node import SECOND, SUITE, Node

from wgpy.protocol.device import Instant

MS = 1_000_000


@dataclass
class Link:
    delay: int = 10 * MS
    jitter: int = 0          # each datagram takes up to this much longer: reordering
    loss: float = 0.0
    duplicates: float = 0.0


class Stalled(AssertionError):
    """A deadline in the past that does not go away: somebody would poll."""


class Network:
    def __init__(self, seed: int = 0, link: Link | None = None, mono: int = 1000 * SECOND,
                 wall: int = 1_700_000_000 * SECOND):
        self.rng = random.Random(seed)
        self.link = link or Link()
        self.mono = mono
        self.wall_offset = wall - mono
        self.clock_error: dict[str, int] = {}   # node -> ns that its wall clock is off
        self.nodes: dict[tuple[str, int], Node] = {}
        self.datagrams: list[tuple[int, str, bytes]] = []   # time, sender, datagram
        self.record = True
        self.on_arrival = None                  # called with (node, datagram, source, now)
        self._queue: list[tuple] = []
        self._serial = 0

    def add(self, node: Node) -> Node:
        self.nodes[node.where[:2]] = node
        return node

    def move(self, node: Node, where) -> None:
        """The node gets another address; nobody is told."""
        del self.nodes[node.where[:2]]
        node.where = where
        self.nodes[where[:2]] = node

    def now(self, node: Node) -> Instant:
        return Instant(self.mono, self.mono + self.wall_offset + self.clock_error.get(node.name, 0))

    def at(self, when: int, action) -> None:
        """Calls action() at that time."""
        self._push(when, action)

    def _push(self, when: int, action) -> None:
        self._serial += 1
        heapq.heappush(self._queue, (when, self._serial, action))

    def carry(self, node: Node) -> None:
        sent, node.sent = node.sent, []
        for endpoint, datagram in sent:
            if self.record:
                self.datagrams.append((self.mono, node.name, datagram))
            copies = 2 if self.rng.random() < self.link.duplicates else 1
            for _ in range(copies):
                if self.rng.random() >= self.link.loss:
                    delay = self.link.delay + int(self.rng.random() * self.link.jitter)
                    source, target = node.where, endpoint[:2]
                    self._push(self.mono + delay, lambda s=source, t=target, d=datagram: self._deliver(s, t, d))

    def _deliver(self, source, target, datagram: bytes) -> None:
        node = self.nodes.get(target)
        if node is not None:
            node.arrive(datagram, source, self.now(node))
            if self.on_arrival:
                self.on_arrival(node, datagram, source, self.now(node))
            self.carry(node)

    def send(self, node: Node, packet: bytes) -> None:
        node.send(packet, self.now(node))
        self.carry(node)

    def start(self) -> None:
        for node in list(self.nodes.values()):
            node.start(self.now(node))
            self.carry(node)

    def run(self, seconds: float) -> None:
        """Lets that much time pass."""
        self.run_until(self.mono + int(seconds * SECOND))

    def run_until(self, end: int) -> None:
        stuck = 0
        while True:
            deadlines = [(d.at, n) for n in self.nodes.values() if (d := n.device.deadline())]
            at, node = min(deadlines, key=lambda x: x[0], default=(end + 1, None))
            arrival = self._queue[0][0] if self._queue else end + 1
            when = min(at, arrival)
            if when > end:
                self.mono = end
                return
            stuck = stuck + 1 if when <= self.mono else 0
            if stuck > 10_000:
                raise Stalled(f"{node and node.device.deadline()}")
            self.mono = max(self.mono, when)
            if arrival <= at:
                heapq.heappop(self._queue)[2]()
            else:
                node.tick(self.now(node))
                self.carry(node)


def pair(seed: int = 0, link: Link | None = None, start: bool = True, **options) -> tuple[Network, Node, Node]:
    """Two nodes that know each other: a has 10.0.0.1, b 10.0.0.2."""
    net = Network(seed, link, **options)
    a, b = net.add(Node("a", "192.0.2.1", seed)), net.add(Node("b", "192.0.2.2", seed))
    a.add_peer(b.public, b.where, "10.0.0.2")
    b.add_peer(a.public, a.where, "10.0.0.1")
    if start:
        net.start()
    return net, a, b


def sent_by(net: Network, node: Node, kind: int, since: int = 0) -> list[int]:
    """Times at which the node sent messages of that type."""
    return [t for t, name, d in net.datagrams if name == node.name and d[0] == kind and t >= since]


def keepalives_by(net: Network, node: Node, since: int = 0) -> list[int]:
    return [t for t, name, d in net.datagrams
            if name == node.name and d[0] == 4 and len(d) == SUITE.layout.overhead and t >= since]
