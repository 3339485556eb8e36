"""What a site file says, as plain data. Addresses and networks are objects of `ipaddress`;
public keys are raw bytes, as many as the suite's have."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import NamedTuple, TypeVar

from wgpy.config.model import HostPort, SuiteFile
from wgpy.constants import TRANSPORT_OVERHEAD, UDP_OVER_IPV6

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

SMALL, LARGE = "small", "large"
LINK_MTU = 1500
CONNECTIONS = 1000


class SuiteSizes(NamedTuple):
    """What of a suite a site depends on, in bytes; the default is WireGuard's."""
    public: int = 32
    overhead: int = TRANSPORT_OVERHEAD


@dataclass(frozen=True, slots=True)
class Node:
    """This encryptor itself. `public_key`, if given, catches a site that has the same."""
    name: str
    mode: str  # SMALL or LARGE
    listen_port: int
    state: str | None = None  # directory; None: /var/lib/wgpy/NAME
    public_key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Wan:
    """The interface that black gets, in clear on the Internet's side."""
    interface: str
    addresses: tuple[Interface, ...] = ()
    dhcp: bool = False  # addresses come and go by a client that the administrator runs
    gateways: tuple[Address, ...] = ()  # at most one a family
    mtu: int = LINK_MTU
    gateway_macs: tuple[str, ...] = ()  # none, one for all gateways, or as many as these
    discovery: bool = False  # of the path's MTU by ICMP, which anybody can forge

    def off_link(self, gateway: Address) -> bool:
        """Whether no network of the addresses says that it is on the link."""
        return not (gateway.version == 6 and gateway.is_link_local
                    or any(gateway in a.network for a in self.addresses))

    def reaches(self, gateway: Address) -> bool:
        """Or as hosters do it: one address, of a network of its own, whose gateway is on
        the link all the same."""
        return not self.off_link(gateway) or any(
            a.version == gateway.version and a.network.num_addresses == 1 for a in self.addresses)


@dataclass(frozen=True, slots=True)
class Lan:
    """The interface that red gets, on the side of the protected hosts."""
    interface: str
    addresses: tuple[Interface, ...]
    networks: tuple[Network, ...]  # this site's protected networks
    gateways: tuple[Address, ...] = ()  # at most one a family: the site's own router
    mtu: int | None = None  # of the tunnel; None: from the WAN link's

    def reaches(self, gateway: Address) -> bool:
        """Is it on the link, by an address of ours or as a link-local one?"""
        return (gateway.version == 6 and gateway.is_link_local
                or any(gateway in a.network for a in self.addresses))


@dataclass(frozen=True, slots=True)
class Peer:
    """Another site."""
    name: str
    public_key: bytes
    networks: tuple[Network, ...]
    endpoints: tuple[HostPort, ...] = ()  # numeric, the preferred one first
    psk: str | None = None  # name in the key store
    keepalive: int = 0  # seconds, 0 off


@dataclass(frozen=True, slots=True)
class Permit:
    """Who may reach what: any of `sources` any of the other sites' networks, or of
    `networks`."""
    sources: tuple[Network, ...]
    sites: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()  # destinations not given by a site's name


@dataclass(frozen=True, slots=True)
class Firewall:
    """Additional nft statements of the input chains, each one line, checked."""
    black: tuple[str, ...] = ()
    red: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Site:
    """A checked site file. `permits` None: every LAN host may reach every site."""
    node: Node
    wan: Wan
    lan: Lan
    peers: tuple[Peer, ...] = ()
    permits: tuple[Permit, ...] | None = None
    bypass: tuple[Network, ...] = ()  # empty in large mode
    firewall: Firewall = Firewall()
    warnings: tuple[str, ...] = ()
    connections: int = CONNECTIONS  # in clear, at a time, of one LAN host
    suite: SuiteFile | None = None  # None: WireGuard's
    overhead: int = TRANSPORT_OVERHEAD  # of a transport message: header and the suite's tag

    @property
    def small(self) -> bool:
        """Its LAN hosts may reach `bypass` in clear, through the node (docs/site-file.md)."""
        return self.node.mode == SMALL

    @property
    def gateways(self) -> list[tuple[Address, str | None]]:
        """Of the WAN, each with its MAC address where the file pins it."""
        gateways, macs = self.wan.gateways, self.wan.gateway_macs or (None,)
        return list(zip(gateways, macs if len(macs) > 1 else macs * len(gateways)))

    @property
    def mtu(self) -> int:
        """Of the tunnel interface, bytes."""
        return self.lan.mtu or self.wan.mtu - UDP_OVER_IPV6 - self.overhead

    @property
    def remote(self) -> tuple[Network, ...]:
        """Networks of all other sites, as written."""
        return tuple(n for p in self.peers for n in p.networks)

    @property
    def protected(self) -> tuple[Network, ...]:
        """What may never be a destination in clear: the networks of every site, own ones too."""
        return self.remote + self.lan.networks


_V = TypeVar("_V", Address, Interface, Network)


def family(items: Iterable[_V], version: int) -> list[_V]:
    """Those of one IP version, 4 or 6."""
    return [i for i in items if i.version == version]
