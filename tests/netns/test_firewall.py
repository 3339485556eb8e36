"""What the generated firewalls admit and what they drop, with real packets
(F2, F5, F10, I4, I5, I6)."""

import json
import socket
import time

import pytest
from netns.firewall_house import (
    FAR,
    FAR6,
    GUEST,
    HOST,
    HOST6,
    ICMP_PROTOCOL,
    LARGE,
    PATIENCE,
    PORT,
    SCANNED,
    SMALL,
    TCP_PROTOCOL,
    UDP_PROTOCOL,
    WAN,
    WAN6,
    WEB,
    WEB6,
    answers,
    bound,
    built,
    counted,
    counters,
    dhcp_passes,
    house,
    inject,
    pings,
    reached,
    scan,
    silent,
    site_of,
    udp,
)

from wgpy.firewall.rules import BLACK_COUNTERS, RED_COUNTERS, black_rules, red_rules
from wgpy.lab.netns import wait_until
from wgpy.lab.wire import Capture

__all__ = ["built", "house"]
pytestmark = pytest.mark.netns


@pytest.mark.parametrize("side, link, target", [
    ("out", "eth0", WAN), ("out", "eth0", WAN6), ("out", "eth0", "169.254.77.1"),
    ("out", "eth0", "169.254.77.2"), ("out", "eth0", HOST), ("out", "eth0", "10.1.0.1"),
    ("lan", "eth0", "10.1.0.1"), ("lan", "eth0", "fd01::1"), ("lan", "eth0", "169.254.77.1"),
    ("lan", "eth0", WAN), ("lan", "eth0", WAN6), ("far", "eth0", "10.1.0.1")])
def test_port_scan_gets_no_answer(house, side, link, target):
    """F2: no RST, no unreachable, not even from the listen port with nobody behind it."""
    ns = getattr(house, side)
    with Capture(ns, link) as capture:
        scan(ns, target)
        time.sleep(0.2)
    assert sum(f.outgoing for f in capture.frames()) > len(SCANNED), "the scan itself was seen"
    assert answers(capture) == []


def test_the_scan_would_see_answers(house):
    house.black.run("nft", "flush", "ruleset")
    with Capture(house.out) as capture:
        scan(house.out, WAN)
        wait_until(lambda: {f.protocol for f in answers(capture)} == {TCP_PROTOCOL, ICMP_PROTOCOL}, PATIENCE, "answers")


def test_only_the_listen_port_is_open(house):
    with bound(house.black, "0.0.0.0", PORT) as tunnel, bound(house.black, "0.0.0.0", 53) as dns:
        with bound(house.out, "192.0.2.1", 0) as s:
            s.sendto(b"dns", (WAN, 53))
            s.sendto(b"tunnel", (WAN, PORT))
            data, sender = tunnel.recvfrom(100)
            assert data == b"tunnel"
            tunnel.sendto(b"answer", sender)
            assert s.recv(100) == b"answer"
        dns.settimeout(0)
        with pytest.raises(BlockingIOError):
            dns.recv(100)
    assert counted(house.black, "input_dropped", 1) >= 1


def test_additions_open_what_they_say(house):
    assert silent(house.out, WAN)
    house.load(SMALL + '[firewall]\nblack = ["icmp type echo-request accept"]\n')
    assert pings(house.out, WAN) and silent(house.out, WAN6)
    assert silent(house.lan, "10.1.0.1")


def test_additions_are_tried_on_the_tunnel_too_and_know_the_sets(house):
    """After what the room itself admits, before its last drop; on one link only if they say so."""
    house.load(SMALL + '[firewall]\nred = ["ip saddr @remote4 icmp type echo-request accept", '
               '"iifname eth1 ip6 saddr @lan6 icmpv6 type echo-request accept"]\n')
    assert pings(house.far, "10.1.0.1") and silent(house.lan, "10.1.0.1")
    assert pings(house.lan, "fd01::1") and silent(house.far, "fd01::1")
    assert counted(house.red, "input_dropped", 2) == 2


def test_additions_of_a_room_are_not_for_the_other_one(house):
    """Seen with the room that asks taken over: its own rules are gone."""
    ping = "icmp type echo-request accept"
    house.load(SMALL + f'[firewall]\nblack = ["{ping}"]\nred = ["{ping}"]\n')
    assert pings(house.out, WAN) and pings(house.lan, "10.1.0.1")
    for taken, target, other in ((house.red, "169.254.77.1", house.black),
                                 (house.black, "169.254.77.2", house.red)):
        taken.run("nft", "flush", "ruleset")
        assert silent(taken, target)
        assert counted(other, "input_dropped", 1) >= 1
        house.load(SMALL + f'[firewall]\nblack = ["{ping}"]\nred = ["{ping}"]\n')


@pytest.mark.parametrize("target", [HOST, FAR, "198.51.100.1"])
def test_a_probe_that_dies_on_the_way_gets_no_answer(house, target):
    """Time exceeded and redirects come before the forward chain: the output chain holds them."""
    probe = udp("192.0.2.1", target)
    probe.ttl = 1
    house.out.ip("route", "replace", f"{target}/32", "via", WAN)
    try:
        with Capture(house.out) as capture:
            inject(house.out, probe, udp("192.0.2.1", target))
            time.sleep(0.2)
    finally:
        house.out.ip("route", "del", f"{target}/32")
    assert answers(capture) == []
    assert counted(house.black, "output_dropped", 1) >= 1


def test_sources_that_cannot_be_there_are_dropped(house):
    spoofed = ["10.2.0.9", "10.9.9.9", "198.51.100.1", "127.0.0.1", "169.254.77.1"]
    wrong = [udp(s, target) for s in spoofed for target in (FAR, WEB)]
    wrong += [udp(s, target) for s in ("fd02::9", "2001:db8:9::1") for target in (FAR6, WEB6)]
    from_lan = lambda: inject(house.lan, *wrong)  # noqa: E731
    assert not reached(house.far, "eth0", from_lan, lambda f: f.protocol == UDP_PROTOCOL)
    assert not reached(house.out, "eth0", from_lan, lambda f: f.protocol == UDP_PROTOCOL)
    # the kernel itself refuses loopback sources before any rule
    least = 2 * (len(wrong) - 2)
    assert counted(house.red, "lan_spoofed", least) >= least
    right = lambda: inject(house.lan, udp(HOST, FAR), udp(HOST6, FAR6))  # noqa: E731
    assert len(reached(house.far, "eth0", right, lambda f: f.protocol == UDP_PROTOCOL, 2)) == 2


def test_protected_and_martian_sources_on_the_wan_are_dropped(house):
    with bound(house.black, "0.0.0.0", PORT, timeout=0.2) as tunnel:
        inject(house.out, *(udp(s, WAN, PORT) for s in ("10.1.0.9", "10.2.0.9", "224.0.0.1",
                                                        "169.254.77.2", "0.0.0.1")))
        with pytest.raises(TimeoutError):
            tunnel.recv(100)
        tunnel.settimeout(PATIENCE)
        inject(house.out, udp("198.51.100.77", WAN, PORT))
        assert tunnel.recvfrom(100)[1][0] == "198.51.100.77"
    assert counted(house.black, "wan_spoofed", 5) == 5


def test_the_tunnel_brings_only_sources_of_sites(house):
    wrong = [udp("10.1.0.7", HOST), udp(WEB, HOST), udp("10.3.0.1", HOST)]
    to_lan = lambda: inject(house.far, *wrong)  # noqa: E731
    assert not reached(house.lan, "eth0", to_lan, lambda f: f.protocol == UDP_PROTOCOL)
    assert counted(house.red, "tunnel_spoofed", 3) >= 3, "link-local chatter may be counted too"
    assert pings(house.far, HOST)


def test_permits_hold_in_both_directions(house):
    """I6; 10.1.0.200 is outside 10.1.0.0/25."""
    assert pings(house.lan, FAR, HOST) and pings(house.far, HOST)
    assert pings(house.lan, FAR6, HOST6) and pings(house.far, HOST6)
    assert counters(house.red)["not_permitted"] == 0
    assert silent(house.lan, FAR, GUEST) and silent(house.far, GUEST)
    assert counted(house.red, "not_permitted", 2) == 2
    assert pings(house.lan, WEB, GUEST), "a permit is about sites, not about the Internet"
    house.load(SMALL[:SMALL.index("[[permit]]")])
    assert pings(house.lan, FAR, GUEST) and pings(house.far, GUEST), "no permit: every host"


@pytest.mark.parametrize("host, far", [(HOST, FAR), (HOST6, FAR6)])
def test_a_permit_taken_back_ends_connections(house, host, far):
    """I6: established flows meet the permits in force, in both directions."""
    with bound(house.far, far, 7) as there, bound(house.lan, host, 0) as here:
        here.sendto(b"1", (far, 7))
        _, sender = there.recvfrom(9)
        there.sendto(b"2", sender)
        assert here.recv(9) == b"2"
        house.load(SMALL.replace("10.1.0.0/25", "10.1.0.128/25").replace("fd01::/64\"]\nto",
                                                                         "fd01:0:0:0:8000::/65\"]\nto"))
        there.sendto(b"3", sender)
        here.sendto(b"4", (far, 7))
        for s in (here, there):
            s.settimeout(0.3)
            with pytest.raises(TimeoutError):
                s.recv(9)
        assert counted(house.red, "not_permitted", 2) == 2
        house.load()
        here.settimeout(PATIENCE)
        there.sendto(b"5", sender)
        assert here.recv(9) == b"5"


@pytest.mark.parametrize("web, kept", [(WEB, "2000::/3"), (WEB6, "0.0.0.0/0")])
def test_a_bypass_taken_back_ends_connections(house, web, kept):
    """F5, in red and, with red taken over, in black."""
    host = HOST6 if ":" in web else HOST
    with bound(house.out, web, 9) as server, bound(house.lan, host, 0) as client:
        client.sendto(b"1", (web, 9))
        server.recvfrom(9)
        house.load(SMALL + f'[bypass]\nnetworks = ["{kept}"]\n')
        server.settimeout(0.3)
        for room, counter in ((house.red, "not_bypassed"), (house.black, "forward_dropped")):
            client.sendto(b"2", (web, 9))
            with pytest.raises(TimeoutError):
                server.recv(9)
            assert counted(room, counter, 1) == 1
            house.red.run("nft", "flush", "ruleset")


def test_permits_that_overlap_are_one(house):
    """I6: each pair that any [[permit]] names, and no other."""
    two = SMALL.replace('to = ["cusco"]', f'to = ["{FAR}/32"]') + f"""[[permit]]
from = ["10.1.0.0/25"]
to = ["10.2.0.0/30", "fd02::/64"]
[[permit]]
from = ["{GUEST}/32", "fd01::/64"]
to = ["10.2.0.0/29", "fd02::/64"]
"""
    house.load(two)
    assert pings(house.lan, FAR, HOST) and pings(house.lan, FAR, GUEST)
    assert pings(house.lan, FAR6, HOST6) and pings(house.far, HOST6)
    inject(house.lan, udp(HOST, "10.2.0.3"), udp(GUEST, "10.2.0.3"), udp(GUEST, "10.2.0.7"))
    assert counters(house.red)["not_permitted"] == 0
    inject(house.lan, udp(HOST, "10.2.0.4"), udp("10.1.0.199", FAR), udp(GUEST, "10.2.0.8"))
    assert counted(house.red, "not_permitted", 3) == 3


def test_a_site_around_this_one_does_not_speak_for_it(house):
    """The LAN's networks inside another site's: tunnelled sources of the LAN are false."""
    house.load(SMALL.replace('"10.2.0.0/24", "fd02::/64"', '"10.0.0.0/8", "fd00::/10"'))
    inject(house.far, udp("10.1.0.7", HOST), udp("fd01::7", HOST6))
    assert counted(house.red, "tunnel_spoofed", 2) >= 2
    assert pings(house.far, HOST) and pings(house.far, HOST6)


def test_strangers_cannot_fill_the_table_of_connections(house):
    """F3: the tunnel's datagrams are not tracked, in either direction."""
    def tracked() -> int:
        return int(house.black.run("sysctl", "-n", "net.netfilter.nf_conntrack_count").stdout)
    before = tracked()
    with bound(house.black, "0.0.0.0", PORT) as tunnel:
        for n in range(1, 41):
            inject(house.out, udp(f"198.51.100.{n}", WAN, PORT))
            tunnel.sendto(b"answer", tunnel.recvfrom(99)[1])
    assert tracked() < before + 20


@pytest.mark.parametrize("web, wan", [(WEB, WAN), (WEB6, WAN6)])
def test_the_internet_is_reached_behind_blacks_address(house, web, wan):
    """F5, I4: NAT on black, and nowhere else."""
    with bound(house.out, web, 80, socket.SOCK_STREAM) as server:
        server.listen()
        with Capture(house.black, "clear0") as clear:
            with bound(house.lan, HOST6 if ":" in web else HOST, 0, socket.SOCK_STREAM) as client:
                client.connect((web, 80))
                connection, sender = server.accept()
                connection.sendall(b"page")
                assert client.recv(9) == b"page"
                connection.close()
    assert sender[0] == wan
    assert {f.source[0] for f in clear.frames() if not f.outgoing and f.protocol == TCP_PROTOCOL} \
        == {HOST6 if ":" in web else HOST}


def test_no_lan_flow_takes_the_tunnels_port(house):
    with bound(house.out, WEB, 9) as server, bound(house.lan, HOST, PORT) as client:
        client.sendto(b"?", (WEB, 9))
        _, sender = server.recvfrom(9)
        assert sender[0] == WAN and sender[1] != PORT
        server.sendto(b"!", sender)
        assert client.recv(9) == b"!"


def test_nothing_new_comes_in_from_the_internet(house):
    for target in (HOST, HOST6, FAR, "10.1.0.1"):
        assert not reached(house.red, "clear0", lambda t=target: inject(
            house.out, udp("2001:db8::1" if ":" in t else "192.0.2.1", t)),
            lambda f: f.protocol == UDP_PROTOCOL)


def test_bypass_names_what_may_go_in_clear(house):
    house.load(SMALL + '[bypass]\nnetworks = ["203.0.113.0/24"]\n')
    assert pings(house.lan, WEB) and silent(house.lan, WEB6) and silent(house.lan, "192.0.2.1")
    assert counted(house.red, "not_bypassed", 2) == 2


def test_a_protected_destination_is_stopped_in_each_room(house):
    """F10 with routing turned against it and, for black, with red taken over."""
    probes = [udp(HOST, FAR, 7), udp(HOST6, FAR6, 7), udp(HOST, "10.2.0.77", 7)]
    send = lambda: inject(house.lan, *probes)  # noqa: E731
    is_probe = lambda f: f.protocol == UDP_PROTOCOL and f.destination[1] == 7  # noqa: E731
    house.red.batch("route del 10.2.0.0/24 dev secure0", "route del fd02::/64 dev secure0")
    try:
        assert not reached(house.black, "clear0", send, is_probe)
        assert counted(house.red, "protected_in_clear", len(probes)) == len(probes)
        house.red.run("nft", "flush", "ruleset")
        assert not reached(house.out, "eth0", send, is_probe)
        assert counted(house.black, "protected_in_clear", len(probes)) == len(probes)
        house.black.run("nft", "flush", "ruleset")
        assert len(reached(house.out, "eth0", send, is_probe, len(probes))) == len(probes), "it could leak"
    finally:
        house.red.batch("route add 10.2.0.0/24 dev secure0", "route add fd02::/64 dev secure0")


@pytest.mark.parametrize("host, other, gateway", [(HOST, "10.1.0.99", "10.1.0.1"),
                                                  (HOST6, "fd01::99", "fd01::1")])
def test_red_routes_between_networks_of_the_lan_in_small_mode(house, host, other, gateway):
    """I4."""
    mac = json.loads(house.lan.ip("-j", "link", "show", "eth0"))[0]["address"]
    house.lan.ip("route", "add", other, "via", gateway)
    house.red.ip("neigh", "replace", other, "lladdr", mac, "dev", "eth1")
    try:
        back = lambda n: reached(house.lan, "eth0", lambda: inject(house.lan, udp(host, other)),  # noqa: E731
                                 lambda f: f.protocol == UDP_PROTOCOL, n)
        assert len(back(1)) == 1
        house.load(LARGE)
        assert not back(0) and counted(house.red, "forward_dropped", 1) == 1
    finally:
        house.lan.ip("route", "del", other, "via", gateway)


def test_black_believes_nothing_of_a_red_that_was_taken_over(house):
    house.load(SMALL + '[bypass]\nnetworks = ["203.0.113.0/24"]\n')
    house.red.run("nft", "flush", "ruleset")
    wrong = [udp("10.9.9.9", WEB), udp("198.51.100.9", WEB), udp("2001:db8:9::1", WEB6)]
    send = lambda: inject(house.lan, *wrong)  # noqa: E731
    assert not reached(house.out, "eth0", send, lambda f: f.protocol == UDP_PROTOCOL)
    assert counted(house.black, "clear_spoofed", len(wrong)) == len(wrong)
    send = lambda: inject(house.lan, udp(HOST6, WEB6), udp(HOST, "192.0.2.1"))  # noqa: E731
    assert not reached(house.out, "eth0", send, lambda f: f.protocol == UDP_PROTOCOL)
    assert counted(house.black, "forward_dropped", 2) == 2
    assert pings(house.lan, WEB)
    house.red.ip("route", "add", "10.1.0.77/32", "via", "169.254.77.1")
    inject(house.red, udp(HOST, "10.1.0.77"))
    house.red.ip("route", "del", "10.1.0.77/32")
    assert counted(house.black, "protected_in_clear", 1) == 1, "the LAN's own networks count too"


def test_red_believes_nothing_of_a_black_that_was_taken_over(house):
    house.black.run("nft", "flush", "ruleset")
    wrong = [udp(FAR, HOST), udp("10.1.0.9", HOST), udp(FAR6, HOST6)]
    new = [udp("192.0.2.1", HOST), udp("169.254.77.1", HOST), udp("2001:db8::1", HOST6)]
    send = lambda: inject(house.black, *wrong, *new)  # noqa: E731
    assert not reached(house.lan, "eth0", send, lambda f: f.protocol == UDP_PROTOCOL)
    assert counted(house.red, "clear_spoofed", len(wrong)) == len(wrong)
    assert counted(house.red, "forward_dropped", len(new)) == len(new)


def test_black_itself_sends_nothing_protected(house):
    with bound(house.black, "0.0.0.0", PORT) as s:
        with pytest.raises(PermissionError):
            s.sendto(b"x", (FAR, 7))
    assert counted(house.black, "protected_in_clear", 1) == 1


def test_large_mode_joins_nothing(house):
    """I5: even with a link, routes and forwarding, neither room carries anything in clear."""
    site = site_of(LARGE)
    assert "clear0" not in black_rules(site) + red_rules(site)
    house.load(LARGE)
    assert silent(house.lan, WEB) and silent(house.lan, WEB6)
    assert pings(house.lan, FAR), "the tunnel is all there is"
    house.red.run("nft", "flush", "ruleset")
    assert not reached(house.out, "eth0", lambda: inject(house.lan, udp(HOST, WEB)),
                       lambda f: f.protocol == UDP_PROTOCOL), "nor with red taken over"
    assert counted(house.black, "forward_dropped", 1) == 1


def test_replacing_rules_keeps_connections_and_one_table(house):
    with bound(house.out, WEB, 9) as server, bound(house.lan, HOST, 0) as client:
        client.sendto(b"1", (WEB, 9))
        _, sender = server.recvfrom(9)
        for _ in range(2):
            house.load()
        server.sendto(b"2", sender)
        assert client.recv(9) == b"2"
    tables = house.black.run("nft", "list", "tables").stdout.split("\n")
    assert tables == ["table inet wgpy_black", "table arp wgpy_black", ""]
    assert set(counters(house.black)) == set(BLACK_COUNTERS)
    assert set(counters(house.red)) == set(RED_COUNTERS)


def test_a_dhcp_client_can_talk(house):
    dhcp_passes(house)
