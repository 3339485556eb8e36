"""Watches one TUN interface wherever it goes: up and down, MTU, deletion, and a move
into another network namespace.

Events only say "look again"; the state is then read from the kernel, so that a lost
or stale event does no harm. A moved interface is followed by NETLINK_LISTEN_ALL_NSID
(netlink(7)): unlike a socket inside the other namespace, an nsid does not keep that
namespace alive, so its end still deletes the interface and ends the daemon.
"""

import logging
import os
import socket
import struct
import sys
from typing import NamedTuple

from wgpy.red import rtnl
from wgpy.red.tun import Tun

log = logging.getLogger("wgpy")

_SOL_NETLINK, _LISTEN_ALL_NSID = 270, 8
_GROUPS_LINK = 0x1
_GROUPS_ROUTES = 0x10 | 0x40 | 0x100 | 0x400  # addresses and routes, IPv4 and IPv6
_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_RTM_NEWNSID, _RTM_GETNSID = 88, 90
_RTM_NEWADDR, _RTM_DELADDR, _RTM_NEWROUTE, _RTM_DELROUTE = 20, 21, 24, 25
_IFA_ADDRESS, _IFA_LOCAL, _RT_SCOPE_LINK = 1, 2, 253
_RTA_OIF, _RTA_PRIORITY, _RTA_TABLE = 4, 6, 15
_RTA_WHERE = (_RTA_OIF, 5, 7, 9, 18)  # _GATEWAY, _PREFSRC, _MULTIPATH, _VIA
_IFF_UP = 0x1
LOST = -1  # in place of a message's type


class LinkState(NamedTuple):
    name: str
    index: int
    up: bool
    mtu: int
    foreign: bool  # in another network namespace than this process


def netlink_socket(groups: int) -> socket.socket:
    """Hears of changes in the network namespace of the calling thread."""
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    s.setblocking(False)
    s.bind((0, groups))
    return s


def events(s: socket.socket):
    """(type, payload) of each message that waits; LOST where the kernel had to drop some."""
    while True:
        try:
            data = s.recv(65536)
        except BlockingIOError:
            return
        except OSError:  # ENOBUFS; what is left wakes the socket's watcher again
            yield LOST, memoryview(b"")
            return
        yield from rtnl.messages(data)


class Whereabouts:
    """Where a network namespace is found, as rtnetlink tells it: its addresses of more
    than link scope, and its default routes."""

    def __init__(self):
        self._known: dict[tuple, tuple] = {}

    def moved(self, kind: int, payload: memoryview, tunnel: int = 0) -> bool:
        """Takes one event. A refresh of what is known already is no move, nor is anything
        on the link of index `tunnel`; an IPv6 address is another one once it may be used."""
        if kind == LOST:
            self._known.clear()
            return True
        if kind in (_RTM_NEWADDR, _RTM_DELADDR):
            place = _address(payload)
        else:
            place = _default_route(payload) if kind in (_RTM_NEWROUTE, _RTM_DELROUTE) else None
        if place is None or tunnel and place[0] == tunnel:
            return False
        _, key, value = place
        if kind in (_RTM_DELADDR, _RTM_DELROUTE):
            self._known.pop(key, None)
            return True
        before, self._known[key] = self._known.get(key), value
        return before != value


def _address(payload: memoryview) -> tuple[int, tuple, tuple] | None:
    """Link, what names the address, and whether it is used (linux/if_addr.h)."""
    if len(payload) < 8:
        return None
    family, bits, flags, scope, index = struct.unpack_from("=BBBBI", payload)
    found = rtnl.attributes(payload, 8)
    key = family, index, bits, found.get(_IFA_ADDRESS), found.get(_IFA_LOCAL)
    return (index, key, (flags,)) if scope < _RT_SCOPE_LINK else None


def _default_route(payload: memoryview) -> tuple[int, tuple, tuple] | None:
    """Link, what names a route to everywhere, and where it leads (linux/rtnetlink.h)."""
    if len(payload) < 12 or payload[1]:
        return None
    found = rtnl.attributes(payload, 12)
    return (int.from_bytes(found.get(_RTA_OIF, b""), sys.byteorder),
            (payload[0], found.get(_RTA_TABLE), found.get(_RTA_PRIORITY)),
            (payload[7], *(found.get(kind) for kind in _RTA_WHERE)))


class LinkMonitor:
    """`fileno()` is readable when something may have happened; then call read()."""

    def __init__(self, tun: Tun):
        self._tun = tun
        self._last: LinkState | None = None
        self._socket = netlink_socket(_GROUPS_LINK)
        try:
            self._socket.setsockopt(_SOL_NETLINK, _LISTEN_ALL_NSID, 1)
        except OSError as e:
            log.warning("cannot follow the interface into other namespaces: %s", e.strerror)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def read(self) -> bool:
        """Empties the socket; true when state() may have changed."""
        return any([self._concerns(*event) for event in events(self._socket)])

    def _concerns(self, kind: int, payload: memoryview) -> bool:
        if kind == LOST:
            return True
        if kind not in (_RTM_NEWLINK, _RTM_DELLINK) or len(payload) < 8:
            return False
        return self._last is None or struct.unpack_from("=i", payload, 4)[0] == self._last.index

    def state(self) -> LinkState | None:
        """The interface as it is now; None when it was deleted. Where the kernel does
        not let us look into its namespace, the last known state."""
        name = self._tun.name()
        if name is None:
            return None
        try:
            nsid = self._nsid()
            where = [] if nsid is None else [("IFLA_IF_NETNSID", nsid)]
            link = rtnl.request(_RTM_GETLINK, rtnl.ifinfmsg.ifinfmsg, {},
                                [("IFLA_IFNAME", name), *where])
            self._last = LinkState(name, link["index"], bool(link["flags"] & _IFF_UP),
                                   link.get_attr("IFLA_MTU"), nsid is not None)
        except OSError as e:
            log.debug("link state of %s: %s", name, e.strerror)
            if self._tun.name() is None:
                return None
            if self._last is None:
                raise
        return self._last

    def _nsid(self) -> int | None:
        """Our number for the interface's namespace, given now if need be; None: ours."""
        try:
            there = self._tun.namespace()
        except OSError:  # before Linux 5.2
            return None
        try:
            own = os.stat("/proc/thread-self/ns/net")
            if os.path.samestat(os.fstat(there), own):
                return None
            nsid = _get_nsid(there)
            if nsid is None:
                rtnl.request(_RTM_NEWNSID, rtnl.nsidmsg.nsidmsg, {},
                             [("NETNSA_NSID", 0xFFFFFFFF), ("NETNSA_FD", there)])
                nsid = _get_nsid(there)
            return nsid
        finally:
            os.close(there)


def _get_nsid(fd: int) -> int | None:
    answer = rtnl.request(_RTM_GETNSID, rtnl.nsidmsg.nsidmsg, {}, [("NETNSA_FD", fd)])
    nsid = answer.get_attr("NETNSA_NSID")
    return None if nsid == 0xFFFFFFFF else nsid


class RouteMonitor:
    """`fileno()` is readable when an address or route of this namespace changed."""

    def __init__(self):
        self._socket, self._where = netlink_socket(_GROUPS_ROUTES), Whereabouts()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def read(self, tunnel: int) -> bool:
        """Empties the socket; true when peers may have to learn where we are now.
        `tunnel` is the index of the tunnel's own link here, or 0."""
        return any([self._where.moved(*event, tunnel) for event in events(self._socket)])
