"""What is wrong with a site file as a whole, beyond its single values."""

import ipaddress

from wgpy.config import networks
from wgpy.config.links import CLEAR_NETWORKS
from wgpy.config.model import HostPort
from wgpy.config.networks import Owned
from wgpy.config.site_model import LARGE, Address, Interface, Lan, Network, Site, Wan, family
from wgpy.config.site_text import Path, Report, suggestion
from wgpy.config.values import endpoint_text
from wgpy.constants import UDP_OVER_IPV4, UDP_OVER_IPV6

IPV6_MINIMUM_MTU = 1280  # RFC 8200, section 5
HERE = "this site"


def check(site: Site, report: Report) -> None:
    """Puts errors and warnings into the report; raises nothing."""
    for part in (_links, _macs, _outer, _overlaps, _room_link, _peers, _endpoints, _mtu, _modes,
                 _permits):
        part(site, report)


def _links(site: Site, report: Report) -> None:
    if site.wan.interface and site.wan.interface == site.lan.interface:
        report.error(("lan", "interface"), "the WAN has the same interface")
    for key, side in (("wan", site.wan), ("lan", site.lan)):
        _gateways(key, side, report)
    gated = {g.version for g in site.lan.gateways}
    links = networks.Finder((a.network, None) for a in site.lan.addresses)
    for net in site.lan.networks:
        if site.lan.addresses and links.find(net) is None and net.version not in gated:
            report.warn(report.place(("lan", "networks"), net),
                        f"{net} is not on the link and no lan.gateway leads there")


def _gateways(key: str, side: Wan | Lan, report: Report) -> None:
    for gateway in side.gateways:
        where = report.place((key, "gateway"), gateway)
        if len(family(side.gateways, gateway.version)) > 1:
            report.error(where, f"more than one gateway for IPv{gateway.version}")
        elif any(gateway == a.ip for a in side.addresses):
            report.error(where, f"{gateway} is this node's own address")
        elif side.addresses and not side.reaches(gateway):
            hint = "" if key == "lan" else "; an address with /32 or /128 has its gateway anywhere on the link"
            report.error(where, f"{gateway} is in none of the networks of {key}.addresses{hint}")


def _macs(site: Site, report: Report) -> None:
    macs, where = len(site.wan.gateway_macs), ("wan", "gateway_mac")
    if macs and not site.wan.gateways:
        report.error(where, "there is no wan.gateway")
    elif macs > 1 and macs != len(site.wan.gateways):
        report.error(where, "must be one for all gateways, or one for each in their order")


def _claims(site: Site) -> list[Owned[int | str]]:
    """Protected networks, each with the place of its site in the file, or HERE."""
    return [*((n, i) for i, p in enumerate(site.peers) for n in p.networks),
            *((n, HERE) for n in site.lan.networks)]


def _owner(site: Site, owner: int | str) -> str:
    return owner if isinstance(owner, str) else f"site {site.peers[owner].name!r}"


def _outer(site: Site, report: Report) -> None:
    """The WAN link is outside: its addresses are nobody's protected ones."""
    protected = networks.Finder(_claims(site))
    outside: list[tuple[Address, str, Address | Interface]] = [
        *((a.ip, "addresses", a) for a in site.wan.addresses), *((g, "gateway", g) for g in site.wan.gateways)]
    for what, key, value in outside:
        if found := protected.find(what):
            report.error(report.place(("wan", key), value),
                         f"{what} lies in {found[0]}, a protected network of "
                         f"{_owner(site, found[1])}")
    both: list[Owned[int | str]] = [*((a.network, "wan") for a in site.wan.addresses), *_claims(site)]
    for (_, a), (inner, b) in networks.nested(both):
        if "wan" in (a, b) and a != b:
            other = a if b == "wan" else b
            report.warn(("wan", "addresses"), f"the WAN link and {_owner(site, other)} share "
                        f"{inner}: its hosts on the WAN link cannot be reached in clear")


def _overlaps(site: Site, report: Report) -> None:
    for (outer, a), (inner, b) in networks.nested(_claims(site)):
        if a == b:
            continue
        mine, other = (b, a) if b != HERE else (a, b)
        net = inner if mine == b else outer
        where = report.place(("site", mine, "networks"), net)
        if outer == inner:
            report.error(where, f"{net} belongs to {_owner(site, other)} already")
        elif a == HERE:
            report.error(where, f"{inner} lies inside {outer} of this site: "
                         "its hosts would not send to it through the node")
        else:
            report.warn(where, f"{inner} of {_owner(site, b)} lies inside {outer} of "
                        f"{_owner(site, a)}: the narrower one wins")


def _room_link(site: Site, report: Report) -> None:
    used: list[tuple[Network, Path, Network | Interface]] = [(n, ("lan", "networks"), n) for n in site.lan.networks]
    used += [(a.network, (k, "addresses"), a) for k, s in (("wan", site.wan), ("lan", site.lan))
             for a in s.addresses]
    used += [(n, ("site", i, "networks"), n) for i, p in enumerate(site.peers) for n in p.networks]
    for net, path, value in used:
        for own in CLEAR_NETWORKS:
            if net.version == own.version and net.overlaps(own):
                report.error(report.place(path, value),
                             f"{net} contains {own}, the link between the rooms")


def _peers(site: Site, report: Report) -> None:
    seen: dict[tuple[str, str | bytes], int] = {}
    for i, p in enumerate(site.peers):
        path = ("site", i)
        if p.name and p.name == site.node.name:
            report.error(path + ("name",), f"{p.name!r} is this node itself")
        if p.public_key and p.public_key == site.node.public_key:
            report.error(path + ("public_key",), "this is the node's own key")
        said: tuple[tuple[str, str | bytes], ...] = (("name", p.name), ("public_key", p.public_key))
        for key, value in said:
            if value and seen.setdefault((key, value), i) != i:
                line = report.line(("site", seen[key, value], key))
                report.error(path + (key,), f"another site has this {key.replace('_', ' ')}, "
                             f"line {line}")
    if not site.peers:
        report.warn((), "no [[site]]: nothing will be encrypted")


def _endpoints(site: Site, report: Report) -> None:
    protected = networks.Finder(_claims(site))
    seen: dict[HostPort, int] = {}
    for i, p in enumerate(site.peers):
        if not p.endpoints and p.name:
            report.warn(("site", i), f"{p.name!r} has no endpoint: "
                        "no session until the other site begins one")
        for endpoint in p.endpoints:
            address = ipaddress.ip_address(endpoint.host)
            where = report.place(("site", i, "endpoints"), endpoint)
            shown = endpoint_text(endpoint)
            if found := protected.find(address):
                report.error(where, f"{shown} lies in {found[0]}, a protected network of "
                             f"{_owner(site, found[1])}: the tunnel would run through itself")
            elif any(address == a.ip for a in site.wan.addresses):
                report.error(where, f"{shown} is this node's own address")
            elif seen.setdefault(endpoint, i) != i:
                report.warn(where, f"{shown} is an endpoint of "
                            f"{_owner(site, seen[endpoint])} too")
            _reachable(site, report, where, address, shown)


def _reachable(site: Site, report: Report, where: Path, address: Address, shown: str) -> None:
    wan = site.wan
    if wan.dhcp or not wan.addresses:
        return
    if address.version not in {a.version for a in wan.addresses}:
        report.warn(where, f"{shown} cannot be reached: the WAN has no IPv{address.version} "
                    "address")
    elif not any(address in a.network for a in wan.addresses) \
            and not family(wan.gateways, address.version):
        report.warn(where, f"{shown} cannot be reached: it is not on the WAN link and there is "
                    f"no wan.gateway for IPv{address.version}")


def _mtu(site: Site, report: Report) -> None:
    where = ("lan", "mtu") if site.lan.mtu else ("wan", "mtu")
    inner6 = bool(family(site.protected, 6))
    if inner6 and site.mtu < IPV6_MINIMUM_MTU:
        report.error(where, f"the tunnel's MTU would be {site.mtu}: IPv6 networks need "
                     f"{IPV6_MINIMUM_MTU}")
    if family(site.wan.addresses, 6) and site.wan.mtu < IPV6_MINIMUM_MTU:
        report.error(("wan", "mtu"), f"IPv6 on the WAN needs {IPV6_MINIMUM_MTU}")
    outer = [*(a.version for a in site.wan.addresses),
             *(ipaddress.ip_address(e.host).version for p in site.peers for e in p.endpoints)]
    overhead = site.overhead + (UDP_OVER_IPV6 if 6 in outer else UDP_OVER_IPV4)
    if site.mtu > site.wan.mtu - overhead:
        report.warn(where, f"{site.mtu} is above need: datagrams of more than "
                    f"{site.wan.mtu - overhead} bytes inside do not fit the WAN link "
                    f"({site.wan.mtu}, overhead {overhead}) and are fragmented or lost")


def _modes(site: Site, report: Report) -> None:
    if site.node.mode == LARGE:
        if ("bypass",) in report.lines:
            report.error(("bypass",), "nothing bypasses the tunnel in large mode: "
                         "red and black are not connected")
        return
    if not site.bypass:
        report.warn(("bypass",), "the list is empty: the LAN does not reach the Internet")
    elif not site.wan.dhcp and not site.wan.gateways and site.wan.addresses:
        report.warn(("wan",), "no gateway: the LAN does not reach the Internet in clear")
    protected = networks.Finder((n, None) for n in networks.collapse(site.protected))
    for net in site.bypass:
        if protected.find(net):
            report.warn(report.place(("bypass", "networks"), net),
                        f"{net} is protected and never goes in clear")


def _permits(site: Site, report: Report) -> None:
    names = [p.name for p in site.peers]
    for i, permit in enumerate(site.permits or ()):
        path = ("permit", i)
        for net in permit.sources:
            if not networks.common([net], site.lan.networks):
                report.warn(report.place(path + ("from",), net),
                            f"matches nothing: {net} is outside this site's networks")
        for name in permit.sites:
            if name not in names:
                report.error(report.place(path + ("to",), name),
                             f"there is no site {name!r}" + suggestion(name, names))
        for net in permit.networks:
            if not networks.common([net], site.remote):
                report.warn(report.place(path + ("to",), net),
                            f"matches nothing: {net} is in no other site")
    pairs = networks.permitted(site) if site.permits and not report.errors else []
    for i, (sources, targets) in enumerate(pairs):
        if not {n.version for n in sources} & {n.version for n in targets}:
            report.warn(("permit", i), "permits nothing: no source and destination of one "
                        "IP version")
