"""The generated firewalls against real packets (F2, F5, F10, I4, I5), without any daemon:
black and red are namespaces, and a veth called secure0 plays the tunnel."""

import json
import socket
import time

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from wgpy.config.site import parse
from wgpy.isolate.nft import BLACK_COUNTERS, RED_COUNTERS, black_rules, red_rules
from wgpy.lab.netns import Netns, join, wait_until
from wgpy.lab.wire import Capture

pytestmark = pytest.mark.netns

SMALL = """
[node]
name = "lima"
mode = "small"
listen_port = 51820
[wan]
interface = "eth0"
addresses = ["192.0.2.10/24", "2001:db8::10/64"]
gateway = ["192.0.2.1", "2001:db8::1"]
[lan]
interface = "eth1"
addresses = ["10.1.0.1/24", "fd01::1/64"]
[[site]]
name = "cusco"
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
networks = ["10.2.0.0/24", "fd02::/64"]
endpoints = ["192.0.2.1:51820"]
[[permit]]
from = ["10.1.0.0/25", "fd01::/64"]
to = ["cusco"]
"""
LARGE = SMALL.replace('"small"', '"large"')
HOST, GUEST, FAR, WEB = "10.1.0.2", "10.1.0.200", "10.2.0.2", "203.0.113.5"
HOST6, FAR6, WEB6 = "fd01::2", "fd02::2", "2001:db8:1::5"
WAN, WAN6, PORT = "192.0.2.10", "2001:db8::10", 51820
TCP_PROTOCOL, UDP_PROTOCOL, ICMP_PROTOCOL, ICMPV6_PROTOCOL = 6, 17, 1, 58
NEIGHBOUR_DISCOVERY = (133, 134, 135, 136)
SCANNED = sorted({*range(1, 1100, 31), 22, 53, 67, 68, 80, 123, 443, 500, 546, 4500, 8080,
                  PORT - 1, PORT, PORT + 1, 65535})


def site_of(text: str):
    site, errors, _ = parse(text, "lima.toml")
    assert not errors, errors
    return site


class House:
    """Outside, black, red, a LAN with two hosts, and the far site behind secure0."""

    def __init__(self):
        self.out, self.black, self.red, self.lan, self.far = self.all = [
            Netns(f"ws{name}") for name in ("out", "black", "red", "lan", "far")]
        join(self.out, self.black, a_addresses=("192.0.2.1/24", "2001:db8::1/64"),
             b_addresses=(f"{WAN}/24", f"{WAN6}/64"))
        join(self.black, self.red, names=("clear0", "clear0"),
             a_addresses=("169.254.77.1/30", "fd77::1/126"),
             b_addresses=("169.254.77.2/30", "fd77::2/126"))
        join(self.red, self.lan, names=("eth1", "eth0"), a_addresses=("10.1.0.1/24", "fd01::1/64"),
             b_addresses=(f"{HOST}/24", f"{GUEST}/24", f"{HOST6}/64"))
        join(self.red, self.far, names=("secure0", "eth0"),
             b_addresses=(f"{FAR}/24", f"{FAR6}/64"))
        self.out.batch(f"address add {WEB}/32 dev lo", f"address add {WEB6}/128 dev lo nodad",
                       f"route add 10.0.0.0/8 via {WAN}", f"route add fd00::/8 via {WAN6}",
                       f"route add 169.254.77.0/24 via {WAN}")
        self.black.batch("route add default via 192.0.2.1", "route add default via 2001:db8::1",
                         "route add 10.1.0.0/24 via 169.254.77.2", "route add fd01::/64 via fd77::2")
        self.red.batch("route add default via 169.254.77.1", "route add default via fd77::1",
                       "route add 10.2.0.0/24 dev secure0", "route add fd02::/64 dev secure0")
        self.lan.batch("route add default via 10.1.0.1", "route add default via fd01::1")
        self.far.batch("route add default dev eth0", "route add ::/0 dev eth0")
        self._like_a_tun()
        for ns in (self.black, self.red):
            ns.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)

    def _like_a_tun(self):
        """No neighbour discovery on the link that plays the tunnel."""
        mac = {ns: json.loads(ns.ip("-j", "link", "show", link))[0]["address"]
               for ns, link in ((self.red, "secure0"), (self.far, "eth0"))}
        self.red.batch(*(f"neigh add {a} lladdr {mac[self.far]} dev secure0" for a in (FAR, FAR6)))
        self.far.batch(*(f"neigh add {a} lladdr {mac[self.red]} dev eth0"
                         for a in (HOST, GUEST, HOST6, "10.1.0.1", "fd01::1", "10.1.0.7", WEB)))

    def load(self, text: str = SMALL):
        site = site_of(text)
        for ns, rules in ((self.black, black_rules(site)), (self.red, red_rules(site))):
            ns.run("nft", "-c", "-f", "-", input=rules)
            ns.run("nft", "-f", "-", input=rules)

    def close(self):
        for ns in self.all:
            ns.close()


@pytest.fixture(scope="module")
def built():
    house = House()
    yield house
    house.close()


@pytest.fixture
def house(built):
    built.load()
    return built


def counters(ns: Netns) -> dict[str, int]:
    rows = json.loads(ns.run("nft", "-j", "list", "counters").stdout)["nftables"]
    return {r["counter"]["name"]: r["counter"]["packets"] for r in rows if "counter" in r}


def inject(ns: Netns, *packets) -> None:
    """Whole IP packets, sources included, from inside a namespace."""
    with ns.entered():
        for packet in packets:
            kind = socket.AF_INET if packet.version == 4 else socket.AF_INET6
            with socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
                s.sendto(bytes(packet), (packet.dst, 0))


def udp(source: str, target: str, port: int = 9, sport: int = 40000):
    layer = IPv6 if ":" in target else IP
    return layer(src=source, dst=target) / UDP(sport=sport, dport=port) / b"probe"


def bound(ns: Netns, address: str, port: int, kind=socket.SOCK_DGRAM, timeout: float = 2):
    """A socket inside a namespace."""
    with ns.entered():
        s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.settimeout(timeout)
    s.bind((address, port))
    return s


def scan(ns: Netns, target: str) -> None:
    """A SYN and a datagram to each port; answers are for a capture to see."""
    kind = socket.AF_INET6 if ":" in target else socket.AF_INET
    with ns.entered():
        for port in SCANNED:
            for how in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(kind, how) as s:
                    s.setblocking(False)
                    s.connect_ex((target, port))
                    if how == socket.SOCK_DGRAM:
                        try:
                            s.send(b"\4\0\0\0" + bytes(28))
                        except OSError:
                            pass  # the answer to the probe before this one


def answers(capture: Capture) -> list:
    return [f for f in capture.frames() if not f.outgoing and
            f.protocol in (TCP_PROTOCOL, UDP_PROTOCOL, ICMP_PROTOCOL, ICMPV6_PROTOCOL)
            and not (f.protocol == ICMPV6_PROTOCOL and f.payload[0] in NEIGHBOUR_DISCOVERY)]


def reached(ns: Netns, link: str, send, wanted) -> list:
    """What arrives on a link in the time that `send` and its echo take."""
    with Capture(ns, link) as capture:
        send()
        time.sleep(0.15)
    return [f for f in capture.frames() if not f.outgoing and wanted(f)]


def pings(ns: Netns, target: str, source: str = "") -> bool:
    argv = ["ping", "-n", "-c1", "-W1", *(["-I", source] if source else []), target]
    return ns.run(*argv, check=False).returncode == 0


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
        time.sleep(0.2)
    assert {f.protocol for f in answers(capture)} == {TCP_PROTOCOL, ICMP_PROTOCOL}


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
    assert counters(house.black)["input_dropped"] == 1


def test_additions_open_what_they_say(house):
    assert not pings(house.out, WAN)
    house.load(SMALL + '[firewall]\nblack = ["icmp type echo-request accept"]\n')
    assert pings(house.out, WAN) and not pings(house.out, WAN6)
    assert not pings(house.lan, "10.1.0.1")


def test_sources_that_cannot_be_there_are_dropped(house):
    spoofed = ["10.2.0.9", "10.9.9.9", "198.51.100.1", "127.0.0.1", "169.254.77.1"]
    wrong = [udp(s, target) for s in spoofed for target in (FAR, WEB)]
    wrong += [udp(s, target) for s in ("fd02::9", "2001:db8:9::1") for target in (FAR6, WEB6)]
    from_lan = lambda: inject(house.lan, *wrong)  # noqa: E731
    assert not reached(house.far, "eth0", from_lan, lambda f: f.protocol == UDP_PROTOCOL)
    assert not reached(house.out, "eth0", from_lan, lambda f: f.protocol == UDP_PROTOCOL)
    # the kernel itself refuses loopback sources before any rule
    assert counters(house.red)["lan_spoofed"] >= 2 * (len(wrong) - 2)
    right = lambda: inject(house.lan, udp(HOST, FAR), udp(HOST6, FAR6))  # noqa: E731
    assert len(reached(house.far, "eth0", right, lambda f: f.protocol == UDP_PROTOCOL)) == 2


def test_protected_and_martian_sources_on_the_wan_are_dropped(house):
    with bound(house.black, "0.0.0.0", PORT, timeout=0.2) as tunnel:
        inject(house.out, *(udp(s, WAN, PORT) for s in ("10.1.0.9", "10.2.0.9", "224.0.0.1",
                                                        "169.254.77.2", "0.0.0.1")))
        with pytest.raises(TimeoutError):
            tunnel.recv(100)
        inject(house.out, udp("198.51.100.77", WAN, PORT))
        assert tunnel.recvfrom(100)[1][0] == "198.51.100.77"
    assert counters(house.black)["wan_spoofed"] == 5


def test_the_tunnel_brings_only_sources_of_sites(house):
    wrong = [udp("10.1.0.7", HOST), udp(WEB, HOST), udp("10.3.0.1", HOST)]
    to_lan = lambda: inject(house.far, *wrong)  # noqa: E731
    assert not reached(house.lan, "eth0", to_lan, lambda f: f.protocol == UDP_PROTOCOL)
    assert counters(house.red)["tunnel_spoofed"] >= 3, "link-local chatter may be counted too"
    assert pings(house.far, HOST)


def test_permits_hold_in_both_directions(house):
    """I6; 10.1.0.200 is outside 10.1.0.0/25."""
    assert pings(house.lan, FAR, HOST) and pings(house.far, HOST)
    assert pings(house.lan, FAR6, HOST6) and pings(house.far, HOST6)
    assert counters(house.red)["not_permitted"] == 0
    assert not pings(house.lan, FAR, GUEST) and not pings(house.far, GUEST)
    assert counters(house.red)["not_permitted"] == 2
    assert pings(house.lan, WEB, GUEST), "a permit is about sites, not about the Internet"
    house.load(SMALL[:SMALL.index("[[permit]]")])
    assert pings(house.lan, FAR, GUEST) and pings(house.far, GUEST), "no permit: every host"


def test_a_permit_taken_back_ends_connections(house):
    with bound(house.far, FAR, 7) as far, bound(house.lan, HOST, 0) as lan:
        lan.sendto(b"1", (FAR, 7))
        _, sender = far.recvfrom(9)
        house.load(SMALL.replace("10.1.0.0/25", "10.1.0.128/25"))
        far.sendto(b"2", sender)
        lan.settimeout(0.3)
        with pytest.raises(TimeoutError):
            lan.recv(9)


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
    assert pings(house.lan, WEB) and not pings(house.lan, WEB6) and not pings(house.lan, "192.0.2.1")
    assert counters(house.red)["not_bypassed"] == 2


def test_a_protected_destination_is_stopped_in_each_room(house):
    """F10 with routing turned against it and, for black, with red taken over."""
    probes = [udp(HOST, FAR, 7), udp(HOST6, FAR6, 7), udp(HOST, "10.2.0.77", 7)]
    send = lambda: inject(house.lan, *probes)  # noqa: E731
    is_probe = lambda f: f.protocol == UDP_PROTOCOL and f.destination[1] == 7  # noqa: E731
    house.red.batch("route del 10.2.0.0/24 dev secure0", "route del fd02::/64 dev secure0")
    try:
        assert not reached(house.black, "clear0", send, is_probe)
        assert counters(house.red)["protected_in_clear"] == len(probes)
        house.red.run("nft", "flush", "ruleset")
        assert not reached(house.out, "eth0", send, is_probe)
        assert counters(house.black)["protected_in_clear"] == len(probes)
        house.black.run("nft", "flush", "ruleset")
        assert len(reached(house.out, "eth0", send, is_probe)) == len(probes), "it could leak"
    finally:
        house.red.batch("route add 10.2.0.0/24 dev secure0", "route add fd02::/64 dev secure0")


def test_black_itself_sends_nothing_protected(house):
    with bound(house.black, "0.0.0.0", PORT) as s:
        with pytest.raises(PermissionError):
            s.sendto(b"x", (FAR, 7))
    assert counters(house.black)["protected_in_clear"] == 1


def mss_of(frame) -> int:
    return dict(TCP(frame.payload).options).get("MSS")


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
                time.sleep(0.1)
            syn = [f for f in outward.frames() if not f.outgoing and f.protocol == TCP_PROTOCOL][0]
            syn_ack = [f for f in inward.frames() if not f.outgoing
                       and f.protocol == TCP_PROTOCOL][0]
            assert mss_of(syn) == there and mss_of(syn_ack) == most


def test_a_narrow_wan_is_clamped_too(house):
    house.load(SMALL.replace("gateway = [", "mtu = 1492\ngateway = ["))
    with bound(house.out, WEB, 80, socket.SOCK_STREAM) as server:
        server.listen()
        with Capture(house.out) as capture, bound(house.lan, HOST, 0, socket.SOCK_STREAM) as client:
            client.connect((WEB, 80))
    syn = [f for f in capture.frames() if not f.outgoing and f.protocol == TCP_PROTOCOL][0]
    assert mss_of(syn) == 1452


@pytest.mark.parametrize("own, router", [(WAN, "192.0.2.1"), (WAN6, "2001:db8::1")])
def test_the_outer_path_mtu_is_learnt(house, own, router):
    """The tunnel's own datagrams: frag-needed and packet-too-big reach black's socket."""
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
        inject(house.out, error)
        wait_until(lambda: s.getsockopt(level, mtu) == 1400, 2, "the path MTU")


def test_the_path_mtu_of_a_clear_flow_is_learnt(house):
    with bound(house.out, WEB, 9) as server, bound(house.lan, HOST, 0) as client:
        client.setsockopt(socket.IPPROTO_IP, 10, 2)
        client.connect((WEB, 9))
        client.send(b"?")
        _, sender = server.recvfrom(9)
        quoted = udp(WAN, WEB, 9, sender[1])
        inject(house.out, IP(src="192.0.2.1", dst=WAN)
               / ICMP(type=3, code=4, nexthopmtu=1300) / quoted)
        wait_until(lambda: client.getsockopt(socket.IPPROTO_IP, 14) == 1300, 2, "the path MTU")


@pytest.mark.parametrize("host, far", [(HOST, FAR), (HOST6, FAR6)])
def test_hosts_learn_the_tunnels_mtu(house, host, far):
    level, mtu, discover = (41, 24, 23) if ":" in far else (0, 14, 10)
    house.red.ip("link", "set", "secure0", "mtu", 1420)
    try:
        with bound(house.lan, host, 0) as client:
            client.setsockopt(level, discover, 2)
            client.connect((far, 9))
            client.send(bytes(1440))
            wait_until(lambda: client.getsockopt(level, mtu) == 1420, 2, "the path MTU")
    finally:
        house.red.ip("link", "set", "secure0", "mtu", 1500)


def test_large_mode_joins_nothing(house):
    """I5: even with a link, routes and forwarding, neither room carries anything in clear."""
    site = site_of(LARGE)
    assert "clear0" not in black_rules(site) + red_rules(site)
    house.load(LARGE)
    assert not pings(house.lan, WEB) and not pings(house.lan, WEB6)
    assert pings(house.lan, FAR), "the tunnel is all there is"
    house.red.run("nft", "flush", "ruleset")
    assert not reached(house.out, "eth0", lambda: inject(house.lan, udp(HOST, WEB)),
                       lambda f: f.protocol == UDP_PROTOCOL), "nor with red taken over"
    assert counters(house.black)["forward_dropped"] == 1


def test_replacing_rules_keeps_connections_and_one_table(house):
    with bound(house.out, WEB, 9) as server, bound(house.lan, HOST, 0) as client:
        client.sendto(b"1", (WEB, 9))
        _, sender = server.recvfrom(9)
        for _ in range(2):
            house.load()
        server.sendto(b"2", sender)
        assert client.recv(9) == b"2"
    tables = house.black.run("nft", "list", "tables").stdout.split("\n")
    assert tables == ["table inet wgpy_black", ""]
    assert set(counters(house.black)) == set(BLACK_COUNTERS)
    assert set(counters(house.red)) == set(RED_COUNTERS)


def test_a_dhcp_client_can_talk(house):
    house.load(SMALL.replace('["192.0.2.10/24", "2001:db8::10/64"]', '"dhcp"')
               .replace('gateway = ["192.0.2.1", "2001:db8::1"]', ""))
    with bound(house.black, "0.0.0.0", 68) as client, bound(house.out, "192.0.2.1", 67) as server:
        client.sendto(b"request", ("192.0.2.1", 67))
        server.sendto(b"ack", server.recvfrom(99)[1])
        assert client.recv(99) == b"ack"
