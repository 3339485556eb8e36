"""How super-packets of the TUN are cut into sends. A pair of datagram sockets stands in
for the TUN: like it, one read gives one packet behind its virtio header."""
import socket
import struct

import pytest
from packets import packed

from wgpy._fast.ports import MemoryPort, Pump, TunPort

SIZE = 1368  # payload of a TCP segment with timestamps at MTU 1420
SEND = 45    # 45 * (1420 + 32) = 65340 bytes fit 65507, 46 do not

STREAM = b"".join(struct.pack("!I", i) for i in range(75_000))


def super_packet(segments: int, seq: int, size: int = SIZE, last: int = SIZE) -> bytes:
    """Virtio header, IPv4, TCP with 12 bytes of options; the payload is STREAM's from `seq` on."""
    payload = (segments - 1) * size + last
    tcp = struct.pack("!HHIIBBHHH", 40000, 5001, seq, 1, 8 << 4, 16, 512, 0, 0) + bytes(12)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 52 + payload, 7, 0x4000, 64, 6, 0, packed("10.0.0.1"),
                     packed("10.0.0.2"))
    return struct.pack("=BBHHHH", 1, 1, 52, size, 20, 16) + ip + tcp + STREAM[seq:seq + payload]


class Reader:
    """A pump from the stand-in to memory."""

    def __init__(self):
        self.kernel, tun = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        tun.setblocking(False)
        self._tun, self.sink = tun, MemoryPort()
        self.pump = Pump(TunPort(tun.fileno()), None, self.sink)

    def batches(self) -> list[int]:
        """Packets of each turn until nothing is left."""
        return list(iter(self.pump.step, 0))

    def stream(self) -> bytes:
        """The payloads in order of arrival, after a look at every sequence number."""
        out = b""
        for packet, _, _ in self.sink.take():
            assert struct.unpack("!I", packet[24:28])[0] == len(out)
            assert struct.unpack("!H", packet[2:4])[0] == len(packet)
            out += packet[52:]
        return out


@pytest.fixture
def reader():
    r = Reader()
    yield r
    r.kernel.close()
    r._tun.close()


@pytest.mark.parametrize(("supers", "batches"), [
    ([46], [45, 1]),                   # what does not fit one send follows at once
    ([46, 46], [90, 2]),
    ([46, 46, 46], [90, 45, 3]),       # and joins what comes next
    ([45, 45], [90]),
    ([10], [10]),                      # no whole send: nothing waits
    ([46, 30], [76]),                  # a remainder worth a send of its own goes
])
def test_only_whole_sends_and_worthwhile_remainders(reader, supers, batches):
    """P1: a send costs the same for one segment as for forty."""
    seq = 0
    for segments in supers:
        reader.kernel.send(super_packet(segments, seq))
        seq += segments * SIZE
    assert reader.batches() == batches
    assert reader.stream() == STREAM[:sum(supers) * SIZE]


def test_a_short_last_segment_keeps_its_length(reader):
    reader.kernel.send(super_packet(47, 0, last=5))
    assert sum(reader.batches()) == 47
    assert reader.stream() == STREAM[:46 * SIZE + 5]


@pytest.mark.parametrize("size", [1, 100, 536, 1368, 8868])
def test_every_segment_size_comes_out_whole(reader, size):
    segments = min(64, 65000 // size)
    for k in range(4):
        reader.kernel.send(super_packet(segments, k * segments * size, size, size))
    taken = 0
    while n := reader.pump.step():
        taken += n
    assert taken == 4 * segments
    assert reader.stream() == STREAM[:4 * segments * size]
