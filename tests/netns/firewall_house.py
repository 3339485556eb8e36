"""A node of namespaces for tests of its firewalls, without any daemon: black and red are
joined by clear0, and a veth called secure0 plays the tunnel."""

import json
import socket
import time
from contextlib import suppress

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from site_files import LIMA, edited, site_of

from wgpy.firewall.rules import black_rules, red_rules
from wgpy.lab.netns import Netns, join, wait_until
from wgpy.lab.wire import Capture

SMALL = edited(LIMA, ('["192.0.2.10/24"]', '["192.0.2.10/24", "2001:db8::10/64"]'),
               ('"192.0.2.1"', '["192.0.2.1", "2001:db8::1"]'),
               ("198.51.100.7:", "192.0.2.1:")) + """[[permit]]
from = ["10.1.0.0/25", "fd01::/64"]
to = ["cusco"]
"""
LARGE = SMALL.replace('"small"', '"large"')
HOST, GUEST, FAR, WEB = "10.1.0.2", "10.1.0.200", "10.2.0.2", "203.0.113.5"
HOST6, FAR6, WEB6 = "fd01::2", "fd02::2", "2001:db8:1::5"
GUEST6 = "fd01::8000:0:0:2"
# of the far site: two that a test may route astray, two beside FAR
LOST, LOST6, NEAR_FAR, NEAR_FAR6 = "10.2.0.77", "fd02::77", "10.2.0.3", "fd02::3"
WAN, WAN6, PORT = "192.0.2.10", "2001:db8::10", 51820
TCP_PROTOCOL, UDP_PROTOCOL, ICMP_PROTOCOL, ICMPV6_PROTOCOL = 6, 17, 1, 58
NEIGHBOUR_DISCOVERY = (133, 134, 135, 136)
SCANNED = sorted({*range(1, 1100, 31), 22, 53, 67, 68, 80, 123, 443, 500, 546, 4500, 8080,
                  PORT - 1, PORT, PORT + 1, 65535})
PATIENCE = 20  # s, for what comes on a busy machine, too


class House:
    """Outside, black, red, a LAN with two hosts, and the far site behind secure0."""

    def __init__(self):
        self.out, self.black, self.red, self.lan, self.far = self.all = [
            Netns(f"ws{name}") for name in ("out", "black", "red", "lan", "far")]
        for ns in self.all:  # what a kernel says unasked would be counted with the probes
            ns.sysctl(net__ipv6__conf__default__router_solicitations=0)
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
                         for a in (HOST, GUEST, HOST6, "10.1.0.1", "fd01::1", "10.1.0.7", WEB,
                                   WEB6, GUEST6, LOST, LOST6, NEAR_FAR, NEAR_FAR6)))

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
    for ns in built.all:  # path MTUs that an earlier test taught
        ns.ip("-4", "route", "flush", "cache")
        ns.ip("-6", "route", "flush", "cache")
    return built


def counters(ns: Netns) -> dict[str, int]:
    rows = json.loads(ns.run("nft", "-j", "list", "counters").stdout)["nftables"]
    return {r["counter"]["name"]: r["counter"]["packets"] for r in rows if "counter" in r}


def inject(ns: Netns, *packets) -> None:
    """Whole IP packets, sources included, from inside a namespace, unless its own firewall
    refuses them."""
    with ns.entered():
        for packet in packets:
            kind = socket.AF_INET if packet.version == 4 else socket.AF_INET6
            with socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_RAW) as s, \
                    suppress(PermissionError):
                s.sendto(bytes(packet), (packet.dst, 0))


def udp(source: str, target: str, port: int = 9, sport: int = 40000):
    layer = IPv6 if ":" in target else IP
    return layer(src=source, dst=target) / UDP(sport=sport, dport=port) / b"probe"


def segment(source: str, target: str, flags: str = "R"):
    """TCP; a reset without a connection is what conntrack calls invalid."""
    layer = IPv6 if ":" in target else IP
    return layer(src=source, dst=target) / TCP(sport=40000, dport=9, flags=flags)


def error(source: str, target: str, quoted):
    """ICMP: the packet that is quoted did not find its way."""
    if ":" in target:
        return IPv6(src=source, dst=target) / ICMPv6DestUnreach() / quoted
    return IP(src=source, dst=target) / ICMP(type=3, code=1) / quoted


def bound(ns: Netns, address: str, port: int, kind=socket.SOCK_DGRAM, timeout: float = PATIENCE):
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


def reached(ns: Netns, link: str, send, wanted, count: int = 0) -> list:
    """What arrives on a link in the time that `send` and its echo take; at least `count`, if it
    takes long."""
    def arrived() -> list:
        return [f for f in capture.frames() if not f.outgoing and wanted(f)]
    with Capture(ns, link) as capture:
        send()
        time.sleep(0.15)
        with suppress(TimeoutError):
            wait_until(lambda: len(arrived()) >= count, PATIENCE, "packets")
    return arrived()


def pings(ns: Netns, target: str, source: str = "", wait: int = PATIENCE) -> bool:
    argv = ["ping", "-n", "-c1", f"-W{wait}", *(["-I", source] if source else []), target]
    return ns.run(*argv, check=False).returncode == 0


def silent(ns: Netns, target: str, source: str = "") -> bool:
    return not pings(ns, target, source, wait=1)


def counted(ns: Netns, name: str, least: int) -> int:
    """A counter when it has come that far: the kernel may take its time for what was sent."""
    with suppress(TimeoutError):
        wait_until(lambda: counters(ns)[name] >= least, PATIENCE, name)
    return counters(ns)[name]


def dhcp_passes(house) -> None:
    """A client in black and a server outside hear each other, with a WAN that asks for its address."""
    house.load(SMALL.replace('["192.0.2.10/24", "2001:db8::10/64"]', '"dhcp"')
               .replace('gateway = ["192.0.2.1", "2001:db8::1"]', ""))
    with bound(house.black, "0.0.0.0", 68) as client, bound(house.out, "192.0.2.1", 67) as server:
        client.sendto(b"request", ("192.0.2.1", 67))
        server.sendto(b"ack", server.recvfrom(99)[1])
        assert client.recv(99) == b"ack"
