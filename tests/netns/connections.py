"""Fills a namespace's table of connections, as a host does that completes one after
another: entries that the kernel may not evict, made by ctnetlink because ten thousand
real ones a second would take a machine of one's own."""

import socket
import struct
from ipaddress import ip_address

from wgpy.lab.netns import Netns

# linux/netlink.h, linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h
NETLINK_NETFILTER, CT_NEW, CT_DELETE, REQUEST, CREATE, ACK = 12, 0x0100, 0x0102, 1, 0x400, 4
TUPLE_ORIG, TUPLE_REPLY, STATUS, TIMEOUT, NESTED = 1, 2, 3, 7, 0x8000
SEEN_REPLY, ASSURED, CONFIRMED = 2, 4, 8
UDP, DAY = 17, 86400
_BATCH = 200


def limit(ns: Netns) -> int:
    return int(ns.run("sysctl", "-n", "net.netfilter.nf_conntrack_max").stdout)


def count(ns: Netns) -> int:
    return int(ns.run("sysctl", "-n", "net.netfilter.nf_conntrack_count").stdout)


def fill(ns: Netns, source: str, target: str) -> int:
    """Until nothing more fits; the number of entries then."""
    wanted = limit(ns) + 100
    with ns.entered(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as s:
        s.bind((0, 0))
        batch = []
        for n in range(wanted):
            batch.append(_entry(source, target, n))
            if len(batch) == _BATCH or n == wanted - 1:
                s.send(b"".join(batch))
                batch = []
    return count(ns)


def empty(ns: Netns) -> None:
    with ns.entered(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as s:
        s.send(struct.pack("=IHHIIBBH", 20, CT_DELETE, REQUEST | ACK, 1, 0, socket.AF_UNSPEC, 0, 0))
        s.recv(4096)


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", len(data) + 4, kind) + data + bytes(-len(data) % 4)


def _tuple(kind: int, source: bytes, target: bytes, sport: int, dport: int) -> bytes:
    address = _attribute(1 | NESTED, _attribute(1, source) + _attribute(2, target))
    ports = _attribute(2 | NESTED, _attribute(1, bytes([UDP])) + _attribute(2, struct.pack("!H", sport))
                       + _attribute(3, struct.pack("!H", dport)))
    return _attribute(kind | NESTED, address + ports)


def _entry(source: str, target: str, n: int) -> bytes:
    near, far = ip_address(source).packed, ip_address(target).packed
    sport, dport = 1 + n % 60000, 1 + n // 60000
    body = (struct.pack("=BBH", socket.AF_INET, 0, 0) + _tuple(TUPLE_ORIG, near, far, sport, dport)
            + _tuple(TUPLE_REPLY, far, near, dport, sport)
            + _attribute(STATUS, struct.pack("!I", SEEN_REPLY | ASSURED | CONFIRMED))
            + _attribute(TIMEOUT, struct.pack("!I", DAY)))
    return struct.pack("=IHHII", 16 + len(body), CT_NEW, REQUEST | CREATE, n, 0) + body
