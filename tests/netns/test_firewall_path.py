"""Sizes through the generated firewalls: MSS clamping, and the ICMP of path MTU discovery."""

import socket

import pytest
from netns.firewall_house import (
    FAR,
    FAR6,
    HOST,
    HOST6,
    LARGE,
    PATIENCE,
    PORT,
    SMALL,
    TCP_PROTOCOL,
    WAN,
    WAN6,
    WEB,
    bound,
    built,
    counters,
    house,
    inject,
    udp,
)
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6

from wgpy.lab.netns import wait_until
from wgpy.lab.wire import Capture

__all__ = ["built", "house"]
pytestmark = pytest.mark.netns


def mss_of(capture: Capture, flags: str) -> int:
    """Of the first segment with these flags that came in."""
    segments = [TCP(f.payload) for f in capture.frames() if not f.outgoing and f.protocol == TCP_PROTOCOL]
    return dict(next(s for s in segments if s.flags == flags).options).get("MSS")


@pytest.mark.parametrize("host, far, most", [(HOST, FAR, 1380), (HOST6, FAR6, 1360)])
def test_segments_are_clamped_to_the_tunnel(house, host, far, most):
    """All links here carry 1500 bytes; only the rules know of the tunnel's 1420."""
    with bound(house.far, far, 80, socket.SOCK_STREAM) as server:
        server.listen()
        for asked, there in ((None, most), (1000, 1000)):
            with Capture(house.far) as outward, Capture(house.lan) as inward:
                with bound(house.lan, host, 0, socket.SOCK_STREAM) as client:
                    if asked:
                        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, asked)
                    client.connect((far, 80))
                    server.accept()[0].close()
            assert mss_of(outward, "S") == there and mss_of(inward, "SA") == most


def test_a_narrow_wan_is_clamped_too(house):
    house.load(SMALL.replace("gateway = [", "mtu = 1492\ngateway = ["))
    with bound(house.out, WEB, 80, socket.SOCK_STREAM) as server:
        server.listen()
        with Capture(house.out) as capture, bound(house.lan, HOST, 0, socket.SOCK_STREAM) as client:
            client.connect((WEB, 80))
    assert mss_of(capture, "S") == 1452


@pytest.mark.parametrize("own, router", [(WAN, "192.0.2.1"), (WAN6, "2001:db8::1")])
@pytest.mark.parametrize("discovery", [True, False])
def test_the_outer_path_mtu_is_learnt_where_the_site_file_says_so(house, own, router, discovery):
    """The tunnel's own datagrams: frag-needed and packet-too-big reach black's socket with
    wan.discovery, and only then."""
    if discovery:
        house.load(SMALL.replace("gateway = [", "discovery = true\ngateway = [", 1))
    six = ":" in own
    level, mtu, discover, do = ((socket.IPPROTO_IPV6, 24, 23, 2) if six
                                else (socket.IPPROTO_IP, 14, 10, 2))
    with bound(house.black, own, PORT) as s:
        s.setsockopt(level, discover, do)
        s.connect((router, 4500))
        s.send(b"x")
        assert s.getsockopt(level, mtu) == 1500
        quoted = udp(own, router, 4500, PORT)
        error = (IPv6(src=router, dst=own) / ICMPv6PacketTooBig(mtu=1400) if six
                 else IP(src=router, dst=own) / ICMP(type=3, code=4, nexthopmtu=1400)) / quoted
        dropped = counters(house.black)["input_dropped"]
        inject(house.out, error)
        wait_until(lambda: s.getsockopt(level, mtu) == 1400 or counters(house.black)["input_dropped"] > dropped,
                   PATIENCE, "the message is taken or dropped")
        assert s.getsockopt(level, mtu) == (1400 if discovery else 1500)


def test_the_path_mtu_of_a_clear_flow_is_learnt(house):
    with bound(house.out, WEB, 9) as server, bound(house.lan, HOST, 0) as client:
        client.setsockopt(socket.IPPROTO_IP, 10, 2)
        client.connect((WEB, 9))
        client.send(b"?")
        _, sender = server.recvfrom(9)
        quoted = udp(WAN, WEB, 9, sender[1])
        inject(house.out, IP(src="192.0.2.1", dst=WAN)
               / ICMP(type=3, code=4, nexthopmtu=1300) / quoted)
        wait_until(lambda: client.getsockopt(socket.IPPROTO_IP, 14) == 1300, PATIENCE, "the path MTU")


def test_the_internet_learns_of_a_narrow_lan(house):
    """Red's own frag-needed, from an address that must not be seen outside."""
    house.red.ip("link", "set", "eth1", "mtu", 1300)
    try:
        with bound(house.out, WEB, 9) as server, bound(house.lan, HOST, 0) as client:
            client.sendto(b"?", (WEB, 9))
            _, sender = server.recvfrom(9)
            server.setsockopt(socket.IPPROTO_IP, 10, 2)
            server.connect(sender)
            with Capture(house.out) as capture:
                server.send(bytes(1400))
                wait_until(lambda: server.getsockopt(socket.IPPROTO_IP, 14) == 1300, PATIENCE, "path MTU")
    finally:
        house.red.ip("link", "set", "eth1", "mtu", 1500)
    assert {f.source[0] for f in capture.frames() if not f.outgoing} <= {WAN, WAN6}


@pytest.mark.parametrize("text", [SMALL, LARGE])
@pytest.mark.parametrize("own, router", [(WAN, "192.0.2.1"), (WAN6, "2001:db8::1")])
def test_fragments_of_the_tunnel_pass(house, text, own, router):
    """A path that fragments outer datagrams is slow, not dead."""
    house.load(text)
    with bound(house.black, own, PORT) as tunnel, bound(house.out, router, 4500) as peer:
        peer.sendto(bytes(4000), (own, PORT))
        data, sender = tunnel.recvfrom(5000)
        tunnel.sendto(data, sender)
        assert len(peer.recv(5000)) == 4000


def test_routers_of_the_other_site_may_say_too_big(house):
    """An ICMP error about a permitted flow, from an address that no permit covers."""
    house.load(SMALL.replace('to = ["cusco"]', f'to = ["{FAR}/32"]'))
    with bound(house.far, FAR, 9) as server, bound(house.lan, HOST, 0) as client:
        client.setsockopt(socket.IPPROTO_IP, 10, 2)
        client.connect((FAR, 9))
        client.send(b"?")
        port = server.recvfrom(9)[1][1]
        for quoted in (port + 1, port):
            inject(house.far, IP(src="10.2.0.200", dst=HOST)
                   / ICMP(type=3, code=4, nexthopmtu=1350) / udp(HOST, FAR, 9, quoted))
        wait_until(lambda: client.getsockopt(socket.IPPROTO_IP, 14) == 1350, PATIENCE, "the path MTU")


@pytest.mark.parametrize("host, far", [(HOST, FAR), (HOST6, FAR6)])
def test_hosts_learn_the_tunnels_mtu(house, host, far):
    level, mtu, discover = (41, 24, 23) if ":" in far else (0, 14, 10)
    house.red.ip("link", "set", "secure0", "mtu", 1420)
    try:
        with bound(house.lan, host, 0) as client:
            client.setsockopt(level, discover, 2)
            client.connect((far, 9))
            client.send(bytes(1440))
            wait_until(lambda: client.getsockopt(level, mtu) == 1420, PATIENCE, "the path MTU")
    finally:
        house.red.ip("link", "set", "secure0", "mtu", 1500)
