"""P1: several threads seal and open the packets of one peer, and the flow stays what it was:
nothing out of order, twice or lost, whatever the control side does meanwhile. Which thread
does what is tested in tests/c/test_group.c."""
import os
import threading
import time

import pytest
from harness import HOME
from packets import ip4, packed

from wgpy._fast.plane import Plane
from wgpy._fast.ports import MemoryPort, Pump, clock
from wgpy.lab.netns import wait_until
from wgpy.ring.backing import MemfdRing
from wgpy.rooms.pumproom import ring_end

THREADS, FLOWS, TOGETHER, DEADLINE = 4, 3, 600, 120


class Running:
    """Pumps, each on its threads."""

    def __init__(self, *pumps: Pump):
        self.pumps = pumps
        self.threads = [threading.Thread(target=pump.run, args=(i,), daemon=True)
                        for pump in pumps for i in range(pump.threads)]
        for thread in self.threads:
            thread.start()

    def stop(self, seconds: float) -> bool:
        """Whether all threads have ended by then."""
        for pump in self.pumps:
            pump.stop()
        end = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self.threads)


def ring(datagrams: bool):
    memory = MemfdRing.create("order")
    out, into = (ring_end({f"ring.order.{part}": fd for part, fd in zip(("own", "theirs", "data", "space"), fds)}, "order")
                 for fds in (memory.producer_fds(), memory.consumer_fds()))
    memory.close()
    return out.producer(datagrams=datagrams), into.consumer(datagrams=datagrams)


class Sites:
    """Two planes with a peer for each flow, a's packets sealed and b's opened by a group."""

    def __init__(self):
        self.a, self.b = Plane(queues=THREADS), Plane(queues=THREADS)
        self.index = 0
        for flow in range(FLOWS):
            self.add(flow)
        self.lan, self.arrived = MemoryPort(), MemoryPort()
        (to_a, from_lan), (to_b, from_a) = ring(datagrams=False), ring(datagrams=True)
        self.running = Running(
            Pump(from_lan, [self.a.seal_stage(i) for i in range(THREADS)], to_b),
            Pump(from_a, [self.b.open_stage(i) for i in range(THREADS)], self.arrived))
        self.feed = Pump(self.lan, None, to_a)
        end = time.monotonic() + DEADLINE
        while not all(into.stats()["attaches"] for into in (from_lan, from_a)):
            assert time.monotonic() < end
            self.feed.step()

    def add(self, flow: int) -> None:
        for plane, side in ((self.a, 2), (self.b, 1)):
            assert plane.add_peer() == flow
            plane.allow(flow, packed(f"10.{side}.{flow}.0"), 24)
            plane.set_endpoint(flow, HOME)
        self.renew(flow)

    def remove(self, flow: int) -> None:
        for plane in (self.a, self.b):
            plane.remove_peer(flow)

    def renew(self, flow: int) -> None:
        """A new keypair; b has it before a sends with it."""
        self.index += 1
        key = bytes([self.index & 0xFF]) * 32
        for plane, initiator in ((self.b, False), (self.a, True)):
            plane.install(flow, local_index=self.index, remote_index=self.index, send_key=key, receive_key=key,
                          initiator=initiator, now=clock())

    def send(self, numbers: dict[int, int], n: int) -> None:
        for i in range(n):
            flow = i % len(numbers)
            assert self.lan.put(ip4(f"10.1.{flow}.1", f"10.2.{flow}.1", b"%d" % numbers[flow]))
            numbers[flow] += 1
        while self.feed.step():
            pass

    def receive(self, n: int) -> list[tuple[int, int]]:
        """(flow, number) of the next `n` packets."""
        out, end = [], time.monotonic() + DEADLINE
        while len(out) < n and time.monotonic() < end:
            out += [(packet[14], int(packet[20:])) for packet, _, _ in self.arrived.take()]
            time.sleep(0.0005)
        return out


@pytest.fixture
def sites():
    made = Sites()
    yield made
    assert made.running.stop(DEADLINE)


def test_a_flow_keeps_its_order_through_two_groups(sites):
    sent = dict.fromkeys(range(FLOWS), 0)
    expected = dict(sent)
    for turn in range(40):
        sites.send(sent, TOGETHER)
        got = sites.receive(1)  # else b may not have the keypair confirmed that the new one follows
        sites.renew(turn % FLOWS)
        if turn % 4 == 0:
            sites.add(FLOWS)
        elif turn % 4 == 2:
            sites.remove(FLOWS)
        for flow, number in got + sites.receive(TOGETHER - len(got)):
            assert number == expected[flow], f"flow {flow}"
            expected[flow] += 1
        assert expected == sent, [{k: v for k, v in p.drops().items() if v} for p in sites.running.pumps]


@pytest.mark.parametrize("way", ["seal", "open"])
def test_stops_under_load(way):
    """Threads that wait for their turn or for the lead end too."""
    plane, source, sink = Plane(queues=THREADS), MemoryPort(repeat=True), MemoryPort(discard=True)
    stage = getattr(plane, f"{way}_stage")
    for _ in range(200):
        source.put(ip4("10.0.0.1", "10.0.0.2"))
    running = Running(Pump(source, [stage(i) for i in range(THREADS)], sink))
    wait_until(lambda: sum(pump.stats()["batches"] for pump in running.pumps) > 10, DEADLINE, "all are busy")
    assert running.stop(DEADLINE)


def test_a_group_has_a_stage_for_each_thread():
    plane = Plane(queues=2)
    pump = Pump(MemoryPort(), [plane.seal_stage(0), plane.seal_stage(1)], MemoryPort())
    assert pump.threads == 2
    with pytest.raises(ValueError):
        pump.run(2)
    before = os.listdir("/proc/self/fd")
    for bad in ([], [plane.seal_stage()] * 17, [None, None], ["stage"]):
        with pytest.raises((ValueError, TypeError)):
            Pump(MemoryPort(), bad, MemoryPort())
    assert os.listdir("/proc/self/fd") == before, "what was refused closes nothing of others"
