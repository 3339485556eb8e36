"""Firewalls of black and red: from a checked site to a text for `nft -f`.

Each text is one transaction that replaces one table, so there is no moment without
rules. Everything is dropped unless a line admits it, and nothing is rejected: who is
not known to the node learns nothing (F2). That a protected destination never leaves in
clear (F10) is said in each room by itself, so that it holds with the other one taken over.
Loading a text sets the counters to zero.
"""

from collections.abc import Iterable, Iterator
from itertools import product

from wgpy.config.links import CLEAR, CLEAR_NETWORKS, SECURE
from wgpy.config.networks import collapse, permitted
from wgpy.config.site_model import LINK_MTU, Network, Site, family

BLACK_TABLE, RED_TABLE = "wgpy_black", "wgpy_red"

# counter -> what it counts, for people
BLACK_COUNTERS = {
    "input_dropped": "packets to black itself that nothing admits",
    "wan_spoofed": "packets from the WAN with a source that cannot be there",
    "clear_spoofed": "packets from red with a source that is not of this site",
    "protected_in_clear": "packets in clear to a network of a site, stopped in black",
    "forward_dropped": "packets through black that nothing admits",
    "output_dropped": "packets of black itself that nothing admits",
    "invalid": "packets in clear that belong to no connection",
}
RED_COUNTERS = {
    "input_dropped": "packets to red itself that nothing admits",
    "lan_spoofed": "packets from the LAN with a source that is not of this site",
    "tunnel_spoofed": "packets from the tunnel with a source that is of no other site",
    "clear_spoofed": "packets from black with a protected source",
    "protected_in_clear": "packets in clear to a network of a site, stopped in red",
    "not_permitted": "packets between LAN and sites that no [[permit]] covers",
    "not_bypassed": "packets from the LAN to destinations outside [bypass]",
    "forward_dropped": "packets through red that nothing admits",
    "output_dropped": "packets of red itself that nothing admits",
    "invalid": "packets that belong to no connection",
}

# Never a source on a WAN, nor a destination beyond it (RFC 6890)
_MARTIANS4 = "{ 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 }"
_MARTIANS6 = f"{{ ::1, ::ffff:0.0.0.0/96, {CLEAR_NETWORKS[1]}, ff00::/8 }}"
_FAMILIES = ((4, "ip"), (6, "ip6"))
_SYN = "tcp flags & (syn | rst) == syn tcp option maxseg size set"
_NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }"
_ASKING = ("icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, "
           "mld2-listener-report }")
_TOO_BIG = ("icmp type destination-unreachable icmp code frag-needed",
            "icmpv6 type packet-too-big")
_TOO_FAR = ("icmp type time-exceeded", "icmpv6 type time-exceeded")
_ERRORS = ("icmp type { destination-unreachable, time-exceeded, parameter-problem }",
           "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, "
           "parameter-problem }")

Lines = Iterator[str]


def black_rules(site: Site) -> str:
    """Firewall 1: WAN, and in small mode the clear link."""
    sets = {"protected": site.protected}
    if site.small:
        sets["lan"] = site.lan.networks
    chains = [_chain("prerouting", "prerouting", "raw", "accept", _black_prerouting(site)),
              _chain("untracked", "output", "raw", "accept",
                     [f"udp sport {site.node.listen_port} notrack"]),
              _chain("input", "input", "filter", "drop", _black_input(site)),
              _chain("forward", "forward", "filter", "drop", _black_forward(site)),
              _chain("output", "output", "filter", "drop", _black_output(site))]
    if site.small:
        chains.append(_chain("translate", "postrouting", "srcnat", "accept",
                             _masquerade(site), "nat"))
        if site.wan.mtu < LINK_MTU:
            chains.append(_chain("clamp", "forward", "mangle", "accept",
                                 _clamp(site.wan.interface, site.wan.mtu)))
    return _table(BLACK_TABLE, BLACK_COUNTERS, sets, chains)


def red_rules(site: Site) -> str:
    """Firewall 2: LAN, the tunnel, and in small mode the clear link."""
    link = [*site.lan.networks, *(a.network for a in site.lan.addresses)]
    sets = {"protected": site.protected, "remote": site.remote, "lan": site.lan.networks,
            "link": link}
    chains = [_chain("prerouting", "prerouting", "raw", "accept", _red_prerouting(site)),
              _chain("input", "input", "filter", "drop", _red_input(site)),
              _chain("clamp", "forward", "mangle", "accept", _clamp(SECURE, site.mtu)),
              _chain("forward", "forward", "filter", "drop", _red_forward(site)),
              _chain("output", "output", "filter", "drop", _red_output(site))]
    return _table(RED_TABLE, RED_COUNTERS, sets, chains)


def _black_prerouting(site: Site) -> Lines:
    wan = f'iifname "{site.wan.interface}"'
    for v, ip in _FAMILIES:
        yield f"{wan} {ip} saddr @protected{v} {_drop('wan_spoofed')}"
    yield f"{wan} ip saddr {_MARTIANS4} {_drop('wan_spoofed')}"
    yield f"{wan} ip6 saddr {_MARTIANS6} {_drop('wan_spoofed')}"
    if site.small:
        for (v, ip), net in zip(_FAMILIES, CLEAR_NETWORKS):
            link = f"{ip} saddr != {net}" + (" ip6 saddr != { ::, fe80::/10 }" if v == 6 else "")
            yield f'iifname "{CLEAR}" {link} {ip} saddr != @lan{v} {_drop("clear_spoofed")}'
    # the tunnel's own datagrams need no connection, and must not be lost for want of one
    yield f"{wan} udp dport {site.node.listen_port} notrack"


def _black_input(site: Site) -> Lines:
    wan = f'iifname "{site.wan.interface}"'
    yield 'iifname "lo" accept'
    yield f"{wan} udp dport {site.node.listen_port} accept"
    for kind in _TOO_BIG:
        yield f"{wan} {kind} accept"
    links = [site.wan.interface] + [CLEAR] * site.small
    yield f"iifname {_names(links)} ip6 hoplimit 255 {_NEIGHBOURS} accept"
    yield f"{wan} ip6 saddr fe80::/10 ip6 hoplimit 1 icmpv6 type mld-listener-query accept"
    if site.wan.dhcp:
        yield f"{wan} udp sport 67 udp dport 68 accept"
        yield f"{wan} ip6 saddr fe80::/10 ip6 hoplimit 255 icmpv6 type nd-router-advert accept"
        yield f"{wan} ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept"
    yield from _additions(site, site.firewall.black)
    yield _drop("input_dropped")


def _black_forward(site: Site) -> Lines:
    ways = [f'oifname "{site.wan.interface}"'] + [f'iifname "{CLEAR}"'] * site.small
    for way, (v, ip) in product(ways, _FAMILIES):
        yield f"{way} {ip} daddr @protected{v} {_drop('protected_in_clear')}"
    if site.small:
        wan, clear = f'"{site.wan.interface}"', f'"{CLEAR}"'
        yield f"ct state invalid {_drop('invalid')}"
        yield f"oifname {wan} ip daddr {_MARTIANS4} {_drop('forward_dropped')}"
        yield f"oifname {wan} ip6 daddr {_MARTIANS6} {_drop('forward_dropped')}"
        # ICMP errors of red itself come from the link's own address
        yield f"iifname {clear} oifname {wan} ct state related accept"
        for v, ip in _FAMILIES:
            for to in _bypass(site, v, ip):
                yield f"iifname {clear} oifname {wan} {ip} saddr @lan{v}{to} accept"
        yield f"iifname {wan} oifname {clear} ct state established,related accept"
    yield _drop("forward_dropped")


def _black_output(site: Site) -> Lines:
    wan = f'oifname "{site.wan.interface}"'
    yield 'oifname "lo" accept'
    for v, ip in _FAMILIES:
        yield f"{wan} {ip} daddr @protected{v} {_drop('protected_in_clear')}"
    yield f"{wan} udp sport {site.node.listen_port} accept"
    links = [site.wan.interface] + [CLEAR] * site.small
    yield f"oifname {_names(links)} {_ASKING} accept"
    if site.wan.dhcp:
        yield f"{wan} udp sport 68 udp dport 67 accept"
        yield f"{wan} udp sport 546 udp dport 547 accept"
    if site.small:
        for kind in _ERRORS:
            yield f'oifname "{CLEAR}" {kind} accept'
    # answers to what the administrator's additions let in; ICMP errors are related, not this
    yield "ct state established accept"
    yield _drop("output_dropped")


def _masquerade(site: Site) -> Lines:
    """A LAN flow must never take the tunnel's own port: its answers would be the tunnel's."""
    port = site.node.listen_port
    below, above = (1024, port - 1), (port + 1, 65535)
    low, high = max(below, above, key=lambda r: r[1] - r[0])
    for v, ip in _FAMILIES:
        lan = f'oifname "{site.wan.interface}" {ip} saddr @lan{v}'
        yield f"{lan} meta l4proto udp masquerade to :{low}-{high}"
        yield f"{lan} masquerade"


def _red_prerouting(site: Site) -> Lines:
    lan = f'iifname "{site.lan.interface}"'
    yield f"{lan} ip saddr != @link4 {_drop('lan_spoofed')}"
    yield f"{lan} ip6 saddr != {{ ::, fe80::/10 }} ip6 saddr != @link6 {_drop('lan_spoofed')}"
    for v, ip in _FAMILIES:
        for rule in (f"{ip} saddr @lan{v}", f"{ip} saddr != @remote{v}"):
            yield f'iifname "{SECURE}" {rule} {_drop("tunnel_spoofed")}'
        if site.small:
            yield f'iifname "{CLEAR}" {ip} saddr @protected{v} {_drop("clear_spoofed")}'


def _red_input(site: Site) -> Lines:
    links = [site.lan.interface] + [CLEAR] * site.small
    yield 'iifname "lo" accept'
    yield f"iifname {_names(links)} ip6 hoplimit 255 {_NEIGHBOURS} accept"
    yield (f'iifname "{site.lan.interface}" ip6 saddr fe80::/10 ip6 hoplimit 1 '
           "icmpv6 type mld-listener-query accept")
    yield from _additions(site, site.firewall.red)
    yield _drop("input_dropped")


def _red_forward(site: Site) -> Lines:
    lan, secure, clear = f'"{site.lan.interface}"', f'"{SECURE}"', f'"{CLEAR}"'
    for v, ip in _FAMILIES:
        yield (f"oifname != {_names([site.lan.interface, SECURE])} {ip} daddr @protected{v} "
               f"{_drop('protected_in_clear')}")
    yield f"ct state invalid {_drop('invalid')}"
    ways = ((lan, secure), (secure, lan))
    for (a, b), kind in product(ways, _ERRORS):
        yield f"iifname {a} oifname {b} ct state related {kind} accept"
    for sources, targets in permitted(site):
        for v, ip in _FAMILIES:
            here, there = family(sources, v), family(targets, v)
            if here and there:
                yield (f"iifname {lan} oifname {secure} {ip} saddr {_set(here)} "
                       f"{ip} daddr {_set(there)} accept")
                yield (f"iifname {secure} oifname {lan} {ip} saddr {_set(there)} "
                       f"{ip} daddr {_set(here)} accept")
    for a, b in ways:
        yield f"iifname {a} oifname {b} {_drop('not_permitted')}"
    if site.small:
        for v, ip in _FAMILIES:
            yield f"iifname {lan} oifname {lan} {ip} saddr @lan{v} {ip} daddr @lan{v} accept"
            for to in _bypass(site, v, ip):
                yield f"iifname {lan} oifname {clear} {ip} saddr @lan{v}{to} accept"
        yield f"iifname {clear} oifname {lan} ct state established,related accept"
        yield f"iifname {lan} oifname {clear} {_drop('not_bypassed')}"
    yield _drop("forward_dropped")


def _red_output(site: Site) -> Lines:
    inner = _names([site.lan.interface, SECURE])
    yield 'oifname "lo" accept'
    for v, ip in _FAMILIES:
        yield f"oifname != {inner} {ip} daddr @protected{v} {_drop('protected_in_clear')}"
    links = [site.lan.interface] + [CLEAR] * site.small
    yield f"oifname {_names(links)} {_ASKING} accept"
    for kind in _TOO_BIG + _TOO_FAR:
        yield f"{kind} accept"
    yield f"oifname {inner} ct state established accept"
    yield _drop("output_dropped")


def _additions(site: Site, lines: Iterable[str]) -> Lines:
    """Whatever they open, a room that was taken over does not get it in the other one."""
    if lines and site.small:
        yield f'iifname "{CLEAR}" {_drop("input_dropped")}'
    yield from lines


def _clamp(link: str, mtu: int) -> Lines:
    """TCP segments that fit, in both directions (RFC 879: MTU less both headers). The
    kernel only ever lowers an MSS."""
    for way, (ip, headers) in product(("iifname", "oifname"), (("ipv4", 40), ("ipv6", 60))):
        yield f'{way} "{link}" meta nfproto {ip} {_SYN} {mtu - headers}'


def _bypass(site: Site, version: int, ip: str) -> list[str]:
    """One match of the destinations that may go in clear, or none."""
    nets = family(collapse(site.bypass), version)
    if any(n.prefixlen == 0 for n in nets):
        return [""]
    return [f" {ip} daddr {_set(nets)}"] if nets else []


def _drop(counter: str) -> str:
    return f"counter name {counter} drop"


def _names(links: Iterable[str]) -> str:
    return "{ " + ", ".join(f'"{name}"' for name in links) + " }"


def _set(networks: Iterable[Network]) -> str:
    return "{ " + ", ".join(map(str, networks)) + " }"


def _chain(name: str, hook: str, priority: str, policy: str, lines: Iterable[str],
           kind: str = "filter") -> str:
    head = f"type {kind} hook {hook} priority {priority}; policy {policy};"
    body = "".join(f"\t\t{line}\n" for line in (head, *lines))
    return f"\tchain {name} {{\n{body}\t}}\n"


def _table(name: str, counters: Iterable[str], sets: dict, chains: list[str]) -> str:
    parts = [f"\tcounter {c} {{\n\t}}\n" for c in counters]
    for title, networks in sets.items():
        for v, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
            nets = family(collapse(networks), v)
            elements = f"\t\telements = {_set(nets)}\n" if nets else ""
            parts.append(f"\tset {title}{v} {{\n\t\ttype {kind}\n\t\tflags interval\n"
                         f"{elements}\t}}\n")
    # declared first, so that deleting it cannot fail
    return (f"table inet {name}\ndelete table inet {name}\ntable inet {name} {{\n"
            + "\n".join(parts + chains) + "}\n")
