"""The C plane against its executable specification: the same random operations on
both, and after each one the same datagrams to the byte, the same packets, notices,
activity, statistics, keypairs and drops."""
import random
import struct

import pytest
from harness import HOME, START, Node
from packets import ip4, ip6, packed
from toy import toy

from wgpy._fast.ports import Pump
from wgpy.notices import Endpoint
from wgpy.protocol import plane as specification
from wgpy.suite import Suite, get

OPERATIONS = 400
PREFIXES = [("10.0.0.0", 8), ("10.1.0.0", 16), ("10.1.2.0", 24), ("10.1.2.3", 32), ("0.0.0.0", 0),
            ("2001:db8::", 32), ("2001:db8:1::", 48), ("::", 0)]
PLACES = [HOME, Endpoint("198.51.100.7", 999), Endpoint("2001:db8::7", 5, "2001:db8::1", 2)]


def totals(drops: dict[str, int]) -> dict[str, int]:
    """A forged copy of a datagram in the same batch is told by its tag, alone by its counter."""
    copies = drops.get("bad_tag", 0) + drops.get("replayed", 0)
    return {k: v for k, v in (drops | {"bad_tag": copies, "replayed": 0}).items() if v}


class Twin:
    """Both planes, driven alike; every method checks that they agree."""

    def __init__(self, seed: int, suite: Suite):
        self.rng = random.Random(seed)
        self.suite = suite
        self.node = Node(suite=suite.table)
        self.node.plane.remove_peer(self.node.slot)
        self.stage = self.node.plane.seal_stage()
        self.node.seal_pump = Pump(self.node.tun_in, self.stage, self.node.udp_out)
        self.spec = specification.Plane(entropy=self.rng.randbytes, suite=suite)
        self.now = START
        self.serial = 0
        self.sealed: list[bytes] = []   # datagrams that a peer's peer could have sent
        self.keys: dict[int, tuple[int, bytes]] = {}
        self.slots: list[int] = []
        self.left: list[tuple[bytes, Endpoint]] = []

    def both(self, method: str, *args, **fields):
        results = [getattr(plane, method)(*args, **fields) for plane in (self.node.plane, self.spec)]
        if method in ("install", "expire", "wipe"):  # indices, in any order
            results = [sorted(freed) for freed in results]
        assert results[0] == results[1], (method, args, results)
        return results[0]

    def pumped(self, packets: list[bytes]) -> None:
        """All in one batch."""
        expected = self.spec.pull(self.now)
        for packet in packets:
            assert self.node.tun_in.put(packet)
            expected += self.spec.seal(packet, self.now)
        while self.node.seal_pump.step(self.now):
            pass
        got = self.node.udp_out.take()
        self.left = [*self.left, *((datagram, endpoint) for datagram, endpoint, _ in got)][-40:]
        by_session = lambda sent: sent[0][4:8]  # order is promised within a peer only
        assert sorted(got, key=by_session) == sorted(((s.datagram, s.endpoint, s.tos) for s in expected),
                                                     key=by_session)
        while self.node.open_pump.step(self.now):  # ICMP errors, which the specification lacks
            pass
        self.node.tun_out.take()

    def opened(self, datagrams: list[tuple[bytes, Endpoint, int]]) -> None:
        """All in one batch."""
        expected = []
        for datagram, source, tos in datagrams:
            assert self.node.udp_in.put(datagram, source, tos=tos)
            expected += self.spec.open(datagram, source, self.now, tos)
        assert self.node.open(now=self.now) == expected

    def compare(self) -> None:
        one, other = (sorted(plane.notices())
                      for plane in (self.node.plane, self.spec))
        assert one == other
        assert totals(self.node.dropped()) == totals(self.spec.drops())
        for slot in self.slots:
            for view in ("stats", "activity", "endpoint"):
                self.both(view, slot)
            assert sorted(self.node.plane.live_indices(slot)) == sorted(self.spec.live_indices(slot))
        one, other = ({slot: sorted(held) for slot, held in p.prefixes().items()} for p in (self.node.plane, self.spec))
        assert one == other and self.node.plane.prefix_count == self.spec.prefix_count

    # operations

    def add(self):
        if len(self.slots) < 4:
            self.slots.append(self.both("add_peer"))

    def remove(self):
        if len(self.slots) > 2:
            self.both("remove_peer", self.slots.pop(self.rng.randrange(len(self.slots))))

    def allow(self):
        address, cidr = self.rng.choice(PREFIXES)
        self.both(self.rng.choice(("allow", "allow", "disallow")), self.slot(), packed(address), cidr)

    def place(self):
        self.both("set_endpoint", self.slot(), self.rng.choice([*PLACES, PLACES[0], None]))

    def install(self):
        """A session whose far end is played by the test with the same key."""
        self.serial += 1
        key = self.rng.randbytes(self.suite.key_size)
        self.keys[self.serial] = (self.serial, key)
        slot = self.slot()
        self.both("install", slot, local_index=self.serial, remote_index=self.serial + 10_000,
                  send_key=self.rng.randbytes(self.suite.key_size), receive_key=key,
                  initiator=self.rng.random() < 0.5, now=self.now)
        self.both("flush", slot)  # as the core does; a batch that comes first may push staged packets out

    def packet(self):
        if self.rng.random() < 0.5:
            return ip4(f"10.1.2.{self.rng.randrange(5)}", f"10.{self.rng.randrange(3)}.2.3",
                       self.rng.randbytes(self.rng.randrange(1500)), tos=self.rng.randrange(256))
        return ip6("2001:db8::5", f"2001:db8:{self.rng.randrange(2)}::6",
                   self.rng.randbytes(self.rng.randrange(1500)), tos=self.rng.randrange(256))

    def send(self):
        packets = [self.packet() for _ in range(self.rng.choice((1, 1, 2, 9, 40)))]
        if self.rng.random() < 0.05:
            packets[-1] = packets[-1][: self.rng.randrange(len(packets[-1]))]
        self.pumped(packets)

    def loop(self):
        """What has left comes back through the TUN, now and then not quite as it was."""
        packets = []
        for datagram, to in self.rng.choices(self.left, k=self.rng.choice((1, 1, 2, 9))) if self.left else ():
            if self.rng.random() < 0.2:
                datagram = bytes([self.rng.randrange(6), 0, 0, 0]) + self.rng.randrange(20).to_bytes(4, "little") + datagram[8:]
            port = to.port if self.rng.random() < 0.9 else self.rng.choice(PLACES).port
            udp = struct.pack("!HHHH", 51820, port, 8 + len(datagram), 0) + datagram
            if ":" in to.address:
                cut = self.rng.random() < 0.3
                head = struct.pack("!BBHI", 17, 0, self.rng.choice((0, 1, 8)), 7) if cut else b""
                packets.append(ip6("2001:db8::5", to.address, head + udp, 44 if cut else 17))
            else:
                packets.append(ip4("10.1.2.3", to.address, udp, fragment=self.rng.choice((0, 0, 0, 1 << 13, 5))))
        self.pumped(packets)

    def receive(self):
        if self.keys:
            self.opened([self.datagram() for _ in range(self.rng.choice((1, 1, 2, 9, 40)))])

    def datagram(self) -> tuple[bytes, Endpoint, int]:
        index, key = self.rng.choice(list(self.keys.values())[-4:])
        inner = self.packet() if self.rng.random() < 0.8 else b""
        counter = self.rng.choice((self.rng.randrange(50), self.rng.randrange(20_000)))
        datagram = (b"\4\0\0\0" + index.to_bytes(4, "little") + counter.to_bytes(8, "little")
                    + self.suite.seal(key, counter, inner + bytes(-len(inner) % 16), b""))
        if self.rng.random() < 0.1:
            at = self.rng.randrange(len(datagram))
            datagram = datagram[:at] + bytes([datagram[at] ^ 1 << self.rng.randrange(8)]) + datagram[at + 1:]
        return datagram, self.rng.choice(PLACES), self.rng.choice((0, 0, 1, 2, 3))

    def ask(self):
        self.both(self.rng.choice(("keepalive", "flush", "purge", "wipe", "clear_source")), self.slot())
        self.pumped([])

    def order(self):
        """A datagram of the core's, for a peer that may be gone when the pump comes to it."""
        self.both("send", self.rng.randbytes(self.rng.choice(self.node.plane.lengths[:3])), slot=self.slot())

    def rearm(self):
        self.both("rearm", self.slot(), self.rng.choice((16, 32, 48)))

    def resize(self):
        self.stage.mtu = self.spec.mtu = self.rng.choice((0, 576, 1280, 1391, 1420, 1500))

    def age(self):
        self.now += self.rng.choice((1, 10**6, 10**9, 6 * 10**9, 50 * 10**9))
        self.both("expire", self.slot(), self.now)

    def slot(self) -> int:
        if not self.slots:
            self.add()
        return self.rng.choice(self.slots)


@pytest.mark.parametrize("seed, suite", [*((seed, get) for seed in range(20)), *((seed, toy) for seed in range(5))])
def test_random_operations(seed, suite):
    twin = Twin(seed, suite())
    weights = dict(add=2, remove=1, allow=8, place=4, install=5, send=30, receive=30, loop=12, ask=6, order=4, rearm=4, age=5,
                   resize=2)
    for _ in range(OPERATIONS):
        (name,) = twin.rng.choices(list(weights), list(weights.values()))
        getattr(twin, name)()
        twin.compare()
    assert twin.node.udp_out.stats()["packets_out"] > 5, "something was sealed"
