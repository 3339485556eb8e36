"""Watching and bending the outside path: a capture and a relay."""

import ctypes
import errno
import select
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass

from wgpy.black.udp import SO_RCVBUFFORCE

ETH_P_ALL = 3
_ROOM = socket.CMSG_SPACE(16)  # for a timespec
_SOL_PACKET, _PACKET_STATISTICS = 263, 6  # packet(7)
_SO_ATTACH_FILTER, _SO_TIMESTAMPNS, _BPF_RETURN = 26, 35, 6  # socket(7)


@dataclass(frozen=True)
class Seen:
    """A packet on the wire. `kind` is the WireGuard message type 1 to 4, or 0 for
    anything else; `index` the receiver index of types 2 to 4, the sender's of type 1;
    `time` is when the kernel had it, as time.monotonic() counts."""
    time: float
    outgoing: bool
    source: tuple[str, int]
    destination: tuple[str, int]
    kind: int
    index: int
    tos: int
    protocol: int
    payload: bytes


def parse(ip: bytes, outgoing: bool, now: float) -> Seen | None:
    """An IPv4 or IPv6 packet without extension headers; None for anything else."""
    if len(ip) >= 20 and ip[0] >> 4 == 4:
        header, protocol, tos = (ip[0] & 15) * 4, ip[9], ip[1]
        ends = [socket.inet_ntop(socket.AF_INET, ip[i:i + 4]) for i in (12, 16)]
    elif len(ip) >= 40 and ip[0] >> 4 == 6:
        header, protocol, tos = 40, ip[6], (ip[0] & 15) << 4 | ip[1] >> 4
        ends = [socket.inet_ntop(socket.AF_INET6, ip[i:i + 16]) for i in (8, 24)]
    else:
        return None
    ports, kind, index, payload = (0, 0), 0, 0, ip[header:]
    if protocol in (6, 17):
        ports = int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:4], "big")
    if protocol == 17:
        payload = payload[8:]
        if len(payload) >= 8 and 1 <= payload[0] <= 4 and payload[1:4] == b"\0\0\0":
            at = 8 if payload[0] == 2 else 4
            kind, index = payload[0], int.from_bytes(payload[at:at + 4], "little")
    return Seen(now, outgoing, (ends[0], ports[0]), (ends[1], ports[1]), kind, index, tos,
                protocol, payload)


def refuse(packets: socket.socket) -> None:
    """Nothing more comes in, so that reading what is there has an end."""
    code = ctypes.create_string_buffer(struct.pack("HBBI", _BPF_RETURN, 0, 0, 0))
    packets.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(code)))


class Capture:
    """Records the packets of a link, at most `snap` bytes of each and without the link's
    own header, for the length of a `with` block. Meant for some thousand a second;
    `missed` says afterwards how many came too fast."""

    def __init__(self, ns, link: str = "eth0", snap: int = 256):
        self._seen: list[Seen] = []
        self._snap, self._stop, self.missed = snap, False, 0
        with ns.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((link, ETH_P_ALL))
        self._socket.settimeout(0.05)
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "Capture":
        self._thread.start()
        return self

    def __exit__(self, *exc) -> None:
        refuse(self._socket)
        self._stop = True
        self._thread.join()
        counts = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self.missed = int.from_bytes(counts[4:], sys.byteorder)
        self._socket.close()

    def _read(self) -> None:
        while True:
            try:
                packet, ancillary, _, address = self._socket.recvmsg(self._snap, _ROOM)
            except OSError as error:  # ENETDOWN: said once when the interface goes down
                if not isinstance(error, TimeoutError) and error.errno != errno.ENETDOWN:
                    raise
                if self._stop:
                    return
                continue
            if seen := parse(packet, address[2] == socket.PACKET_OUTGOING, _when(ancillary)):
                self._seen.append(seen)

    def frames(self, *kinds: int) -> list[Seen]:
        """All frames so far, or those of the given WireGuard kinds."""
        return [s for s in self._seen if not kinds or s.kind in kinds]

    def indices(self, outgoing: bool) -> list[int]:
        """Receiver indices of transport messages, each once, in order of appearance."""
        return list(dict.fromkeys(s.index for s in self.frames(4) if s.outgoing == outgoing))


def _when(ancillary: list) -> float:
    """The kernel's time of a packet, a reader that is late notwithstanding."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("qq", data)
            return time.monotonic() - (time.time() - seconds - nanoseconds / 1e9)
    return time.monotonic()


class Relay:
    """A NAT in user space: what arrives at `address` goes on to `target` from a socket
    of its own, and answers come back the same way. rebind() is a NAT that forgets.
    `transform(datagram, outward)` gives the datagrams that go on instead of one."""

    def __init__(self, ns, listen: tuple[str, int], target: tuple[str, int], source: str = ""):
        self._ns, self._target, self._client, self._closed = ns, target, None, False
        self.transform = lambda datagram, outward: (datagram,)
        with ns.entered():
            self._inner = socket.socket(_family(listen[0]), socket.SOCK_DGRAM)
            self._inner.bind(listen)
        self.address = self._inner.getsockname()[:2]
        self._outer = self._bind(source)
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *exc) -> None:
        self._closed = True
        self._thread.join()
        self._inner.close()
        self._outer.close()

    @property
    def outer(self) -> tuple[str, int]:
        return self._outer.getsockname()[:2]

    def rebind(self, source: str = "") -> None:
        """From now on another port, and another local address if one is given."""
        self._outer = self._bind(source)

    def _bind(self, source: str) -> socket.socket:
        with self._ns.entered():
            outer = socket.socket(_family(self._target[0]), socket.SOCK_DGRAM)
            outer.bind((source, 0))
            outer.connect(self._target)
        return outer

    def _loop(self) -> None:
        outer = self._outer
        while not self._closed:
            if outer is not self._outer:
                outer.close()
                outer = self._outer
            for ready in select.select([self._inner, outer], [], [], 0.05)[0]:
                try:
                    self._carry(ready)
                except OSError:
                    pass  # ICMP errors of the far end; a NAT knows nothing of them

    def _carry(self, ready: socket.socket) -> None:
        outward = ready is self._inner
        datagram, sender = ready.recvfrom(65536)
        if outward:
            self._client = sender
        for onward in self.transform(datagram, outward):
            if outward:
                self._outer.send(onward)
            elif self._client:
                self._inner.sendto(onward, self._client)


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
