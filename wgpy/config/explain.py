"""A site file in words and as a picture: what will flow where, and what will not."""

from collections.abc import Iterable

from wgpy.config.networks import collapse, flows, owned, without
from wgpy.config.site_model import Network, Peer, Site, family
from wgpy.config.values import endpoint_text, short_key

_WIDTH = 78


def explain(site: Site) -> str:
    """Lines of text for a terminal of 80 columns, the diagram in ASCII."""
    mode = ("small: it encrypts, and is the site's router" if site.small else
            "large: it only encrypts; red and black are not connected")
    parts = [[f"Node {site.node.name}, mode {mode}."], _diagram(site), _tunnel(site),
             _clear(site), _refused(site), _sizes(site)]
    if site.warnings:
        parts.append(["Warnings", *(f"  ! {w}" for w in site.warnings)])
    return "\n\n".join("\n".join(p) for p in parts) + "\n"


def _list(items: Iterable[object], none: str = "nothing") -> str:
    return ", ".join(map(str, items)) or none


def _wrapped(indent: str, first: str, items: Iterable[object]) -> list[str]:
    """A list broken between its items."""
    lines, line = [], indent + first
    words = list(map(str, items))
    for i, item in enumerate(words):
        word = item + ("," if i < len(words) - 1 else "")
        if len(line) + 1 + len(word) > _WIDTH and line.strip():
            lines.append(line)
            line = indent + "  "
        line += ("" if line.endswith(" ") else " ") + word
    return lines + [line]


def _diagram(site: Site) -> list[str]:
    outer = ["dhcp"] if site.wan.dhcp else list(map(str, site.wan.addresses))
    inner = list(map(str, site.lan.addresses))
    width = max([len(t) for t in (*inner, f"LAN {site.lan.interface}")]) + 2
    room = ["+-------+  +--------+  +-------+", "|  red  |==| crypto |==| black |",
            "+-------+  +--------+  +-------+"]
    lines = [f"  {f'LAN {site.lan.interface}':<{width}}{' ' * 32}  WAN {site.wan.interface}",
             f"  {inner[0]:<{width}}{room[0]}  {outer[0]}",
             f"  {'-' * (width - 1):<{width - 1}}-{room[1]}---- udp {site.node.listen_port}",
             f"  {(inner[1:] or [''])[0]:<{width}}{room[2]}  {(outer[1:] or [''])[0]}"]
    if site.small:
        lines += [f"  {'':<{width}}    |      clear0       |",
                  f"  {'':<{width}}    +-------------------+  in clear, NAT"]
    for peer in site.peers:
        lines += _branch(peer, width)
    return [line.rstrip() for line in lines]


def _branch(peer: Peer, width: int) -> list[str]:
    via = endpoint_text(peer.endpoints[0]) if peer.endpoints else "waits for it"
    nets = _list(peer.networks[:2]) + (f", {len(peer.networks) - 2} more"
                                       if len(peer.networks) > 2 else "")
    return [f"  {'':<{width}}    ==[{via}]==> {peer.name}: {nets}"]


def _tunnel(site: Site) -> list[str]:
    lines = ["Through the tunnel, encrypted, in both directions"]
    if not site.peers:
        return lines + ["  nothing: there is no [[site]]"]
    pairs, routed = flows(site), owned(site)
    for peer in site.peers:
        psk = f"preshared key {peer.psk!r}" if peer.psk else "no preshared key"
        keepalive = f"keepalive every {peer.keepalive} s" if peer.keepalive else "no keepalive"
        lines += [f"  {peer.name}  {short_key(peer.public_key)}, {psk}, {keepalive}"]
        lines += _wrapped("    ", "at", map(endpoint_text, peer.endpoints)) if peer.endpoints \
            else ["    at whatever address it calls from; this node cannot call it"]
        covered: list[Network] = []
        for sources, targets in pairs[peer.name]:
            for version in (4, 6):
                here, there = family(sources, version), family(targets, version)
                if here and there:
                    covered += there
                    lines += _wrapped("    ", f"{_list(here)}  <->", there)
        if rest := without(routed[peer.name], covered):
            lines += _wrapped("    ", "no LAN host  <->", rest)
    return lines + ["  Every LAN host may take part: there is no [[permit]]."
                    if site.permits is None else
                    "  LAN hosts that no [[permit]] names take no part."]


def _clear(site: Site) -> list[str]:
    lines = ["In clear"]
    if not site.small:
        return lines + ["  nothing: the site's router sends this node only what is for other "
                        "sites"]
    if not site.bypass:
        return lines + ["  nothing: [bypass] is empty"]
    source = "the WAN's DHCP address" if site.wan.dhcp else \
        _list(a.ip for a in site.wan.addresses)
    lines += _wrapped("  ", "from", collapse(site.lan.networks))
    lines += _wrapped("  ", "to", collapse(site.bypass))
    return lines + ["  less what is refused below, red -> clear0 -> black -> "
                    f"{site.wan.interface},", f"  seen from outside as {source}; "
                    "connections begin at the LAN only,",
                    f"  at most {site.connections} at a time of one host"]


def _refused(site: Site) -> list[str]:
    lines = ["Refused, silently, and counted"]
    lines += _wrapped("  ", "in clear, by red and by black alike:", collapse(site.protected))
    lines += ["  from the LAN, any source but:"]
    lines += _wrapped("    ", "", collapse(site.lan.networks))
    lines += ["  from the tunnel, any source but the networks of the other sites",
              f"  to black from the WAN, everything but UDP {site.node.listen_port}",
              "  to red from the LAN, everything"]
    for room, extra in (("black", site.firewall.black), ("red", site.firewall.red)):
        lines += [f"  except, in {room}, by [firewall]: {line}" for line in extra]
    return lines


def _sizes(site: Site) -> list[str]:
    gateways = [f"  WAN gateway {gateway}" + ", on the link though outside its networks" * site.wan.off_link(gateway)
                + (f", pinned to {mac}" if mac else "") for gateway, mac in site.gateways]
    return [*(["The way out", *gateways, ""] if gateways else []), "Sizes",
            f"  tunnel MTU {site.mtu}, WAN MTU {site.wan.mtu}; TCP segments of at most "
            f"{site.mtu - 40} (IPv4) and {site.mtu - 60} (IPv6) bytes",
            *([f"  cryptographic functions of {site.suite.library}, {site.overhead} bytes added to a packet"] if site.suite else [])]
