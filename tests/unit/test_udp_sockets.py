"""The UDP sockets of a tunnel: one port for both families, options, failures. No root."""

import errno
import os
import select
import socket

import pytest

from wgpy.black import udp
from wgpy.black.udp import UdpSockets

IP_MTU_DISCOVER, IPV6_MTU_DISCOVER = 10, 23  # linux/in.h, linux/in6.h
PMTUDISC_OMIT = 5


@pytest.fixture
def opened():
    made = []

    def make(*args, **kwargs):
        made.append(UdpSockets(*args, **kwargs))
        return made[-1]

    yield make
    for sockets in made:
        sockets.close()


def test_random_port_is_the_same_for_both_families(opened):
    sockets = opened(0)
    four, six = sockets.pair
    assert sockets.port > 0 and four.getsockname()[1] == sockets.port
    assert six is None or six.getsockname()[1] == sockets.port
    assert four.getsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER) == PMTUDISC_OMIT
    assert not four.getblocking() and not os.get_inheritable(four.fileno())
    if six is not None:
        assert six.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert six.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER) == PMTUDISC_OMIT


def test_port_of_another_is_never_shared(opened):
    """With SO_REUSEPORT the second would get half of the first one's traffic."""
    first = opened(0)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError) as e:
        UdpSockets(first.port)
    assert e.value.errno == errno.EADDRINUSE
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("code", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_host_without_ipv6(opened, monkeypatch, code):
    real = socket.socket

    def no_six(family, *args):
        if family == socket.AF_INET6:
            raise OSError(code, "no IPv6")
        return real(family, *args)

    monkeypatch.setattr(udp.socket, "socket", no_six)
    sockets = opened(0)
    assert sockets.fds() == (sockets.pair[0].fileno(), -1, sockets.aside[0].fileno(), -1)


def test_mark_that_one_socket_refuses_is_on_neither(opened, monkeypatch):
    """SO_MARK is 36 (asm-generic/socket.h) and needs CAP_NET_ADMIN; here the kernel is
    played, so that the second socket fails."""
    marks = {}

    class Played:
        def __init__(self, name):
            self.name = name

        def setsockopt(self, level, option, value):
            assert (level, option) == (socket.SOL_SOCKET, 36)
            if self.name == "six" and value != bytes(4):
                raise OSError(errno.EPERM, "no")
            marks[self.name] = value

    sockets = opened(0)
    monkeypatch.setattr(sockets, "_senders", lambda: [Played("four"), Played("six")])
    with pytest.raises(OSError):
        sockets.set_mark(0xFFFFFFFF)
    assert marks == {"four": bytes(4), "six": bytes(4)}
    monkeypatch.undo()


TRANSPORT, OTHERS = [b"\4\0\0\0", b"\4\0\0\0" + bytes(60)], [b"", b"\4", b"\4\0\0", b"\1\0\0\0", b"\4\0\0\1", bytes(90)]


def heard_by(s: socket.socket, count: int) -> list[bytes]:
    """All that is there when so many have come. Sorted: where there are several cores a flow may
    overtake another."""
    out = []
    while select.select([s], [], [], 20 if len(out) < count else 0)[0]:
        out.append(s.recv(100))
    return sorted(out)


def test_what_is_no_transport_message_has_sockets_of_its_own(opened):
    sockets = opened(0)
    for s, aside, address in zip(sockets.pair, sockets.aside, ("127.0.0.1", "::1")):
        if s is None:
            continue
        for datagram in TRANSPORT + OTHERS:
            with socket.socket(s.family, socket.SOCK_DGRAM) as sender:  # a flow each: no hash of flows decides
                sender.sendto(datagram, (address, sockets.port))
        assert heard_by(s, len(TRANSPORT)) == sorted(TRANSPORT) and heard_by(aside, len(OTHERS)) == sorted(OTHERS)


def test_who_shares_the_port_gets_nothing(opened):
    """A program with our user id may join the two sockets, as their port is shared."""
    sockets = opened(0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as third:
        third.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        third.bind(("0.0.0.0", sockets.port))
        for datagram in (TRANSPORT + OTHERS) * 8:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(datagram, ("127.0.0.1", sockets.port))
        for s, theirs in ((sockets.pair[0], TRANSPORT * 8), (sockets.aside[0], OTHERS * 8)):
            assert heard_by(s, len(theirs)) == sorted(theirs)
        assert heard_by(third, 0) == []


def test_kernel_that_cannot_tell_them_apart_leaves_one_socket(opened, monkeypatch):
    monkeypatch.setattr(udp, "_SO_ATTACH_REUSEPORT_CBPF", 9999)
    sockets = opened(0)
    assert sockets.aside == (None, None) and not sockets.pair[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
    for datagram in TRANSPORT + OTHERS:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(datagram, ("127.0.0.1", sockets.port))
    assert heard_by(sockets.pair[0], len(TRANSPORT + OTHERS)) == sorted(TRANSPORT + OTHERS)
