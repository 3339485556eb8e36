"""What the UDP port does when one socket has more than a batch can hold."""
import socket

import pytest

from wgpy._fast.ports import MemoryPort, Pump, UdpPort

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
