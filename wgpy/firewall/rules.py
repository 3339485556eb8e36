"""Firewalls of black and red: from a checked site to a text for `nft -f`.

Each text is one transaction that replaces one table, so there is no moment without
rules. Everything is dropped unless a line admits it, and nothing is rejected: who is
not known to the node learns nothing (F2). That a protected destination never leaves in
clear (F10) is said in each room by itself, so that it holds with the other one taken over.
Loading a text sets the counters to zero.

A hook's chain asks where a packet comes from and goes to, by names of interfaces, and hands
it to the chain of that way: from_A, A_to_B. What stands there is all that concerns it.
An established connection is no short cut: each of its packets from the LAN, and each
between LAN and sites, meets the permits and the bypass in force.

Nothing between sites needs a state of the kernel's that others can fill: neither packets
between LAN and tunnel nor the tunnel's own datagrams are tracked, and what the first have
to obey can be seen from each packet by itself. Connections are the clear path's alone.
"""

from collections import defaultdict
from collections.abc import Iterable
from ipaddress import ip_network

from wgpy.config.links import CLEAR, CLEAR_NETWORKS, SECURE
from wgpy.config.networks import collapse, permitted, without
from wgpy.config.site_model import LINK_MTU, Interface, Network, Site, family
from wgpy.firewall import neighbours
from wgpy.firewall.text import FAMILIES, Lines, among, chain, drop, each, hook, learnt, names, numbers, table

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
    **neighbours.COUNTERS,
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
    "invalid": "packets in clear that belong to no connection",
    "too_many": "packets that would be one connection more to the Internet than a LAN host may have",
    **neighbours.COUNTERS,
}

# Never a source on a WAN, nor a destination beyond it (RFC 6890)
_MARTIANS = (*map(ip_network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3",
                               "::1/128", "::ffff:0.0.0.0/96", "ff00::/8")), CLEAR_NETWORKS[1])
_NEIGHBOURS = "ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"
_LISTENERS = "ip6 saddr fe80::/10 ip6 hoplimit 1 icmpv6 type mld-listener-query accept"
_ASKING = ("icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, "
           "mld2-listener-report } accept")
_TOO_BIG = ("icmp type destination-unreachable icmp code frag-needed accept",
            "icmpv6 type packet-too-big accept")
# A site's hosts of the Internet at a time; with bypass.connections it bounds the table
_SOURCES = 4096
# Before fragments are put together (linux/netfilter_ipv4.h: -400), which is a state, too
_FIRST = "-450"
# A packet that an ICMP error quotes: where its source and destination stand, in bits after
# the beginning of the ICMP message (RFC 792, RFC 4443)
_QUOTED = {4: ("icmp", "@th,160,32", "@th,192,32"), 6: ("icmpv6", "@th,128,128", "@th,256,128")}
_TOO_FAR = ("icmp type time-exceeded accept", "icmpv6 type time-exceeded accept")
_ERROR_TYPES = {4: "{ destination-unreachable, time-exceeded, parameter-problem }",
                6: "{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }"}
_ERRORS = (f"icmp type {_ERROR_TYPES[4]} accept", f"icmpv6 type {_ERROR_TYPES[6]} accept")
_ANSWERS = "ct state established,related accept"
_INVALID = "ct state invalid counter name invalid drop"
_SEGMENTS = "tcp flags & (syn | rst) == syn jump clamp"
# F10: the first lines of every way into the clear
_PROTECTED = [f"{ip} daddr @protected{v} counter name protected_in_clear drop"
              for v, ip in FAMILIES]
# sources of neighbour discovery
_UNSET = " ip6 saddr != { ::, fe80::/10 }"
_SECURE, _CLEAR = f'"{SECURE}"', f'"{CLEAR}"'


def black_rules(site: Site) -> str:
    """Firewall 1: WAN, and in small mode the clear link."""
    wan, port = f'"{site.wan.interface}"', site.node.listen_port
    sets = {"protected": site.protected, "not_on_wan": (*site.protected, *_MARTIANS)}
    prerouting = [f"iifname {wan} goto from_wan"]
    untracked = [f"udp sport {port} notrack"] + ["udp sport 68 udp dport 67 notrack",
                                                 "udp sport 546 udp dport 547 notrack"] * site.wan.dhcp
    inward, outward = [f"iifname {wan} jump wan_to_black"], [f"oifname {wan} jump black_to_wan"]
    ways = [*neighbours.solicited(), chain("from_wan", _from_wan(site)), chain("wan_to_black", _wan_to_black(site)),
            chain("black_to_wan", _black_to_wan(site))]
    if site.small:
        sets |= {"lan": site.lan.networks, "martian": _MARTIANS}
        prerouting.append(f"iifname {_CLEAR} goto from_clear")
        inward.append(f"iifname {_CLEAR} goto clear_to_black")
        outward.append(f"oifname {_CLEAR} jump black_to_clear")
        ways += [hook("translate", "postrouting", "srcnat", "accept", _masquerade(site), "nat"),
                 chain("from_clear", _from_clear_to_black()),
                 chain("clear_to_black", [_NEIGHBOURS, drop("input_dropped")]),
                 chain("black_to_clear", [_ASKING, *_ERRORS]),
                 chain("clear_to_wan", _clear_to_wan(site)),
                 chain("wan_to_clear", _wan_to_clear(site))]
        if _narrow(site):
            ways.append(chain("clamp", _clamp(site.wan.mtu)))
    hooks = [
        hook("prerouting", "prerouting", "raw", "accept", prerouting),
        hook("untracked", "output", "raw", "accept", untracked),
        hook("input", "input", "filter", "drop",
              [*inward, 'iifname "lo" accept', *site.firewall.black, drop("input_dropped")]),
        hook("forward", "forward", "filter", "drop", _black_forward(site)),
        # answers to what the administrator's additions let in; ICMP errors are related, not this
        hook("output", "output", "filter", "drop",
              [*outward, 'oifname "lo" accept', "ct state established accept",
               drop("output_dropped")])]
    return (table(BLACK_TABLE, _without_arp(BLACK_COUNTERS), sets, hooks + ways)
            + neighbours.arp_table(BLACK_TABLE, site.wan.interface))


def red_rules(site: Site) -> str:
    """Firewall 2: LAN, the tunnel, and in small mode the clear link."""
    lan = f'"{site.lan.interface}"'
    sets = {"protected": site.protected, "lan": site.lan.networks,
            "link": [*site.lan.networks, *(a.network for a in site.lan.addresses)],
            "own": _hosts(site.lan.addresses),
            # a site may lie around this one, but does not speak for it
            "remote": without(site.remote, site.lan.networks)}
    prerouting = [f"iifname {lan} goto from_lan", f"iifname {_SECURE} goto from_tunnel"]
    inward = [f"iifname {lan} jump lan_to_red"]
    through = [f"iifname {lan} oifname {_SECURE} goto lan_to_tunnel",
               f"iifname {_SECURE} oifname {lan} goto tunnel_to_lan"]
    ways = [*neighbours.solicited(), chain("from_lan", _from_lan(site)),
            chain("from_tunnel", [*each("saddr != @remote", "tunnel_spoofed"),
                                  *(f"{ip} daddr != @own{v} notrack" for v, ip in FAMILIES)]),
            chain("lan_to_red", [neighbours.ADVERTISED, neighbours.ASKED, _LISTENERS]),
            chain("lan_to_tunnel", _permits(site, "saddr", "daddr")),
            chain("tunnel_to_lan", _permits(site, "daddr", "saddr")),
            chain("clamp", _clamp(site.mtu))]
    if site.small:
        prerouting.append(f"iifname {_CLEAR} goto from_clear")
        inward.append(f"iifname {_CLEAR} goto clear_to_red")
        through += [f"iifname {lan} oifname {_CLEAR} goto lan_to_clear",
                    f"iifname {_CLEAR} oifname {lan} goto clear_to_lan",
                    f"iifname {lan} oifname {lan} goto lan_to_lan"]
        ways += [chain("from_clear", each("saddr @protected", "clear_spoofed")),
                 chain("clear_to_red", [_NEIGHBOURS, drop("input_dropped")]),
                 chain("lan_to_clear", _lan_to_clear(site)), *_bounded(site.connections),
                 chain("clear_to_lan", [_INVALID, _ANSWERS, drop("forward_dropped")]),
                 chain("lan_to_lan", _lan_to_lan())]
    hooks = [
        hook("prerouting", "prerouting", _FIRST, "accept", prerouting),
        hook("input", "input", "filter", "drop",
             [*inward, 'iifname "lo" accept', *site.firewall.red, drop("input_dropped")]),
        hook("forward", "forward", "filter", "drop", [*through, *_red_other_ways(lan)]),
        hook("output", "output", "filter", "drop", _red_output(site))]
    return (table(RED_TABLE, _without_arp(RED_COUNTERS), sets, hooks + ways)
            + neighbours.arp_table(RED_TABLE, site.lan.interface))


def _from_wan(site: Site) -> Lines:
    yield from each("saddr @not_on_wan", "wan_spoofed")
    # the tunnel's own datagrams need no connection, and must not be lost for want of one;
    # nor may the WAN's address
    yield f"udp dport {site.node.listen_port} notrack"
    if site.wan.dhcp:
        yield "udp sport 67 udp dport 68 notrack"
        yield "udp sport 547 udp dport 546 notrack"


def _from_clear_to_black() -> Lines:
    for (v, ip), net, unset in zip(FAMILIES, CLEAR_NETWORKS, ("", _UNSET)):
        yield f"{ip} saddr != @lan{v} {ip} saddr != {net}{unset} {drop('clear_spoofed')}"


def _wan_to_black(site: Site) -> Lines:
    yield f"udp dport {site.node.listen_port} accept"
    yield from (*(_TOO_BIG if site.wan.discovery else ()), neighbours.ADVERTISED, neighbours.ASKED, _LISTENERS)
    if site.wan.dhcp:
        yield "udp sport 67 udp dport 68 accept"
        yield "ip6 saddr fe80::/10 ip6 hoplimit 255 icmpv6 type nd-router-advert accept"
        yield "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept"


def _black_to_wan(site: Site) -> Lines:
    yield from _PROTECTED
    yield f"udp sport {site.node.listen_port} accept"
    yield _ASKING
    if site.wan.dhcp:
        yield "udp sport 68 udp dport 67 accept"
        yield "udp sport 546 udp dport 547 accept"


def _black_forward(site: Site) -> Lines:
    wan = f'"{site.wan.interface}"'
    if site.small:
        yield f"iifname {_CLEAR} oifname {wan} goto clear_to_wan"
        yield f"iifname {wan} oifname {_CLEAR} goto wan_to_clear"
    for way in [f"oifname {wan}"] + [f"iifname {_CLEAR}"] * site.small:
        yield from (f"{way} {line}" for line in _PROTECTED)
    if site.small:
        yield _INVALID
    yield drop("forward_dropped")


def _clear_to_wan(site: Site) -> Lines:
    yield from _PROTECTED
    yield _INVALID
    yield from each("daddr @martian", "forward_dropped")
    if _narrow(site):
        yield _SEGMENTS
    yield from _bypass(site)
    # ICMP errors of red itself come from the link's own address
    yield "ct state related accept"
    yield drop("forward_dropped")


def _wan_to_clear(site: Site) -> Lines:
    yield _INVALID
    if _narrow(site):
        yield _SEGMENTS
    yield _ANSWERS
    yield drop("forward_dropped")


def _masquerade(site: Site) -> Lines:
    """A LAN flow must never take the tunnel's own port: its answers would be the tunnel's."""
    port = site.node.listen_port
    below, above = (1024, port - 1), (port + 1, 65535)
    low, high = max(below, above, key=lambda r: r[1] - r[0])
    for v, ip in FAMILIES:
        lan = f'oifname "{site.wan.interface}" {ip} saddr @lan{v}'
        yield f"{lan} meta l4proto udp masquerade to :{low}-{high}"
        yield f"{lan} masquerade"


def _from_lan(site: Site) -> Lines:
    for (v, ip), unset in zip(FAMILIES, ("", _UNSET)):
        yield f"{ip} saddr != @link{v}{unset} {drop('lan_spoofed')}"
    for v, ip in FAMILIES:
        inside = f" {ip} daddr @protected{v}" * site.small  # else there is nothing in clear
        yield f"{ip} daddr != @own{v}{inside} notrack"


def _red_other_ways(lan: str) -> Lines:
    yield from (f"oifname != {{ {lan}, {_SECURE} }} {line}" for line in _PROTECTED)
    yield _INVALID
    yield drop("forward_dropped")


def _permits(site: Site, here: str, there: str) -> Lines:
    """A way between LAN and tunnel; `here`, `there`: which address of a packet is the
    LAN's, which is the other site's. Permits of the same hosts are one. An ICMP error may
    come from a router that no permit covers, to a host and about a packet that one does."""
    yield _SEGMENTS
    by_hosts: defaultdict[tuple[Network, ...], list[Network]] = defaultdict(list)
    for hosts, targets in permitted(site):
        by_hosts[tuple(hosts)] += targets
    pairs = [(v, ip, near, far) for v, ip in FAMILIES for hosts, targets in by_hosts.items()
             if (near := family(hosts, v)) and (far := family(collapse(targets), v))]
    for _, ip, near, far in pairs:
        yield f"{ip} {here} {among(near)} {ip} {there} {among(far)} accept"
    for v, ip, near, far in pairs:
        told, other = (near, far) if here == "daddr" else (far, near)
        error, source, target = _QUOTED[v]
        yield (f"{error} type {_ERROR_TYPES[v]} {ip} daddr {among(told)} {source} {numbers(told)} "
               f"{target} {numbers(other)} accept")
    yield drop("not_permitted")


def _lan_to_clear(site: Site) -> Lines:
    yield from _PROTECTED
    yield _INVALID
    # the first packet of each, before it is entered into the table
    yield from (f"ct status & confirmed == 0 {line.removesuffix('accept')}goto bounded" for line in _bypass(site))
    yield from _bypass(site)
    yield drop("not_bypassed")


def _bounded(most: int) -> list[str]:
    """Sets and a chain for first packets of connections in clear: `most` connections at a
    time of one LAN host."""
    sets = [learnt(f"flows{v}", f"ipv{v}_addr", _SOURCES) for v, _ in FAMILIES]
    lines = [f"add @flows{v} {{ {ip} saddr ct count {most} }} accept" for v, ip in FAMILIES]
    return [*sets, chain("bounded", [*lines, drop("too_many")])]


def _lan_to_lan() -> Lines:
    for v, ip in FAMILIES:
        yield f"{ip} saddr @lan{v} {ip} daddr @lan{v} accept"
    yield drop("forward_dropped")


def _red_output(site: Site) -> Lines:
    inner = names([site.lan.interface, SECURE])
    yield 'oifname "lo" accept'
    yield from (f"oifname != {inner} {line}" for line in _PROTECTED)
    yield f"oifname {names([site.lan.interface] + [CLEAR] * site.small)} {_ASKING}"
    yield from _TOO_BIG + _TOO_FAR
    yield f"oifname {inner} ct state established accept"
    yield drop("output_dropped")


def _hosts(addresses: Iterable[Interface]) -> list[Network]:
    return [ip_network(a.ip) for a in addresses]


def _without_arp(counters: Iterable[str]) -> list[str]:
    """ARP is counted in a table of its own."""
    return [c for c in counters if c != neighbours.ARP_LIMITED]


def _narrow(site: Site) -> bool:
    """Whether packets of the LAN's size do not fit on the WAN."""
    return site.wan.mtu < LINK_MTU


def _clamp(mtu: int) -> Lines:
    """TCP segments that fit (RFC 879: MTU less both headers). The kernel only ever lowers
    an MSS."""
    for ip, headers in (("ipv4", 40), ("ipv6", 60)):
        yield f"meta nfproto {ip} tcp option maxseg size set {mtu - headers}"


def _bypass(site: Site) -> Lines:
    """From the LAN to what may be reached in clear."""
    for v, ip in FAMILIES:
        nets = family(collapse(site.bypass), v)
        to = "" if any(n.prefixlen == 0 for n in nets) else f" {ip} daddr {among(nets)}"
        if nets:
            yield f"{ip} saddr @lan{v}{to} accept"
