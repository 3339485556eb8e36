"""Watches one TUN interface wherever it goes: up and down, MTU, deletion, and a move
into another network namespace.

Events only say "look again"; the state is then read from the kernel, so that a lost
or stale event does no harm. A moved interface is followed by NETLINK_LISTEN_ALL_NSID
(netlink(7)): unlike a socket inside the other namespace, an nsid does not keep that
namespace alive, so its end still deletes the interface and ends the daemon.
"""

import logging
import os
import struct
from dataclasses import dataclass

from wgpy.netlink import LINKS, LOST, PLACES, RTM_DELLINK, RTM_NEWLINK, Whereabouts, events, netlink_socket
from wgpy.red import rtnl
from wgpy.red.tun import Tun

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LinkState:
    """The tunnel's interface, wherever it is by now."""
    name: str
    index: int
    up: bool
    mtu: int
    foreign: bool  # in another network namespace than this process


class LinkMonitor:
    """`fileno()` is readable when something may have happened; then call read()."""

    def __init__(self, tun: Tun):
        self._tun = tun
        self._last: LinkState | None = None
        self._socket = netlink_socket(LINKS)
        try:
            self._socket.setsockopt(rtnl.netlink.SOL_NETLINK, rtnl.netlink.NETLINK_LISTEN_ALL_NSID, 1)
        except OSError as e:
            log.warning("cannot follow the interface into other namespaces: %s", e.strerror)

    def fileno(self) -> int:
        """Readable when read() has something to read."""
        return self._socket.fileno()

    def close(self) -> None:
        """The TUN device is its owner's."""
        self._socket.close()

    def read(self) -> bool:
        """Empties the socket; true when state() may have changed."""
        return any([self._concerns(*event) for event in events(self._socket)])

    def _concerns(self, kind: int, payload: memoryview) -> bool:
        if kind == LOST:
            return True
        if kind not in (RTM_NEWLINK, RTM_DELLINK) or len(payload) < 8:
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
            link = rtnl.request(rtnl.kinds.RTM_GETLINK, rtnl.ifinfmsg.ifinfmsg, {},
                                [("IFLA_IFNAME", name), *where])
            self._last = LinkState(name, link["index"], bool(link["flags"] & rtnl.ifinfmsg.IFF_UP),
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
                rtnl.request(rtnl.kinds.RTM_NEWNSID, rtnl.nsidmsg.nsidmsg, {},
                             [("NETNSA_NSID", 0xFFFFFFFF), ("NETNSA_FD", there)])
                nsid = _get_nsid(there)
            return nsid
        finally:
            os.close(there)


def _get_nsid(fd: int) -> int | None:
    answer = rtnl.request(rtnl.kinds.RTM_GETNSID, rtnl.nsidmsg.nsidmsg, {}, [("NETNSA_FD", fd)])
    nsid = answer.get_attr("NETNSA_NSID")
    return None if nsid == 0xFFFFFFFF else nsid


class RouteMonitor:
    """`fileno()` is readable when an address or route of this namespace changed."""

    def __init__(self) -> None:
        self._socket, self._where = netlink_socket(PLACES), Whereabouts()

    def fileno(self) -> int:
        """Readable when read() has something to read."""
        return self._socket.fileno()

    def close(self) -> None:
        """To be forgotten by the loop before."""
        self._socket.close()

    def read(self, tunnel: int) -> bool:
        """Empties the socket; true when peers may have to learn where we are now.
        `tunnel` is the index of the tunnel's own link here, or 0."""
        return any([self._where.moved(*event, tunnel) for event in events(self._socket)])
