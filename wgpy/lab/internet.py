"""The world around the sites of a lab: an Internet in one namespace, site routers, and
LAN hosts that know nothing but an address and a default route (I2)."""

import subprocess
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
    """An address on the Internet, in a network of 256, and the gateway there."""
    address: str
    gateway: str


def uplink(number: int, place: int = 0) -> Uplink:
    """Of site `number`, 1 to 99: at home, or at one of two `place`s to roam to."""
    stem = f"198.{(51, 18, 19)[place]}.{number}."
    return Uplink(f"{stem}2", f"{stem}1")


class Internet(Netns):
    """Routes between the sites attached to it, and has the address of a web server. It
    has no route to any LAN. `mtu` of every wire to it, in bytes."""

    def __init__(self, mtu: int = 1500):
        super().__init__("internet")
        self.mtu = mtu
        self.sysctl(net__ipv4__ip_forward=1)
        self.ip("address", "add", f"{WEB}/32", "dev", "lo")

    def attach(self, ns: Netns, name: str, *places: Uplink, link: str = WAN) -> None:
        """A wire `to-NAME` to a site. The site's end is left alone: a supervisor that
        runs takes it at once."""
        ours = f"to-{name}"
        subprocess.run(["nsenter", f"--net=/proc/{self.pid}/ns/net", "ip", "link", "add", ours, "mtu", str(self.mtu),
                        "type", "veth", "peer", "name", link, "mtu", str(self.mtu), "netns", str(ns.pid)], check=True)
        self.batch(*(f"address add {p.gateway}/24 dev {ours}" for p in places), f"link set {ours} up")

    def rebind(self, name: str, address: str, port: int, outer: int) -> None:
        """What site NAME sends from UDP `port` comes from port `outer` from now on, as
        after a NAT forgot; answers to any earlier one are lost."""
        self.run("nft", "-f", "-", input=_REBIND.format(name=name, address=address, port=port, outer=outer))


def lan_host(name: str, behind: Netns, address: str, gateway: str, mtu: int = 1500) -> Netns:
    host = Netns(name)
    join(host, behind, names=("eth0", LAN), mtu=mtu, a_addresses=(f"{address}/24",))
    host.ip("route", "add", "default", "via", gateway)
    return host


def make_router(ns: Netns, inside: str, outside: Uplink) -> None:
    """Forwards between LAN and WAN, with the LAN hidden behind the WAN's address."""
    ns.sysctl(net__ipv4__ip_forward=1)
    ns.batch(f"address add {inside}/24 dev {LAN}",
             f"address add {outside.address}/24 dev {WAN}", f"link set {WAN} up",
             f"route add default via {outside.gateway}")
    ns.run("nft", "-f", "-", input=_TRANSLATE)
