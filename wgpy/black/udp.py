"""The UDP sockets of one tunnel: IPv4 and IPv6 on one port, one pair a queue.

The outer DF bit stays clear (IP_PMTUDISC_DONT), the local address of each datagram is
reported (PKTINFO) so that answers leave from it, and the DS field comes along for ECN.
"""

import errno
import socket

from wgpy.errors import HostError

BUFFER_BYTES = 7 << 20
_RANDOM_PORT_TRIES = 32

# linux/in.h, linux/in6.h, linux/udp.h, asm-generic/socket.h
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE, _SO_MARK = 32, 33, 36
_IP_PKTINFO, _IP_MTU_DISCOVER, _IP_RECVTOS = 8, 10, 13
_IPV6_MTU_DISCOVER, _IPV6_RECVPKTINFO, _IPV6_RECVTCLASS = 23, 49, 66
_PMTUDISC_DONT = 0
_UDP_GRO = 104

_V4 = [(socket.IPPROTO_IP, _IP_PKTINFO, 1), (socket.IPPROTO_IP, _IP_RECVTOS, 1),
       (socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)]
_V6 = [(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1),
       (socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1), (socket.IPPROTO_IPV6, _IPV6_RECVTCLASS, 1),
       (socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT)]
_ABSENT = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPFNOSUPPORT, errno.EPROTONOSUPPORT)


class UdpSockets:
    """Open sockets: `port`, and `pairs` of (IPv4, IPv6) sockets, None where the host
    lacks the family."""

    def __init__(self, port: int, mark: int = 0, queues: int = 1):
        """Port 0 picks a random free one, the same for both families. Raises OSError
        (EADDRINUSE) or HostError; nothing stays open then."""
        self.pairs: list[tuple[socket.socket | None, socket.socket | None]] = []
        self.port = port
        try:
            self._open_first(queues > 1)
            for _ in range(queues - 1):
                self.pairs.append(self._pair(self.port, True))
            if mark:
                self.set_mark(mark)
        except BaseException:
            self.close()
            raise

    def fds(self) -> list[tuple[int, int]]:
        """(IPv4, IPv6) descriptors, one pair a queue, -1 where absent."""
        return [tuple(-1 if s is None else s.fileno() for s in pair) for pair in self.pairs]

    def set_mark(self, mark: int) -> None:
        """Marks what is sent from now on; 0 takes the mark off. Raises OSError."""
        for s in self._all():
            s.setsockopt(socket.SOL_SOCKET, _SO_MARK, mark)

    def close(self) -> None:
        for s in self._all():
            s.close()
        self.pairs = []

    def _all(self) -> list[socket.socket]:
        return [s for pair in self.pairs for s in pair if s is not None]

    def _open_first(self, shared: bool) -> None:
        """Binds without SO_REUSEPORT first: with it, another daemon on the same port
        would go unnoticed and take half of the traffic."""
        for attempt in range(_RANDOM_PORT_TRIES):
            try:
                pair = self._pair(self.port, False)
            except OSError as e:
                if self.port or e.errno != errno.EADDRINUSE or attempt == _RANDOM_PORT_TRIES - 1:
                    raise
                continue
            break
        if pair == (None, None):
            raise HostError("the host has neither IPv4 nor IPv6")
        self.pairs.append(pair)
        self.port = next(s for s in pair if s is not None).getsockname()[1]
        for s in self._all():
            if shared:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    @staticmethod
    def _pair(port: int, shared: bool) -> tuple[socket.socket | None, socket.socket | None]:
        four = _socket(socket.AF_INET, "0.0.0.0", port, _V4, shared)
        try:
            port = four.getsockname()[1] if four else port
            return four, _socket(socket.AF_INET6, "::", port, _V6, shared)
        except OSError:
            if four:
                four.close()
            raise


def _socket(family: int, address: str, port: int, options: list, shared: bool):
    try:
        s = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    except OSError as e:
        if e.errno in _ABSENT:
            return None
        raise
    try:
        for option in options:
            s.setsockopt(*option)
        if shared:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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
