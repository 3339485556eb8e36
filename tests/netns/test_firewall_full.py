"""Nothing between sites needs a state that others can fill: connections of clear traffic,
fragments, neighbours (F3, F5)."""

import json
import socket
import time

import pytest
from netns import connections
from netns.firewall_house import (
    FAR,
    FAR6,
    GUEST,
    HOST,
    HOST6,
    LARGE,
    PATIENCE,
    PORT,
    SMALL,
    UDP_PROTOCOL,
    WAN,
    WAN6,
    WEB,
    bound,
    built,
    counted,
    counters,
    dhcp_passes,
    error,
    house,
    inject,
    pings,
    reached,
    silent,
    udp,
)
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from wgpy.lab.netns import wait_until

__all__ = ["built", "house"]
pytestmark = pytest.mark.netns
TRIES = 5
# wgpy.firewall.neighbours: at once, and for each second
BURST, RATE = 128, 32


@pytest.fixture
def full(house):
    """No room for one connection more, in red nor in black."""
    try:
        for ns in (house.red, house.black):
            assert connections.fill(ns, HOST, WEB) >= connections.limit(ns)
        yield house
    finally:
        for ns in (house.red, house.black):
            connections.empty(ns)


def test_a_full_table_of_connections_stops_nothing_between_sites(full):
    """New pings in both directions and IP versions, in both modes, and the tunnel's own
    datagrams; of the Internet the LAN is cut off, which shows that the table is full."""
    for text in (SMALL, LARGE):
        full.load(text)
        for ns, there in ((full.lan, FAR), (full.far, HOST), (full.lan, FAR6), (full.far, HOST6)):
            assert sum(pings(ns, there) for _ in range(TRIES)) == TRIES, (ns.name, there)
    with bound(full.black, "0.0.0.0", PORT) as tunnel, bound(full.out, "192.0.2.1", 0) as peer:
        for _ in range(TRIES):
            peer.sendto(b"in", (WAN, PORT))
            tunnel.sendto(b"out", tunnel.recvfrom(9)[1])
            assert peer.recv(9) == b"out"
    full.load()
    assert silent(full.lan, WEB)


def test_dhcp_needs_no_connection(full):
    dhcp_passes(full)


def test_a_host_has_so_many_connections_to_the_internet_and_leaves_the_others_theirs(house):
    most = 16
    house.load(SMALL + f"[bypass]\nconnections = {most}\n")
    with bound(house.out, WEB, 9) as server:
        flows = [bound(house.lan, HOST, 0) for _ in range(most + 3)]
        try:
            for flow in flows[:most]:
                for data in (b"first", b"second"):  # without an answer, and still one connection
                    flow.sendto(data, (WEB, 9))
                    assert server.recvfrom(9)[0] == data
            assert counters(house.red)["too_many"] == 0
            for flow in flows[most:]:
                flow.sendto(b"more", (WEB, 9))
            server.settimeout(0.3)
            with pytest.raises(TimeoutError):
                server.recv(9)
            server.settimeout(PATIENCE)
            assert counted(house.red, "too_many", len(flows) - most) == len(flows) - most
            flows[0].sendto(b"third", (WEB, 9))
            assert server.recv(9) == b"third"
        finally:
            for flow in flows:
                flow.close()
        with bound(house.lan, GUEST, 0) as other:
            other.sendto(b"another host", (WEB, 9))
            assert server.recv(99) == b"another host"
    assert pings(house.lan, FAR, HOST), "between sites there is no such number"


def test_errors_about_what_is_permitted_pass_both_ways(house):
    """From a router that no permit covers."""
    def arrives(ns, link, sender, packet, count=1) -> bool:
        protocol = 58 if packet.version == 6 else 1
        return bool(reached(ns, link, lambda: inject(sender, packet),
                            lambda f: f.protocol == protocol and f.source[0] == packet.src, count))
    house.load(SMALL.replace('to = ["cusco"]', f'to = ["{FAR}/32", "{FAR6}/128"]'))
    assert arrives(house.lan, "eth0", house.far, error("10.2.0.200", HOST, udp(HOST, FAR)))
    assert arrives(house.lan, "eth0", house.far, error("fd02::200", HOST6, udp(HOST6, FAR6)))
    assert arrives(house.far, "eth0", house.lan, error(GUEST, FAR, udp(FAR, HOST)))
    assert not arrives(house.far, "eth0", house.lan, error(GUEST, FAR, udp(FAR, GUEST)), 0)
    assert not arrives(house.lan, "eth0", house.far, error("10.2.0.200", HOST, udp(HOST, "10.2.0.9")), 0)
    assert counted(house.red, "not_permitted", 2) == 2


def test_fragments_between_sites_are_not_put_together(house):
    """So nobody's unfinished ones can take their place: each passes by itself."""
    pieces = fragment(IP(src=HOST, dst=FAR, id=77) / UDP(sport=1, dport=9) / bytes(2400), fragsize=800)
    send = lambda: inject(house.lan, *pieces[:-1])  # noqa: E731
    assert len(reached(house.far, "eth0", send, lambda f: f.protocol == UDP_PROTOCOL, len(pieces) - 1)) == len(pieces) - 1


def _solicitations(v: int, mac: str, near: str, own: str) -> list[bytes]:
    """From many, who have one MAC address, for the address of the room."""
    ask, me = Ether(src="02:00:00:00:00:01", dst=mac), "02:00:00:00:00:01"
    if v == 4:
        return [bytes(ask / ARP(hwsrc=me, psrc=f"{near}{n}", pdst=own)) for n in range(11, 250)]
    return [bytes(ask / IPv6(src=f"{near}{n:x}", dst=own, hlim=255) / ICMPv6ND_NS(tgt=own)
                  / ICMPv6NDOptSrcLLAddr(lladdr=me)) for n in range(400)]


@pytest.mark.parametrize("v, room, sender, link, near, own", [
    (4, "red", "lan", "eth1", "10.1.0.", "10.1.0.1"), (6, "red", "lan", "eth1", "fd01::9:", "fd01::1"),
    (4, "black", "out", "eth0", "192.0.2.", WAN), (6, "black", "out", "eth0", "2001:db8::9:", WAN6)])
def test_new_neighbours_come_at_a_bounded_rate(house, v, room, sender, link, near, own):
    """One host that asks in the names of many; one that has asked before is heard again."""
    asked, counter = getattr(house, room), {4: "arp_limited", 6: "nd_limited"}[v]
    mac = json.loads(asked.ip("-j", "link", "show", link))[0]["address"]
    frames, sender_mac = _solicitations(v, mac, near, own), "02:00:00:00:00:01"
    began = time.monotonic()
    with getattr(house, sender).entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind(("eth0", 0))
        for frame in frames:
            s.send(frame)
        def judged():
            refused, learnt = counters(asked)[counter], asked.ip("neigh", "show", "dev", link).count(sender_mac)
            return (refused, learnt) if refused + learnt >= len(frames) else None
        refused, learnt = wait_until(judged, PATIENCE, "every frame is taken or refused")
        allowed = BURST + RATE * (time.monotonic() - began + 1)
        assert refused >= len(frames) - allowed
        assert BURST <= learnt == len(frames) - refused
        for _ in range(BURST):  # the first of them again, who needs no leave any more
            s.send(frames[0])
        assert counters(asked)[counter] == refused
    asked.ip("neigh", "flush", "dev", link)
