"""What the kernel tells of links, addresses and routes (rtnetlink(7)), heard and read without
pyroute2, which a room has no use for.
"""

import fcntl
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE, RTM_DELROUTE = 16, 17, 20, 21, 24, 25
RTMGRP_LINK = 0x1
RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE = 0x10, 0x40, 0x100, 0x400
IFF_UP, IFF_RUNNING = 0x1, 0x40
LOST = -1  # in place of a message's type

# Groups of news that a socket can hear.
LINKS = RTMGRP_LINK
PLACES = RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE  # addresses and routes

_HEADER = struct.Struct("=IHHII")
_TYPE_MASK = 0x3FFF        # linux/netlink.h: NLA_TYPE_MASK
_IFLA_IFNAME = 3           # linux/if_link.h
_IFA_ADDRESS, _IFA_LOCAL = 1, 2  # linux/if_addr.h
_RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_MULTIPATH, _RTA_TABLE, _RTA_VIA = 4, 5, 6, 7, 9, 15, 18
_RTA_WHERE = (_RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_MULTIPATH, _RTA_VIA)
_SCOPE_LINK = 253          # linux/rtnetlink.h: RT_SCOPE_LINK
_SIOCGIFFLAGS = 0x8913     # linux/sockios.h
_RUNS = IFF_UP | IFF_RUNNING

_Facts = tuple[Any, ...]  # of a message, to be compared


def attributes(payload: memoryview, offset: int) -> dict[int, bytes]:
    """Type -> value of what follows a message's fixed part; stops at a malformed one."""
    found = {}
    while offset + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, offset)
        if length < 4 or offset + length > len(payload):
            break
        found[kind & _TYPE_MASK] = bytes(payload[offset + 4:offset + length])
        offset += (length + 3) & ~3
    return found


def messages(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """(type, payload) of each netlink message in a datagram; stops at a malformed one."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            return
        yield kind, memoryview(data)[offset + _HEADER.size:offset + length]
        offset += (length + 3) & ~3


def netlink_socket(groups: int) -> socket.socket:
    """Hears of changes in the network namespace of the calling thread."""
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    s.setblocking(False)
    s.bind((0, groups))
    return s


def events(s: socket.socket) -> Iterator[tuple[int, memoryview]]:
    """(type, payload) of each message that waits; LOST where the kernel had to drop some."""
    while True:
        try:
            data = s.recvmsg(65536)[0]  # recv(2) is not a call that rooms have
        except BlockingIOError:
            return
        except OSError:  # ENOBUFS; what is left wakes the socket's watcher again
            yield LOST, memoryview(b"")
            return
        yield from messages(data)


class Whereabouts:
    """Where a network namespace is found, as rtnetlink tells it: its addresses of more
    than link scope, and its default routes."""

    def __init__(self) -> None:
        self._known: dict[_Facts, _Facts] = {}

    def moved(self, kind: int, payload: memoryview, tunnel: int = 0) -> bool:
        """Takes one event. A refresh of what is known already is no move, nor is anything
        on the link of index `tunnel`; an IPv6 address is another one once it may be used."""
        if kind == LOST:
            self._known.clear()
            return True
        if kind in (RTM_NEWADDR, RTM_DELADDR):
            place = _address(payload)
        else:
            place = _default_route(payload) if kind in (RTM_NEWROUTE, RTM_DELROUTE) else None
        if place is None or tunnel and place[0] == tunnel:
            return False
        _, key, value = place
        if kind in (RTM_DELADDR, RTM_DELROUTE):
            self._known.pop(key, None)
            return True
        before, self._known[key] = self._known.get(key), value
        return before != value


class Carrier:
    """Whether the link `name` of a network namespace is up and has its carrier."""

    def __init__(self, name: str):
        """As it is now in the calling thread's namespace."""
        self._name = name.encode()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            try:
                answer = fcntl.ioctl(s, _SIOCGIFFLAGS, struct.pack("=16s24x", self._name))
            except OSError:  # it is not there yet
                answer = bytes(18)
        self.runs = struct.unpack_from("=H", answer, 16)[0] & _RUNS == _RUNS

    def came(self, kind: int, payload: memoryview) -> bool:
        """Takes one event. True when it has come; it may have when events were lost."""
        if kind == LOST:
            return True
        if kind not in (RTM_NEWLINK, RTM_DELLINK) or len(payload) < 16:
            return False
        if attributes(payload, 16).get(_IFLA_IFNAME, b"").rstrip(b"\0") != self._name:
            return False
        ran = self.runs
        self.runs = kind == RTM_NEWLINK and struct.unpack_from("=I", payload, 8)[0] & _RUNS == _RUNS
        return self.runs and not ran


def _address(payload: memoryview) -> tuple[int, _Facts, _Facts] | None:
    """Link, what names the address, and whether it is used (linux/if_addr.h)."""
    if len(payload) < 8:
        return None
    family, bits, flags, scope, index = struct.unpack_from("=BBBBI", payload)
    found = attributes(payload, 8)
    key = family, index, bits, found.get(_IFA_ADDRESS), found.get(_IFA_LOCAL)
    return (index, key, (flags,)) if scope < _SCOPE_LINK else None


def _default_route(payload: memoryview) -> tuple[int, _Facts, _Facts] | None:
    """Link, what names a route to everywhere, and where it leads (linux/rtnetlink.h)."""
    if len(payload) < 12 or payload[1]:
        return None
    found = attributes(payload, 12)
    return (int.from_bytes(found.get(_RTA_OIF, b""), sys.byteorder),
            (payload[0], found.get(_RTA_TABLE), found.get(_RTA_PRIORITY)),
            (payload[7], *(found.get(kind) for kind in _RTA_WHERE)))
