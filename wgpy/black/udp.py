"""The UDP sockets of one tunnel: IPv4 and IPv6 on one port.

The outer DF bit stays clear, the local address of each datagram is reported (PKTINFO) so
that answers leave from it, and the DS field comes along for ECN. What ICMP says about the
path's MTU is not believed (IP_PMTUDISC_OMIT): anybody can forge it, and it would cost the
peer most of its throughput for ten minutes. `discover` leaves that to the kernel
(IP_PMTUDISC_DONT).
"""

import contextlib
import errno
import socket
import struct

from wgpy.errors import HostError

BUFFER_BYTES = 7 << 20
_RANDOM_PORT_TRIES = 32

# linux/in.h, linux/in6.h, linux/udp.h, asm-generic/socket.h
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE, _SO_MARK = 32, 33, 36
_IP_PKTINFO, _IP_MTU_DISCOVER, _IP_RECVTOS = 8, 10, 13
_IPV6_MTU_DISCOVER, _IPV6_RECVPKTINFO, _IPV6_RECVTCLASS = 23, 49, 66
_PMTUDISC_DONT, _PMTUDISC_OMIT = 0, 5
_UDP_GRO = 104

_V4 = [(socket.IPPROTO_IP, _IP_PKTINFO, 1), (socket.IPPROTO_IP, _IP_RECVTOS, 1)]
_V6 = [(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1),
       (socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1), (socket.IPPROTO_IPV6, _IPV6_RECVTCLASS, 1)]
_ABSENT = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPFNOSUPPORT, errno.EPROTONOSUPPORT)


Pair = tuple[socket.socket | None, socket.socket | None]


class UdpSockets:
    """Open sockets: `port`, and the `pair` of an IPv4 and an IPv6 socket, None where the
    host lacks the family."""

    def __init__(self, port: int, mark: int = 0, discover: bool = False):
        """Port 0 picks a random free one, the same for both families. Raises OSError
        (EADDRINUSE) or HostError; nothing stays open then."""
        self.pair = _open(port, _PMTUDISC_DONT if discover else _PMTUDISC_OMIT)
        self._mark = bytes(4)
        self.port = self._all()[0].getsockname()[1]
        try:
            if mark:
                self.set_mark(mark)
        except BaseException:
            self.close()
            raise

    def fds(self) -> tuple[int, int]:
        """IPv4 and IPv6 descriptors, -1 where absent."""
        four, six = (-1 if s is None else s.fileno() for s in self.pair)
        return four, six

    def set_mark(self, mark: int) -> None:
        """Marks what is sent from now on, 32 bits; 0 takes the mark off. Raises OSError;
        both sockets have the old mark then."""
        value, before = struct.pack("=I", mark), self._mark
        try:
            for s in self._all():
                s.setsockopt(socket.SOL_SOCKET, _SO_MARK, value)
        except OSError:
            for s in self._all():
                with contextlib.suppress(OSError):
                    s.setsockopt(socket.SOL_SOCKET, _SO_MARK, before)
            raise
        self._mark = value

    def close(self) -> None:
        for s in self._all():
            s.close()
        self.pair = (None, None)

    def _all(self) -> list[socket.socket]:
        return [s for s in self.pair if s is not None]


def _open(port: int, path_mtu: int) -> Pair:
    for attempt in range(_RANDOM_PORT_TRIES):
        try:
            pair = _pair(port, path_mtu)
        except OSError as e:
            if port or e.errno != errno.EADDRINUSE or attempt == _RANDOM_PORT_TRIES - 1:
                raise
            continue
        break
    if pair == (None, None):
        raise HostError("the host has neither IPv4 nor IPv6")
    return pair


def _pair(port: int, path_mtu: int) -> Pair:
    four = _socket(socket.AF_INET, "0.0.0.0", port, [*_V4, (socket.IPPROTO_IP, _IP_MTU_DISCOVER, path_mtu)])
    try:
        port = four.getsockname()[1] if four else port
        return four, _socket(socket.AF_INET6, "::", port,
                             [*_V6, (socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, path_mtu)])
    except OSError:
        if four:
            four.close()
        raise


def _socket(family: int, address: str, port: int, options: list):
    try:
        s = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    except OSError as e:
        if e.errno in _ABSENT:
            return None
        raise
    try:
        for option in options:
            s.setsockopt(*option)
        _buffers(s)
        try:
            s.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
        except OSError:  # before Linux 5.0: one datagram a receive
            pass
        s.bind((address, port))
        return s
    except OSError as e:
        s.close()
        if e.errno in _ABSENT and family == socket.AF_INET6:
            return None
        raise


def _buffers(s: socket.socket) -> None:
    """As large as permitted: forced with CAP_NET_ADMIN, else up to net.core.*mem_max."""
    for force, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            s.setsockopt(socket.SOL_SOCKET, force, BUFFER_BYTES)
        except OSError:
            s.setsockopt(socket.SOL_SOCKET, plain, BUFFER_BYTES)
