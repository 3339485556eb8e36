"""What a site file asks of a node's links, as lines for ip(8): addresses, routes, neighbours.
Nothing is done here."""

from collections.abc import Iterable
from ipaddress import ip_address

from wgpy.config.links import CLEAR, CLEAR_BLACK, CLEAR_RED, SECURE
from wgpy.config.networks import intersection
from wgpy.config.site_model import Address, Interface, Site
from wgpy.node.ip_lines import Line

BLACKHOLE_METRIC = 9000


def refusing(site: Site) -> list[str]:
    """Routes under which protected networks do not leave in clear when all others are gone."""
    return [f"route replace blackhole {n} metric {BLACKHOLE_METRIC}" for n in site.protected]


def black(site: Site, here: bool, needed: set[int]) -> list[Line]:
    """`here`: whether the WAN is; `needed`: IP versions of the link between the rooms."""
    wan, lines = site.wan, []
    if here:
        lines += [Line(f"link set {wan.interface} mtu {wan.mtu} up")]
        lines += [_address(a, wan.interface) for a in wan.addresses]
        lines += [Line(f"route replace default via {g} dev {wan.interface}" + " onlink" * wan.off_link(g))
                  for g in wan.gateways]
        lines += [_pinned(g, wan.interface, mac) for g, mac in site.gateways]
        near = {ip_address(e.host) for p in site.peers for e in p.endpoints}
        lines += [_pinned(a, wan.interface) for a in sorted(near, key=str) if any(a in w.network for w in wan.addresses)]
    if site.small:
        lines += [Line(f"link set {CLEAR} up")] + [_address(a, CLEAR, a.version in needed) for a in CLEAR_BLACK]
        lines += [Line(f"route replace {n} via {_end(CLEAR_RED, n.version)} dev {CLEAR}") for n in site.lan.networks]
        lines += [_pinned(a.ip, CLEAR) for a in CLEAR_RED]
    return lines


def red(site: Site, here: bool, needed: set[int]) -> list[Line]:
    """`here`: whether the LAN is; `needed` as for black()."""
    lan = site.lan
    lines = [Line(f"link set {SECURE} up")]
    if here:
        lines += [Line(f"link set {lan.interface} up")] + [_address(a, lan.interface) for a in lan.addresses]
        on_link = {a.network for a in lan.addresses}
        lines += [Line(f"route replace {n} via {g} dev {lan.interface}") for n in lan.networks for g in lan.gateways
                  if n.version == g.version and not any(intersection(n, o) == n for o in on_link)]
        lines += [_pinned(g, lan.interface) for g in lan.gateways]
    for n in site.remote:
        source = next((f" src {a.ip}" for a in lan.addresses if here and a.version == n.version), "")
        lines.append(Line(f"route replace {n} dev {SECURE}{source}"))
    if site.small:
        lines += [Line(f"link set {CLEAR} up")] + [_address(a, CLEAR, a.version in needed) for a in CLEAR_RED]
        lines += [Line(f"route replace default via {a.ip} dev {CLEAR}", needed=a.version in needed) for a in CLEAR_BLACK]
        lines += [_pinned(a.ip, CLEAR) for a in CLEAR_BLACK]
    return lines


def _address(address: Interface, link: str, needed: bool = True) -> Line:
    return Line(f"address replace {address} dev {link}{' nodad' if address.version == 6 else ''}", needed=needed)


def _pinned(address: Address, link: str, mac: str | None = None) -> Line:
    """A neighbour that the host's table, which every link's neighbours can fill, never
    throws out: as the site file says, else kept up to date by the kernel (Linux 5.16) or at
    least not thrown out. What is learnt can be without."""
    begin = f"neigh replace {address} dev {link}"
    if mac:
        return Line(f"{begin} lladdr {mac} nud permanent")
    return Line(f"{begin} managed extern_learn", otherwise=f"{begin} nud none extern_learn", needed=False)


def _end(addresses: Iterable[Interface], version: int) -> Address:
    return next(a.ip for a in addresses if a.version == version)
