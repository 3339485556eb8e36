"""The UDP sockets of one tunnel: IPv4 and IPv6 on one port.

What is no transport message comes by a socket of its own, so that a flood of handshakes, which
anybody can send, fills no buffer that data needs. The two share the port (SO_REUSEPORT) and a
classic BPF program picks the one; where the kernel has no such program there is one socket.

The outer DF bit stays clear, the local address of each datagram is reported (PKTINFO) so
that answers leave from it, and the DS field comes along for ECN. What ICMP says about the
path's MTU is not believed (IP_PMTUDISC_OMIT): anybody can forge it, and it would cost the
peer most of its throughput for ten minutes. `discover` leaves that to the kernel
(IP_PMTUDISC_DONT).
"""

import contextlib
import ctypes
import errno
import logging
import os
import socket
import struct

from wgpy.errors import HostError

log = logging.getLogger(__name__)

BUFFER_BYTES = 7 << 20
ASIDE_BYTES = 16 << 20  # of what is no transport message: some 100 ms of a flood
_RANDOM_PORT_TRIES = 32

# linux/in.h, linux/in6.h, linux/udp.h, asm-generic/socket.h
SO_SNDBUFFORCE, SO_RCVBUFFORCE, _SO_ATTACH_REUSEPORT_CBPF = 32, 33, 51
_IP_PKTINFO, _IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER = 8, 10, 23
_PMTUDISC_DONT, _PMTUDISC_OMIT = 0, 5
UDP_GRO = 104

_Option = tuple[int, int, int]  # level, name, value
_V4: list[_Option] = [(socket.IPPROTO_IP, _IP_PKTINFO, 1), (socket.IPPROTO_IP, socket.IP_RECVTOS, 1)]
_V6: list[_Option] = [
    (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1),
    (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1), (socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)]
_ABSENT = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPFNOSUPPORT, errno.EPROTONOSUPPORT)


# linux/filter.h, bpf_common.h: (code, true, false, k) each. The first socket of the port, 0, is
# for datagrams that begin with 4, 0, 0, 0, and the second for all others.
_LEN, _WORD, _AT_LEAST, _EQUAL, _RETURN = 0x80, 0x20, 0x35, 0x15, 0x06
_BY_TYPE = [(_LEN, 0, 0, 0), (_AT_LEAST, 0, 3, 4), (_WORD, 0, 0, 0), (_EQUAL, 0, 1, 0x04000000),
            (_RETURN, 0, 0, 0), (_RETURN, 0, 0, 1)]

NAMES = ("udp4", "udp6", "aside4", "aside6")  # of descriptors, as UdpSockets.fds() gives them
Pair = tuple[socket.socket | None, socket.socket | None]


class UdpSockets:
    """Open sockets: `port`, the `pair` of an IPv4 and an IPv6 socket, None where the host lacks
    the family, and the pair `aside` of those that get what is no transport message, None where
    the first get that too. Only the first send."""

    def __init__(self, port: int, mark: int = 0, discover: bool = False):
        """Port 0 picks a random free one, the same for both families. Raises OSError
        (EADDRINUSE) or HostError; nothing stays open then."""
        self.pair = _open(port, _PMTUDISC_DONT if discover else _PMTUDISC_OMIT)
        self._mark = bytes(4)
        self.port = self._senders()[0].getsockname()[1]
        self.aside: Pair = (None, None)
        try:
            if mark:
                self.set_mark(mark)
            four, six = (s and _aside(s) for s in self.pair)
            self.aside = four, six
        except BaseException:
            self.close()
            raise

    def fds(self) -> tuple[int, int, int, int]:
        """IPv4 and IPv6 descriptors, then those aside; -1 where absent."""
        four, six, aside4, aside6 = (-1 if s is None else s.fileno() for s in self.pair + self.aside)
        return four, six, aside4, aside6

    def copies(self) -> dict[str, int]:
        """New descriptors of those that there are, by their names, for black."""
        return {name: os.dup(fd) for name, fd in zip(NAMES, self.fds(), strict=True) if fd >= 0}

    def set_mark(self, mark: int) -> None:
        """Marks what is sent from now on, 32 bits; 0 takes the mark off. Raises OSError;
        both sockets have the old mark then."""
        value, before = struct.pack("=I", mark), self._mark
        try:
            for s in self._senders():
                s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, value)
        except OSError:
            for s in self._senders():
                with contextlib.suppress(OSError):
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, before)
            raise
        self._mark = value

    def close(self) -> None:
        """All of them; the object may be bound again."""
        for s in self.pair + self.aside:
            if s is not None:
                s.close()
        self.pair = self.aside = (None, None)

    def _senders(self) -> list[socket.socket]:
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


def _socket(family: int, address: str, port: int, options: list[_Option]) -> socket.socket | None:
    try:
        s = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    except OSError as e:
        if e.errno in _ABSENT:
            return None
        raise
    try:
        _set_up(s, options, BUFFER_BYTES)
        _buffer(s, BUFFER_BYTES, SO_SNDBUFFORCE, socket.SO_SNDBUF)
        s.bind((address, port))
        return s
    except OSError as e:
        s.close()
        if e.errno in _ABSENT and family == socket.AF_INET6:
            return None
        raise


def _aside(first: socket.socket) -> socket.socket | None:
    """The second socket of a port. The first one was bound without SO_REUSEPORT, so that a port
    in use was an error; who may join now has our user id, and is handed nothing."""
    s = socket.socket(first.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        _set_up(s, (_V4 if first.family == socket.AF_INET else _V6)[:-1], ASIDE_BYTES)  # of no handshake the DS field counts
        for each in (first, s):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind(first.getsockname())
        _hand_out_by_type(first)
        return s
    except OSError as e:
        log.warning("a flood of handshakes will delay data: no second socket for port %d: %s", first.getsockname()[1], e)
        s.close()
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
        return None


def _hand_out_by_type(s: socket.socket) -> None:
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in _BY_TYPE))
    s.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF,
                 struct.pack("@HP", len(_BY_TYPE), ctypes.addressof(program)))


def _set_up(s: socket.socket, options: list[_Option], room: int) -> None:
    """For receiving. Both sockets of a port merge trains, or none: before the kernel has read a
    datagram it takes either's word."""
    for option in options:
        s.setsockopt(*option)
    _buffer(s, room, SO_RCVBUFFORCE, socket.SO_RCVBUF)
    with contextlib.suppress(OSError):  # before Linux 5.0: one datagram a receive
        s.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)


def _buffer(s: socket.socket, size: int, force: int, plain: int) -> None:
    """As large as permitted: forced with CAP_NET_ADMIN, else up to net.core.*mem_max."""
    try:
        s.setsockopt(socket.SOL_SOCKET, force, size)
    except OSError:
        s.setsockopt(socket.SOL_SOCKET, plain, size)
