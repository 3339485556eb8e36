"""What the UDP port does when one socket has more than a batch can hold."""
import socket

import pytest

from wgpy._fast.ports import MemoryPort, Pump, UdpPort
from wgpy.black.udp import UdpSockets

UDP_SEGMENT, UDP_GRO = 103, 104
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


class Heard:
    """A port with a socket of each family on loopback, and a sender for each."""

    def __init__(self):
        self.sockets, self.senders = {}, {}
        for family, address in LOOPBACK.items():
            self.sockets[family] = s = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            s.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
            s.bind((address, 0))
            self.senders[family] = socket.socket(family, socket.SOCK_DGRAM)
        self.sink = MemoryPort()
        self.pump = Pump(UdpPort(*(s.fileno() for s in self.sockets.values())), None, self.sink)

    def send(self, family: int, payload: bytes, segment: int = 0) -> None:
        self.senders[family].setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, segment)
        self.senders[family].sendto(payload, self.sockets[family].getsockname()[:2])

    def close(self) -> None:
        for s in (*self.sockets.values(), *self.senders.values()):
            s.close()


@pytest.fixture
def heard():
    h = Heard()
    yield h
    h.close()


@pytest.mark.parametrize(("flood", "quiet"), [(socket.AF_INET, socket.AF_INET6), (socket.AF_INET6, socket.AF_INET)])
def test_one_family_does_not_silence_the_other(heard, flood, quiet):
    """F3: trains that fill every batch of one family, one datagram of the other."""
    for _ in range(8):
        heard.send(flood, bytes(64 * 100), 100)
    heard.send(quiet, b"quiet")
    heard.pump.step()
    heard.pump.step()
    assert b"quiet" in [datagram for datagram, _, _ in heard.sink.take()]


def test_what_does_not_fit_a_batch_is_counted(heard):
    """A train of 128 segments, which only a sender on the same host makes, behind 192."""
    for segments in (64, 64, 64, 128):
        heard.send(socket.AF_INET, bytes(segments * 100), 100)
    while heard.pump.step():
        pass
    taken = heard.sink.take()
    assert len(taken) + heard.pump.drops()["truncated"] == 320


class Apart(Heard):
    """The sockets of a tunnel, and what the pump passed on."""

    def __init__(self):
        self.opened = UdpSockets(0)
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sender.connect(("127.0.0.1", self.opened.port))
        self.sink = MemoryPort()
        self.pump = Pump(UdpPort(*self.opened.fds()), None, self.sink)
        self.now = 10**9

    def step(self, later: int = 0) -> list[bytes]:
        self.now += later
        self.pump.step(self.now)
        return [datagram for datagram, _, _ in self.sink.take()]

    def close(self) -> None:
        self.opened.close()
        self.sender.close()


@pytest.fixture
def apart():
    made = Apart()
    yield made
    made.close()


INITIATION, DATA = b"\1\0\0\0" + bytes(144), b"\4\0\0\0" + bytes(92)
LOOK = 600_000  # ns


def test_a_flood_of_handshakes_holds_up_no_data(apart):
    """F3: more of them than their socket holds, and data behind them: the first batch has
    data, and as many handshakes as leave room for it."""
    for _ in range(6000):
        apart.sender.send(INITIATION)
    for i in range(100):
        apart.sender.send(DATA + i.to_bytes(4, "big"))
    heard = apart.step() + apart.step() + apart.step()
    assert [d for d in heard if d[0] == 4] == [DATA + i.to_bytes(4, "big") for i in range(100)]
    assert 0 < sum(d[0] == 1 for d in heard) <= 192
    assert apart.step(LOOK) == [INITIATION] * 64  # there were data meanwhile
    assert apart.step(LOOK) == [INITIATION] * 192


def test_a_look_that_was_missed_is_made_up_for(apart):
    for _ in range(3000):
        apart.sender.send(INITIATION)
    assert len(apart.step()) == 192 and apart.step() == [] and apart.step(LOOK - 1) == []
    assert len(apart.step(1)) == 192
    assert [len(apart.step(5 * LOOK)), *(len(apart.step()) for _ in range(5))] == [192] * 5 + [0]


@pytest.mark.parametrize("datagram", [b"", b"\4", b"\4\0\0", b"\3\0\0\0" + bytes(60), bytes(65000), b"\4\0\1\0" + bytes(92),
                                      b"\4\0\0\0" + bytes(65000)], ids=len)
def test_whatever_comes_is_passed_on_whole(apart, datagram):
    apart.sender.send(datagram)
    assert apart.step() == [datagram]


def test_trains_are_taken_apart_in_both_sockets(apart):
    """Long ones too: as many as the batch has room for at a time."""
    for size, payload in ((148, INITIATION), (96, DATA)):
        apart.sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
        for _ in range(5):
            apart.sender.send(payload * 60)
    heard = []
    for _ in range(8):
        heard += apart.step(LOOK)
    assert heard.count(INITIATION) == 300 and heard.count(DATA) == 300 and len(heard) == 600


def test_calm_handshakes_wait_for_nothing(apart):
    for _ in range(40):
        apart.sender.send(INITIATION)
        assert apart.step() == [INITIATION]
