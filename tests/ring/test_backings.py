"""Backings of rings: memfd and pipes between processes, and dataports of virtual machines (A6), played by
ring/devices.py."""
import fcntl
import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from ring.devices import ADDRESS, CONNECTION, IVSHMEM, PAGE, Hypervisor, connection, pci

from wgpy._fast.ports import MemoryPort, Pump, RingIn, RingOut
from wgpy.errors import HostError
from wgpy.lab.netns import wait_until
from wgpy.notices import Endpoint
from wgpy.ring import layout
from wgpy.ring import region as of_region
from wgpy.ring.backing import Doorbell, MemfdRing, attach
from wgpy.ring.lane import Kind, Listener, Speaker
from wgpy.ring.region import attach as attach_region
from wgpy.ring.region import attach_pair, open_region, open_regions

FROM = Endpoint("192.0.2.1", 51820)


def test_the_header_is_what_the_layout_emits():
    header = Path(layout.__file__).parents[1] / "_fast/c/ring/layout.h"
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
        self.threads = [threading.Thread(target=p.run, daemon=True) for p in self.pumps]
        for thread in self.threads:
            thread.start()

    def stop(self):
        for pump in self.pumps:
            pump.stop()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()

    def took(self, seconds: float) -> list[bytes]:
        deadline = time.monotonic() + seconds
        while not (got := [packet for packet, _, _ in self.from_ring.take()]) and time.monotonic() < deadline:
            time.sleep(0.002)
        return got


def exchange(a: Room, b: Room, seconds: float = 30) -> None:
    """Something crosses each way within `seconds`, whoever started when. A MemoryPort
    wakes no pump, so the sender's is stepped by hand for as long."""
    for sender, receiver in ((a, b), (b, a)):
        deadline, got = time.monotonic() + seconds, []
        sender.pumps[0].stop()
        sender.threads[0].join(60)
        while not got:
            assert time.monotonic() < deadline, (sender.out.stats(), receiver.inward.stats())
            sender.to_ring.put(b"hello", FROM)
            sender.pumps[0].step()
            got = receiver.took(0.05)
        assert set(got) == {b"hello"}
        sender.pumps = (Pump(sender.to_ring, None, sender.out), sender.pumps[1])
        sender.threads[0] = threading.Thread(target=sender.pumps[0].run, daemon=True)
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


def trains(producer: Room, n: int) -> int:
    """So many of a packet each; the doorbells that they cost."""
    before = producer.out.stats()["kicks"]
    for _ in range(n):
        producer.to_ring.put(b"train", FROM)
        producer.pumps[0].step()
    return producer.out.stats()["kicks"] - before


def rung(producer: Room) -> int:
    """For one more train: once, or not at all where the consumer has just looked by itself."""
    kicks = trains(producer, 1)
    assert kicks <= 1
    return kicks


def test_whoever_is_awake_is_not_rung_and_whoever_sleeps_once_a_train(tmp_path, monkeypatch):
    """Also when the ring is full and is waited for. A step of a pump never sleeps."""
    with Hypervisor(tmp_path, monkeypatch) as host:
        a, b = Room(host.open("a")), Room(host.open("b"))
        for _ in range(3):
            b.pumps[1].step()
            a.pumps[0].step()
        for _ in range(20):
            assert trains(a, 10) == 0
            b.pumps[1].step()
        assert trains(a, layout.DESCRIPTORS + 10) == 0 and a.out.stats()["waits"]
        assert len(b.took(0)) == 200
        thread = threading.Thread(target=b.pumps[1].run)
        thread.start()
        try:
            assert len(b.took(30))
            wait_until(lambda: b.inward.stats()["kicks"], 30, "it asks, and acknowledges; then it sleeps")
            host.lost = True  # nor does it hear
            for _ in range(5):
                time.sleep(0.05)
                wait_until(lambda: rung(a), 30, "it sleeps again")
        finally:
            b.pumps[1].stop()
            thread.join(60)


@pytest.mark.parametrize("delay", [0.0, 0.02], ids=["prompt", "late"])
def test_one_region_for_both_directions(tmp_path, monkeypatch, delay):
    with Hypervisor(tmp_path, monkeypatch, delay=delay) as host, rooms(Room(host.open("a")), Room(host.open("b"))) as (a, b):
        exchange(a, b)


def test_a_region_for_each_direction_is_never_written_by_who_reads_it(tmp_path, monkeypatch):
    """Nothing rings here: what is waited for is found by looking."""
    monkeypatch.setattr(of_region, "reopen", lambda fd, mode: os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    monkeypatch.setattr(of_region.Doorbell, "wait", lambda bell, timeout: bool(time.sleep(min(timeout, 0.01))), raising=True)
    a, b = tmp_path / "a", tmp_path / "b"
    for guest, other in ((a, "b"), (b, "a")):
        connection(guest, 2, f"to-{other}")
        connection(guest, 3, f"from-{other}")
    for there, here in ((2, 3), (3, 2)):
        (b / f"dev/uio{here}").unlink()
        os.link(a / f"dev/uio{there}", b / f"dev/uio{here}")
    ends = [attach_pair(*open_regions(f"uio:to-{other},from-{other}", sys=guest / "sys", dev=guest / "dev"))
            for guest, other in ((a, "b"), (b, "a"))]
    for end in ends:
        assert memoryview(end.incoming.theirs).readonly and memoryview(end.outgoing.theirs).readonly
        assert memoryview(end.hears.area).readonly and not memoryview(end.says.area).readonly
    with rooms(*(Room(end) for end in ends)) as (one, two):
        exchange(one, two)


def test_a_connection_is_found_by_its_name_or_its_number(tmp_path):
    for number, name in ((4, "connector"), (3, "connector"), (5, "to-red")):
        connection(tmp_path, number, name)
    def opened(name: str) -> str:
        (found,) = open_regions(name, sys=tmp_path / "sys", dev=tmp_path / "dev")
        path = Path(os.readlink(f"/proc/self/fd/{found.fd}"))
        os.close(found.fd)
        return path.name
    assert [opened(f"uio:{name}") for name in ("to-red", "connector.0", "connector.1", "0000:00:04.0")] == ["uio5", "uio3", "uio4", "uio4"]
    for name, said in (("connector", "2 connections have the name connector: say which, as connector.0"),
                       ("connector.2", "2 connections have the name connector"), ("to-blue", "0 connections have the name to-blue"),
                       ("connector.x", "2 connections have the name connector"), ("to-red,to-blue", "0 connections have the name to-blue")):
        with pytest.raises(HostError, match=f"^region uio:.*: {said}"):
            opened(f"uio:{name}")


def test_lost_events_cost_a_second_not_the_connection(tmp_path, monkeypatch):
    with Hypervisor(tmp_path, monkeypatch) as host:
        host.lost = True
        with rooms(Room(host.open("a")), Room(host.open("b"))) as (a, b):
            exchange(a, b)


def test_a_peer_that_starts_later_and_restarts(tmp_path, monkeypatch):
    with Hypervisor(tmp_path, monkeypatch) as host, rooms(Room(host.open("a"))) as (a,):
        a.to_ring.put(b"early", FROM)  # counted, not kept for whoever comes
        wait_until(lambda: a.pumps[0].drops()["ring_detached"], 30, "nobody to hear it")
        for _ in range(3):
            with rooms(Room(host.open("b"))) as (b,):
                exchange(a, b)
        assert a.pumps[0].drops()["ring_record"] == 0


def test_to_ring_is_a_store_into_the_register_of_the_device(tmp_path):
    """ivshmem's takes the other one's id, of two; a connection's any value."""
    for device, ids, register, value in ((IVSHMEM, 0, 12, 1 << 16), (IVSHMEM, 1, 12, 0), (CONNECTION, 7, 0, 1)):
        root = tmp_path / f"{device}-{ids}"
        pci(root, device, uio=1 << 20)
        memory = root / "dev/uio3"
        with open(memory, "r+b") as f:
            f.write(bytes(8) + bytes([ids]))
        found = open_region(f"uio:{ADDRESS}", sys=root / "sys", dev=root / "dev")
        assert found[1:] == (PAGE, 1 << 20, register, value)
        end = attach_region(*found, side=0).outgoing
        for bell in (end.data, end.space):
            with open(memory, "r+b") as f:
                f.seek(register)
                f.write(b"\xff" * 4)
            bell.kick()
            assert memory.read_bytes()[register:register + 4] == value.to_bytes(4, "little")
        end.producer(datagrams=False)  # rings when it starts
        assert memory.read_bytes()[register:register + 4] == value.to_bytes(4, "little")


def test_what_cannot_ring_is_polled(tmp_path, monkeypatch):
    """A BAR through sysfs; and a UIO device without an interrupt, which is an error to read."""
    folder = pci(tmp_path, IVSHMEM, uio=1 << 20)
    (folder / "resource2").write_bytes(bytes(1 << 20))
    monkeypatch.setattr(of_region, "_hears", lambda fd: False)
    for kind in ("ivshmem", "uio"):
        ends = [attach_region(*open_region(f"{kind}:{ADDRESS}", sys=tmp_path / "sys", dev=tmp_path / "dev"), side=side)
                for side in (0, 1)]
        assert ends[0].outgoing.data == Doorbell(-1)
        with rooms(*map(Room, ends)) as (a, b):
            exchange(a, b)
    monkeypatch.undo()
    directory = os.open(tmp_path, os.O_RDONLY)
    assert not of_region._hears(directory)
    os.close(directory)


def test_a_region_is_opened_by_its_name(tmp_path):
    plain = tmp_path / "plain"
    plain.touch(0o600)
    os.truncate(plain, 1 << 20)
    memfd = os.memfd_create("region", os.MFD_ALLOW_SEALING)
    os.ftruncate(memfd, 1 << 20)
    fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    for name in (f"file:{plain}", f"fd:{memfd}"):
        sides = [attach_region(*open_region(name), side=side) for side in (0, 1)]
        with rooms(*map(Room, sides)) as (a, b):
            exchange(a, b)
        Speaker(sides[1].says.area).say(Kind.UP, 5)
        assert [r.values[0] for r in Listener(sides[0].hears.area).look()] == [5]
        assert Listener(sides[1].hears.area).look() == []
    os.close(memfd)


def test_lanes_lie_beside_the_rings_and_in_nobody_elses_place(tmp_path):
    """Whatever is written to either's lane and rings, the other's lane is what it was."""
    file = tmp_path / "region"
    file.write_bytes(bytes(1 << 20))
    file.chmod(0o600)
    a, b = (attach_region(*open_region(f"file:{file}"), side=side) for side in (0, 1))
    for name in ("outgoing", "incoming"):
        end = getattr(a, name)
        end.own[:] = b"\xaa" * len(end.own)
    a.says.area[:] = b"\xbb" * len(a.says.area)
    assert bytes(b.hears.area) == b"\xbb" * PAGE and not any(b.says.area) and not any(b.outgoing.own)
    assert len(a.outgoing.own) + len(a.says.area) + len(a.incoming.own) == 1 << 19
    assert set(bytes(b.incoming.theirs)) == set(bytes(b.outgoing.theirs)) == {0xaa}


@pytest.mark.parametrize("make, name, said", [
    (lambda p: None, "pigeon:x", "neither uio:"), (lambda p: None, "file:{}", "No such file"),
    (lambda p: p.mkdir(), "file:{}", "Is a directory"), (lambda p: p.touch(0o644), "file:{}", "chmod 600"),
    (lambda p: os.mkfifo(p, 0o600), "file:{}", "no regular file"), (lambda p: p.symlink_to("/etc/hosts"), "file:{}", "symbolic links"),
    (lambda p: p.touch(0o600), "file:{}", "no power of two"), (lambda p: None, f"ivshmem:{ADDRESS}", "no PCI device"),
    (lambda p: None, f"uio:{ADDRESS}", "no PCI device"), (lambda p: pci(p, IVSHMEM), f"uio:{ADDRESS}", "wgpy_ring is not loaded"),
    (lambda p: pci(p, "0x1000", uio=PAGE), f"uio:{ADDRESS}", "1af4:1000 is neither ivshmem"),
    (lambda p: pci(p, "0x1000"), f"ivshmem:{ADDRESS}", "1af4:1000 is no ivshmem device"),
    (lambda p: pci(p, IVSHMEM, uio=1 << 18), f"uio:{ADDRESS}", "262144 bytes are no power of two of at least 1 MiB"),
    (lambda p: pci(p, IVSHMEM, uio=3 << 20), f"uio:{ADDRESS}", "3145728 bytes are no power of two"),
    (lambda p: (pci(p, IVSHMEM, uio=1 << 20), (p / "dev/uio3").write_bytes(b"\2" * PAGE)), f"uio:{ADDRESS}",
     "its id at ivshmem is 33686018"),
    (lambda p: (pci(p, IVSHMEM, uio=1 << 20), (p / "sys/class/uio/uio3/maps/map1/size").write_text("x")), f"uio:{ADDRESS}",
     "invalid literal"),
    (lambda p: None, "fd:x", "invalid literal"),
    (lambda p: None, "fd:0", "not sealed"), (lambda p: None, "fd:4000", "Bad file descriptor")])
def test_a_region_that_is_none_is_refused_in_one_line(tmp_path, make, name, said):
    make(tmp_path / "region")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(HostError, match=said) as refused:
        open_region(name.format(tmp_path / "region"), sys=tmp_path / "region/sys", dev=tmp_path / "region/dev")
    assert str(refused.value).startswith("region ") and "\n" not in str(refused.value)
    assert len(os.listdir("/proc/self/fd")) == before
