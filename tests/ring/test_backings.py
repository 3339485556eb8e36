"""Backings of rings: memfd and pipes between processes, and dataports of virtual machines
played by files laid out like sysfs and /dev, with a thread in place of the hypervisor
that carries events late, coalesced, or not at all (A6)."""
import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from wgpy._fast.ports import MemoryPort, Pump, RingIn, RingOut
from wgpy.errors import HostError
from wgpy.notices import Endpoint
from wgpy.ring import layout
from wgpy.ring.backing import Doorbell, MemfdRing, attach
from wgpy.ring.ivshmem import IvshmemBar
from wgpy.ring.uio import DataportPair, SharedDataport, UioDevice

PAGE = 4096
FROM = Endpoint("192.0.2.1", 51820)


def test_the_header_is_what_the_layout_emits():
    header = Path(layout.__file__).parents[1] / "_fast/c/ring_layout.h"
    assert header.read_text() == layout.header()


class Room:
    """A pump each way over one neighbour's rings, on threads."""

    def __init__(self, ends, *, datagrams=True):
        self.to_ring, self.from_ring = MemoryPort(), MemoryPort()
        self.out, self.inward = (ends.outgoing.producer(datagrams=datagrams), ends.incoming.consumer(datagrams=datagrams))
        self.pumps = Pump(self.to_ring, None, self.out), Pump(self.inward, None, self.from_ring)
        self.threads = []

    def listen(self):
        """Receives and answers attachments in the background; sending stays by hand."""
        self.threads = [threading.Thread(target=p.run) for p in self.pumps]
        for thread in self.threads:
            thread.start()

    def stop(self):
        for pump in self.pumps:
            pump.stop()
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()

    def took(self, seconds: float) -> list[bytes]:
        deadline = time.monotonic() + seconds
        while not (got := [packet for packet, _, _ in self.from_ring.take()]) and time.monotonic() < deadline:
            time.sleep(0.002)
        return got


def exchange(a: Room, b: Room, seconds: float = 6.0) -> None:
    """Something crosses each way within `seconds`, whoever started when. A MemoryPort
    wakes no pump, so the sender's is stepped by hand for as long."""
    for sender, receiver in ((a, b), (b, a)):
        deadline, got = time.monotonic() + seconds, []
        sender.pumps[0].stop()
        sender.threads[0].join(10)
        while not got:
            assert time.monotonic() < deadline, (sender.out.stats(), receiver.inward.stats())
            sender.to_ring.put(b"hello", FROM)
            sender.pumps[0].step()
            got = receiver.took(0.05)
        assert set(got) == {b"hello"}
        sender.pumps = (Pump(sender.to_ring, None, sender.out), sender.pumps[1])
        sender.threads[0] = threading.Thread(target=sender.pumps[0].run)
        sender.threads[0].start()


@contextmanager
def rooms(*made):
    try:
        for room in made:
            room.listen()
        yield made
    finally:
        for room in made:
            room.stop()


class Hypervisor:
    """Two guests' views of connections: sysfs, /dev and an event pipe for each guest.
    `region`: the dataport's size."""

    def __init__(self, root: Path, names=("uio0",), region=1 << 20, delay=0.0):
        self.root, self.names, self.delay, self.lost = root, names, delay, False
        for name in names:
            node = root / f"{name}.memory"
            node.write_bytes(bytes(2 * PAGE + region))
            for guest in "ab":
                maps = root / guest / "sys" / name / "maps"
                for index, size in ((0, PAGE), (1, region)):
                    (maps / f"map{index}").mkdir(parents=True)
                    (maps / f"map{index}/size").write_text(f"{size:#010x}\n")
                (root / guest / "dev").mkdir(exist_ok=True)
                os.link(node, root / guest / "dev" / name)
                os.mkfifo(root / guest / f"{name}.events")
        self.stopping = False
        self.fifos = {(g, n): os.open(root / g / f"{n}.events", os.O_RDWR | os.O_NONBLOCK) for g in "ab" for n in names}
        self.thread = threading.Thread(target=self._carry)

    def device(self, guest: str, name: str = "uio0") -> UioDevice:
        root = self.root / guest
        return UioDevice(name, dev=root / "dev", sys=root / "sys", events=root / f"{name}.events")

    def _carry(self) -> None:
        """Events go to both guests: the stand-in's register is one, and a ring too many
        is harmless. Several stores in one turn are one event."""
        files = {n: open(self.root / f"{n}.memory", "r+b", buffering=0) for n in self.names}
        while not self.stopping:
            for name, file in files.items():
                if os.pread(file.fileno(), 4, 0) != bytes(4):
                    os.pwrite(file.fileno(), bytes(4), 0)
                    time.sleep(self.delay)
                    for guest in "ab" if not self.lost else "":
                        try:  # two readers a guest share the stand-in's pipe: one event each
                            os.write(self.fifos[guest, name], bytes(8))
                        except BlockingIOError:
                            pass
            time.sleep(0.0005)
        for file in files.values():
            file.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()
        for fd in self.fifos.values():
            os.close(fd)


def test_processes_and_what_their_descriptors_allow():
    ring = MemfdRing.create("test")
    producer, consumer = ring.producer_fds(), ring.consumer_fds()
    for fds in (producer, consumer):
        with pytest.raises(OSError):
            os.pwrite(fds[1], b"x", 0)  # the neighbour's memory
        with pytest.raises(OSError):
            os.ftruncate(fds[0], 0)     # would be SIGBUS for the neighbour
    os.set_blocking(consumer[2], True)  # one room's flags are its own
    os.set_blocking(ring.data[0], True)
    end = attach(*producer)
    for _ in range(10_000):
        end.data.kick()                 # full, and still does not block
    assert attach(*consumer).data.wait(0) and not os.get_blocking(consumer[2])
    end.data.kick()
    a, b = MemoryPort(), MemoryPort()
    out, inward = attach(*producer).producer(datagrams=True), attach(*consumer).consumer(datagrams=True)
    send, receive = Pump(a, None, out), Pump(inward, None, b)
    for _ in range(3):  # the first finds nobody attached yet
        a.put(b"one", FROM, tos=3)
        send.step()
        receive.step()
    assert b.take() == [(b"one", FROM, 3)] * 2 and send.drops()["ring_detached"] == 1
    ring.close()


def test_what_is_no_ring_is_refused(tmp_path):
    file = os.open(tmp_path / "plain", os.O_RDWR | os.O_CREAT)
    os.ftruncate(file, 1 << 20)
    ring = MemfdRing.create("test")
    with pytest.raises(HostError):
        attach(file, file, ring.data[0], ring.space[1])
    for size in (0, 300_000, 1 << 16):
        with pytest.raises(ValueError):
            MemfdRing.create("test", size)
    with pytest.raises(ValueError):
        RingOut(bytearray(1 << 20), bytes(100), Doorbell(-1), Doorbell(-1), datagrams=False)
    with pytest.raises(ValueError):
        RingIn(bytearray(4096), bytes(0), Doorbell(-1), Doorbell(-1), datagrams=False)
    ring.close()
    os.close(file)


@pytest.mark.parametrize("delay", [0.0, 0.02], ids=["prompt", "late"])
def test_one_region_for_both_directions(tmp_path, delay):
    with Hypervisor(tmp_path, delay=delay) as host:
        a = Room(SharedDataport(host.device("a"), 0).open())
        b = Room(SharedDataport(host.device("b"), 1).open())
        with rooms(a, b):
            exchange(a, b)


def test_a_region_a_direction_the_other_read_only(tmp_path):
    with Hypervisor(tmp_path, names=("uio0", "uio1")) as host:
        a = DataportPair(host.device("a", "uio0"), host.device("a", "uio1")).open()
        b = DataportPair(host.device("b", "uio1"), host.device("b", "uio0")).open()
        assert memoryview(a.incoming.theirs).readonly and memoryview(a.outgoing.theirs).readonly
        with rooms(Room(a), Room(b)) as (x, y):
            exchange(x, y)


def test_lost_events_cost_a_second_not_the_connection(tmp_path):
    with Hypervisor(tmp_path) as host:
        host.lost = True
        a = Room(SharedDataport(host.device("a"), 0).open())
        b = Room(SharedDataport(host.device("b"), 1).open())
        with rooms(a, b):
            exchange(a, b)


def test_a_peer_that_starts_later_and_restarts(tmp_path):
    with Hypervisor(tmp_path) as host:
        a = Room(SharedDataport(host.device("a"), 0).open())
        with rooms(a):
            a.to_ring.put(b"early", FROM)  # counted, not kept for whoever comes
            time.sleep(0.1)
            for _ in range(3):
                b = Room(SharedDataport(host.device("b"), 1).open())
                with rooms(b):
                    exchange(a, b)
        assert a.pumps[0].drops()["ring_record"] == 0


def test_bad_dataports_are_refused(tmp_path):
    host = Hypervisor(tmp_path, region=1 << 18)
    device = host.device("a")
    with pytest.raises(HostError, match="too small"):
        SharedDataport(device, 0).open()
    with pytest.raises(HostError):
        SharedDataport(UioDevice("uio7", sys=tmp_path / "a/sys"), 0).open()
    for said in ("0x180000", "0x800", "nonsense"):
        (tmp_path / "a/sys/uio0/maps/map1/size").write_text(said)
        with pytest.raises(HostError):
            SharedDataport(device, 0).open()
    (tmp_path / "a/sys/uio0/maps/map1/size").write_text("0x400000")  # more than there is
    with pytest.raises(HostError, match="cannot map"):
        SharedDataport(device, 0).open()
    for fd in host.fifos.values():
        os.close(fd)


def pci(root: Path, *, doorbell: bool) -> Path:
    device = root / "0000:00:05.0"
    device.mkdir()
    (device / "vendor").write_text("0x1af4\n")
    (device / "device").write_text("0x1110\n")
    (device / "resource0").write_bytes(bytes(8) + b"\7" + bytes(PAGE - 9))
    (device / "resource2").write_bytes(bytes(1 << 20))
    if doorbell:
        (device / "resource1").write_bytes(bytes(PAGE))
    return device


def test_ivshmem_without_a_doorbell_is_polled(tmp_path):
    pci(tmp_path, doorbell=False)
    ends = [IvshmemBar("0000:00:05.0", side, sys=tmp_path).open() for side in (0, 1)]
    assert ends[0].outgoing.data == Doorbell(-1)
    with rooms(*map(Room, ends)) as (a, b):
        exchange(a, b)


def test_ivshmem_rings_the_peer_by_register(tmp_path):
    device = pci(tmp_path, doorbell=True)
    bar = IvshmemBar("0000:00:05.0", 0, peer=3, sys=tmp_path)
    end = bar.open().outgoing
    end.data.kick()
    assert (device / "resource0").read_bytes()[12:16] == (3 << 16).to_bytes(4, "little")
    assert bar.position() == 7
    (device / "resource0").write_bytes(bytes(PAGE))
    end.producer(datagrams=False)  # rings when it starts
    assert (device / "resource0").read_bytes()[12:16] == (3 << 16).to_bytes(4, "little")
    (device / "device").write_text("0x1000\n")
    with pytest.raises(HostError, match="1af4:1000"):
        bar.open()
