"""F6: a stage that holds keys works in memory of its own. What it drops must not lie in a
ring, where the room that may not see it could read."""
import mmap

import pytest
from harness import HOME, START, pair
from packets import ip4

from wgpy._fast.ports import MemoryPort, Pump
from wgpy.ring.backing import DEFAULT_SIZE, Doorbell, End
from wgpy.ring.layout import CONSUMER_SIZE

MARK = b"seen by nobody but red and crypto"


class Ring:
    """An attached ring whose memory the test can read, as the neighbour can."""

    def __init__(self):
        self.memory, page, none = mmap.mmap(-1, DEFAULT_SIZE), mmap.mmap(-1, CONSUMER_SIZE), Doorbell(-1)
        self.out = End(self.memory, page, none, none).producer(datagrams=True)
        into = End(page, self.memory, none, none).consumer(datagrams=True)
        self._attaching = Pump(MemoryPort(), None, self.out), Pump(into, None, MemoryPort())

    def behind(self, source: MemoryPort, stage) -> Pump:
        for pump in self._attaching:
            pump.step(START)
        return Pump(source, stage, self.out)


@pytest.fixture
def ring():
    return Ring()


def test_without_secrets_the_batch_lies_in_the_ring(ring):
    """Else the tests below would see nothing whatever happened."""
    source = MemoryPort()
    pump = ring.behind(source, None)
    assert source.put(ip4("10.0.0.1", "10.9.9.9", MARK), HOME) and pump.step(START)
    assert MARK in ring.memory[:]


def test_packets_that_seal_drops_or_seals_are_not_in_the_ring(ring):
    a, _ = pair()
    pump = ring.behind(a.tun_in, a.plane.seal_stage())
    for destination in ("10.9.9.9", "10.0.0.2"):
        assert a.tun_in.put(ip4("10.0.0.1", destination, MARK))
    assert pump.step(START) == 2 and pump.drops()["no_peer"] == 1
    assert ring.out.stats()["packets_out"] == 1 and MARK not in ring.memory[:]


def test_packets_that_open_drops_are_not_in_the_ring(ring):
    a, b = pair()
    pump = ring.behind(b.udp_in, b.plane.open_stage())
    (spoofed,) = a.seal(ip4("10.0.0.99", "10.0.0.2", MARK))
    assert b.udp_in.put(spoofed, HOME)
    assert pump.step(START) == 1 and pump.drops()["wrong_source"] == 1
    assert MARK not in ring.memory[:]
