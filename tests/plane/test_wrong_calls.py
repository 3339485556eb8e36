"""What Python asks wrongly of the extension modules is refused, and leaves no lock behind.
tests/fuzz/test_misuse.py tries the same at random."""
import mmap

import pytest

from wgpy._fast.plane import CryptoStage, Plane, aead_measure, aead_open, aead_seal
from wgpy._fast.ports import GateStage, MemoryPort, Port, Pump, RingIn, RingOut, Stage
from wgpy.notices import Endpoint


@pytest.fixture
def plane():
    made = Plane(max_peers=2, max_prefixes=8, queues=2)
    made.add_peer()
    return made


def test_a_refused_prefix_holds_no_lock(plane):
    for address in (None, "10.0.0.0", b"", b"\x0a\0\0", b"\x0a\0\0\0\0", bytes(15), bytes(17)):
        for change in (plane.allow, plane.disallow):
            with pytest.raises((TypeError, ValueError)):
                change(0, address, 8)
        with pytest.raises((TypeError, ValueError)):
            plane.lookup(address)
    assert plane.prefixes() == {}
    plane.allow(0, bytes(4), 8)  # would wait for ever for what was left locked
    assert plane.prefixes() == {0: [(bytes(4), 8)]}


def test_numbers_are_not_cut(plane):
    with pytest.raises(OverflowError):
        plane.send(b"x", endpoint=Endpoint("127.0.0.1", 9), tos=256)
    with pytest.raises(OverflowError):
        plane.received(0, -1)
    with pytest.raises(OverflowError):
        MemoryPort().put(b"x", tos=-1)


@pytest.mark.parametrize("stage", [Stage, GateStage, CryptoStage])
def test_stages_that_belong_to_nothing(stage):
    with pytest.raises(TypeError):
        Pump(MemoryPort(), stage(), MemoryPort())


def test_bare_ports():
    with pytest.raises(TypeError):
        Port().stats()
    for source, sink in ((None, MemoryPort()), (MemoryPort(), None), (Port(), MemoryPort()), (MemoryPort(), Port())):
        with pytest.raises(TypeError):
            Pump(source, None, sink)


def ring(bell=(-1, None, 0)):
    area, page = mmap.mmap(-1, 2**20), mmap.mmap(-1, 4096)
    return RingOut(area, page, bell, bell, datagrams=False), RingIn(page, area, bell, bell, datagrams=False)


def test_the_wrong_end_of_a_ring():
    out, into = ring()
    with pytest.raises(TypeError):
        Pump(out, None, MemoryPort())
    with pytest.raises(TypeError):
        Pump(MemoryPort(), None, into)
    Pump(into, None, out)


def test_stages_that_do_not_belong_together(plane):
    for stages in ([plane.seal_stage(0), plane.open_stage(1)], [plane.seal_stage(0), None], [plane.seal_stage(0)] * 2):
        with pytest.raises((TypeError, ValueError)):
            Pump(MemoryPort(), stages, MemoryPort())


def test_a_register_cannot_be_closed_under_its_ring():
    register = mmap.mmap(-1, 4096)
    ends = ring((-1, register, 1))
    with pytest.raises(BufferError):
        register.close()
    del ends
    register.close()
    with pytest.raises(ValueError):
        ring((-1, memoryview(bytearray(64))[1:], 1))


def test_lengths_of_single_packets():
    key = bytes(32)
    sealed = aead_seal("openssl", key, 0, bytes(65535))
    assert aead_open("openssl", key, 0, sealed) == bytes(65535)
    for refused in (lambda: aead_seal("openssl", key, 0, bytes(65536)), lambda: aead_open("openssl", key, 0, bytes(65552)),
                    lambda: aead_measure("openssl", 65536, 1), lambda: aead_measure("openssl", 64, 0)):
        with pytest.raises(ValueError):
            refused()
