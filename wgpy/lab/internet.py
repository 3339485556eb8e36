"""The world around the sites of a lab: an Internet in one namespace, site routers, and
LAN hosts that know nothing but an address and a default route (I2)."""

from dataclasses import dataclass

from wgpy.lab.netns import Netns, join

WEB = "203.0.113.80"
LAN, WAN = "lan0", "wan0"  # links of whatever stands between a LAN and the Internet

_TRANSLATE = f"""table ip lab {{
    chain translate {{
        type nat hook postrouting priority srcnat
        oifname "{WAN}" masquerade
    }}
}}
"""
# Without connections, so that it holds from the next datagram on
_REBIND = """table ip rebind_{name}
delete table ip rebind_{name}
table ip rebind_{name} {{
    chain there {{
        type filter hook prerouting priority raw
        iifname "to-{name}" udp sport {port} udp sport set {outer}
    }}
    chain back {{
        type filter hook postrouting priority raw
        oifname "to-{name}" udp dport {port} drop
        oifname "to-{name}" ip daddr {address} udp dport {outer} udp dport set {port}
    }}
}}
"""


@dataclass(frozen=True)
class Uplink:
    """An address on the Internet, from the range for benchmarks (RFC 2544), with the
    length of its prefix, and the gateway there."""
    address: str
    length: int
    gateway: str


def uplink(number: int, place: int = 0) -> Uplink:
    """Of site `number`, 1 to 99: at home, or at one of two `place`s to roam to."""
    net, first, length = ((18, 0, 24), (19, 0, 25), (19, 128, 25))[place]
    stem = f"198.{net}.{number}."
    return Uplink(f"{stem}{first + 2}", length, f"{stem}{first + 1}")


class Internet(Netns):
    """Routes between the sites attached to it, and has the address of a web server. It
    has no route to any LAN."""

    def __init__(self):
        super().__init__("internet")
        self.sysctl(net__ipv4__ip_forward=1)
        self.ip("address", "add", f"{WEB}/32", "dev", "lo")

    def attach(self, ns: Netns, name: str, *places: Uplink, link: str = WAN) -> None:
        """A wire `to-NAME` to a site; its own end gets no address."""
        join(self, ns, names=(f"to-{name}", link),
             a_addresses=tuple(f"{p.gateway}/{p.length}" for p in places))

    def rebind(self, name: str, address: str, port: int, outer: int) -> None:
        """What site NAME sends from UDP `port` comes from port `outer` from now on, as
        after a NAT forgot; answers to any earlier one are lost."""
        self.run("nft", "-f", "-", input=_REBIND.format(name=name, address=address, port=port, outer=outer))


def lan_host(name: str, behind: Netns, address: str, gateway: str) -> Netns:
    host = Netns(name)
    join(host, behind, names=("eth0", LAN), a_addresses=(f"{address}/24",))
    host.ip("route", "add", "default", "via", gateway)
    return host


def make_router(ns: Netns, inside: str, outside: Uplink) -> None:
    """Forwards between LAN and WAN, with the LAN hidden behind the WAN's address."""
    ns.sysctl(net__ipv4__ip_forward=1)
    ns.batch(f"address add {inside}/24 dev {LAN}",
             f"address add {outside.address}/{outside.length} dev {WAN}",
             f"route add default via {outside.gateway}")
    ns.run("nft", "-f", "-", input=_TRANSLATE)
