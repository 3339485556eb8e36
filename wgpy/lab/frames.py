"""A fast hostile sender, run as a program so that it has an interpreter of its own: reads
a JSON object (`Order`) from standard input, prints `sending`, sends for its time or until
SIGTERM, and prints a JSON object: packets sent, packets lost, seconds taken.

All packets are made beforehand and go out by sendmmsg(2), raw over AF_PACKET, so that a
source address is whatever the order says, or through a UDP socket.
"""

import base64
import ctypes
import hashlib
import json
import os
import random
import signal
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass

from wgpy.lab import flood

STOCK = 8192             # packets made beforehand
BATCH = 64               # packets in one system call
_CREDIT = 0.01           # s: what a sender that was late may make good at once
_ETH_IPV4 = b"\x08\x00"


@dataclass(frozen=True)
class Order:
    """`kind`: garbage, mac1, sources (as mac1, each from an address of its own), replay
    (`message`, in hexadecimal) or udp (`size` bytes through a socket, `link` and `source`
    ignored). `rate` in packets a second, 0 for as many as possible; `source` and `target`
    are IPv4 addresses and ports, `key` the target's public key in base64."""
    kind: str
    target: tuple[str, int]
    rate: float
    seconds: float
    source: tuple[str, int] = ("0.0.0.0", 0)
    link: str = ""
    gateway: str = ""        # MAC address of the next hop
    key: str = ""
    message: str = ""
    size: int = 0

    def text(self) -> str:
        return json.dumps(asdict(self))


def garbage() -> bytes:
    """One half is of an initiation's size and type, for which a MAC1 has to be looked at."""
    return b"\1\0\0\0" + os.urandom(144) if random.random() < 0.5 else flood.garbage()


def messages(order: Order) -> list[bytes]:
    """The UDP payloads."""
    if order.kind == "udp":
        return [bytes(order.size)]
    if order.kind == "replay":
        return [bytes.fromhex(order.message)]
    if order.kind == "garbage":
        return [garbage() for _ in range(STOCK)]
    mac1_key = hashlib.blake2s(b"mac1----" + base64.b64decode(order.key)).digest()
    return [flood.initiation(mac1_key) for _ in range(STOCK)]


def frame(order: Order, own: bytes, payload: bytes, source: tuple[str, int]) -> bytes:
    """Ethernet, IPv4 and UDP without a checksum, which IPv4 allows (RFC 768)."""
    length = len(payload) + 8
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length + 20, 0, 0, 64, socket.IPPROTO_UDP, 0,
                       socket.inet_aton(source[0]), socket.inet_aton(order.target[0]))
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xffff) + (total >> 16)
    check = struct.pack("!H", ~(total + (total >> 16)) & 0xffff)
    udp = struct.pack("!HHHH", source[1], order.target[1], length, 0)
    return bytes.fromhex(order.gateway.replace(":", "")) + own + _ETH_IPV4 + head[:10] + check + head[12:] + udp + payload


def stranger() -> tuple[str, int]:
    """An address of the networks set aside for benchmarks (RFC 2544) and a port."""
    return f"198.{random.randrange(18, 20)}.{random.randrange(256)}.{random.randrange(1, 255)}", random.randrange(1024, 65536)


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_char_p), ("len", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("iov", ctypes.POINTER(_Iovec)),
                ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int))


class _Message(ctypes.Structure):  # struct mmsghdr
    _fields_ = (("header", _Header), ("sent", ctypes.c_uint32))


def prepared(packets: list[bytes]):
    """The array for sendmmsg, a multiple of BATCH long, and what it points to."""
    while len(packets) % BATCH:
        packets = packets * BATCH
    iovecs = (_Iovec * len(packets))(*(_Iovec(p, len(p)) for p in packets))
    array = (_Message * len(packets))()
    for message, iovec in zip(array, iovecs, strict=True):
        message.header.iov, message.header.iovlen = ctypes.pointer(iovec), 1
    return array, (packets, iovecs)


def opened(order: Order) -> tuple[socket.socket, list[bytes]]:
    payloads = messages(order)
    if order.kind == "udp":
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        out.connect(tuple(order.target))
        return out, payloads
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    out.bind((order.link, 0))
    own = out.getsockname()[4]
    return out, [frame(order, own, p, stranger() if order.kind == "sources" else tuple(order.source)) for p in payloads]


def send(order: Order) -> dict:
    """Errors, as when a queue is full, lose a packet and are not repeated."""
    out, packets = opened(order)
    array, kept = prepared(packets)
    sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
    fd, width, places = out.fileno(), ctypes.sizeof(_Message), len(array) // BATCH
    start, sent, lost, turn = ctypes.addressof(array), 0, 0, 0
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    print("sending", flush=True)
    began = last = time.monotonic()
    credit = 0.0
    while (now := time.monotonic()) - began < order.seconds and not ended:
        if order.rate:
            credit = min(credit + (now - last) * order.rate, order.rate * _CREDIT + BATCH)
            last = now
            if credit < BATCH:
                time.sleep((BATCH - credit) / order.rate)
                continue
            credit -= BATCH
        done = sendmmsg(fd, ctypes.c_void_p(start + turn % places * BATCH * width), BATCH, 0)
        turn += 1
        sent += max(done, 0)
        lost += BATCH - max(done, 0)
    del kept
    return {"sent": sent, "lost": lost, "seconds": time.monotonic() - began}


if __name__ == "__main__":
    print(json.dumps(send(Order(**json.load(sys.stdin)))))
