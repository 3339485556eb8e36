"""The site file: one TOML document that describes one node as a whole.

`parse` reports every error at once; `load` raises the first. Addresses and networks are
objects of `ipaddress`; public keys are 32 raw bytes. Secrets never stand in the file:
`psk` is a name in the key store.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface,
                       IPv6Network)

from wgpy.config.model import HostPort
from wgpy.errors import ConfigError

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

SMALL, LARGE = "small", "large"
LINK_MTU = 1500
# IPv6 40 + UDP 8 + transport header and tag 32; 20 less where the outer packet is IPv4
OVERHEAD6, OVERHEAD4 = 80, 60
MAX_FILE = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    mode: str  # SMALL or LARGE
    listen_port: int
    state: str | None = None  # directory; None: /var/lib/wgpy/NAME
    public_key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Wan:
    interface: str
    addresses: tuple[Interface, ...] = ()
    dhcp: bool = False  # addresses come and go by a client that the administrator runs
    gateways: tuple[Address, ...] = ()  # at most one a family
    mtu: int = LINK_MTU


@dataclass(frozen=True, slots=True)
class Lan:
    interface: str
    addresses: tuple[Interface, ...]
    networks: tuple[Network, ...]  # this site's protected networks
    gateways: tuple[Address, ...] = ()  # at most one a family: the site's own router
    mtu: int | None = None  # of the tunnel; None: from the WAN link's


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

    @property
    def small(self) -> bool:
        return self.node.mode == SMALL

    @property
    def mtu(self) -> int:
        """Of the tunnel interface, bytes."""
        return self.lan.mtu or self.wan.mtu - OVERHEAD6

    @property
    def remote(self) -> tuple[Network, ...]:
        """Networks of all other sites, as written."""
        return tuple(n for p in self.peers for n in p.networks)

    @property
    def protected(self) -> tuple[Network, ...]:
        """What may never be a destination in clear: the networks of every site, own ones too."""
        return self.remote + self.lan.networks


def family(items: Iterable, version: int) -> list:
    """Those of one IP version, 4 or 6."""
    return [i for i in items if i.version == version]


def parse(text: str, source: str) -> tuple[Site | None, list[ConfigError], list[str]]:
    """(site or None, errors in order of lines, warnings as lines of text); never raises.
    `source` names the file in them."""
    from wgpy.config import site_check, site_read, site_text
    report = site_text.Report(text, source)
    site = None
    data = report.load()
    if data is not None:
        site = site_read.read(data, report)
    if site is not None:
        site_check.check(site, report)
    return report.result(site)


def load(path: str) -> Site:
    """The site of a file. ConfigError with the first error; OSError if unreadable."""
    path = str(path)
    with open(path, "rb") as f:
        data = f.read(MAX_FILE + 1)
    site, errors, _ = parse_bytes(data, path)
    if errors:
        first, more = errors[0], len(errors) - 1
        tail = f" (and {more} more: wgpy site check {path})" if more else ""
        raise ConfigError(first.message + tail, source=first.source, line=first.line,
                          key=first.key)
    return site


def parse_bytes(data: bytes, source: str) -> tuple[Site | None, list[ConfigError], list[str]]:
    """As `parse`, for a file's bytes; longer than MAX_FILE or not UTF-8 is an error."""
    if len(data) > MAX_FILE:
        return None, [ConfigError(f"longer than {MAX_FILE} bytes", source=source, line=1)], []
    try:
        return parse(data.decode(), source)
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        return None, [ConfigError("not UTF-8 text", source=source, line=line)], []
