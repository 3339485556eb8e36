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
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from wgpy.config.links import CLEAR, CLEAR_NETWORKS, SECURE
from wgpy.config.networks import collapse, permitted, without
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
_MARTIANS = (*map(ip_network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3",
                               "::1/128", "::ffff:0.0.0.0/96", "ff00::/8")), CLEAR_NETWORKS[1])
_FAMILIES = ((4, "ip"), (6, "ip6"))
_NEIGHBOURS = "ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"
_LISTENERS = "ip6 saddr fe80::/10 ip6 hoplimit 1 icmpv6 type mld-listener-query accept"
_ASKING = ("icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, "
           "mld2-listener-report } accept")
_TOO_BIG = ("icmp type destination-unreachable icmp code frag-needed accept",
            "icmpv6 type packet-too-big accept")
_TOO_FAR = ("icmp type time-exceeded accept", "icmpv6 type time-exceeded accept")
_ERRORS = ("icmp type { destination-unreachable, time-exceeded, parameter-problem } accept",
           "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, "
           "parameter-problem } accept")
_ANSWERS = "ct state established,related accept"
_INVALID = "ct state invalid counter name invalid drop"
_SEGMENTS = "tcp flags & (syn | rst) == syn jump clamp"
# F10: the first lines of every way into the clear
_PROTECTED = [f"{ip} daddr @protected{v} counter name protected_in_clear drop"
              for v, ip in _FAMILIES]
# sources of neighbour discovery
_UNSET = " ip6 saddr != { ::, fe80::/10 }"
_SECURE, _CLEAR = f'"{SECURE}"', f'"{CLEAR}"'

Lines = Iterator[str]


def black_rules(site: Site) -> str:
    """Firewall 1: WAN, and in small mode the clear link."""
    wan, port = f'"{site.wan.interface}"', site.node.listen_port
    sets = {"protected": site.protected, "not_on_wan": (*site.protected, *_MARTIANS)}
    prerouting = [f"iifname {wan} goto from_wan"]
    inward, outward = [f"iifname {wan} jump wan_to_black"], [f"oifname {wan} jump black_to_wan"]
    ways = [_chain("from_wan", _from_wan(port)), _chain("wan_to_black", _wan_to_black(site)),
            _chain("black_to_wan", _black_to_wan(site))]
    if site.small:
        sets |= {"lan": site.lan.networks, "martian": _MARTIANS}
        prerouting.append(f"iifname {_CLEAR} goto from_clear")
        inward.append(f"iifname {_CLEAR} goto clear_to_black")
        outward.append(f"oifname {_CLEAR} jump black_to_clear")
        ways += [_hook("translate", "postrouting", "srcnat", "accept", _masquerade(site), "nat"),
                 _chain("from_clear", _from_clear_to_black()),
                 _chain("clear_to_black", [_NEIGHBOURS, _drop("input_dropped")]),
                 _chain("black_to_clear", [_ASKING, *_ERRORS]),
                 _chain("clear_to_wan", _clear_to_wan(site)),
                 _chain("wan_to_clear", _wan_to_clear(site))]
        if _narrow(site):
            ways.append(_chain("clamp", _clamp(site.wan.mtu)))
    hooks = [
        _hook("prerouting", "prerouting", "raw", "accept", prerouting),
        _hook("untracked", "output", "raw", "accept", [f"udp sport {port} notrack"]),
        _hook("input", "input", "filter", "drop",
              [*inward, 'iifname "lo" accept', *site.firewall.black, _drop("input_dropped")]),
        _hook("forward", "forward", "filter", "drop", _black_forward(site)),
        # answers to what the administrator's additions let in; ICMP errors are related, not this
        _hook("output", "output", "filter", "drop",
              [*outward, 'oifname "lo" accept', "ct state established accept",
               _drop("output_dropped")])]
    return _table(BLACK_TABLE, BLACK_COUNTERS, sets, hooks + ways)


def red_rules(site: Site) -> str:
    """Firewall 2: LAN, the tunnel, and in small mode the clear link."""
    lan = f'"{site.lan.interface}"'
    sets = {"protected": site.protected, "lan": site.lan.networks,
            "link": [*site.lan.networks, *(a.network for a in site.lan.addresses)],
            # a site may lie around this one, but does not speak for it
            "remote": without(site.remote, site.lan.networks)}
    prerouting = [f"iifname {lan} goto from_lan", f"iifname {_SECURE} goto from_tunnel"]
    inward = [f"iifname {lan} jump lan_to_red"]
    through = [f"iifname {lan} oifname {_SECURE} goto lan_to_tunnel",
               f"iifname {_SECURE} oifname {lan} goto tunnel_to_lan"]
    ways = [_chain("from_lan", _from_lan()),
            _chain("from_tunnel", _each("saddr != @remote", "tunnel_spoofed")),
            _chain("lan_to_red", [_NEIGHBOURS, _LISTENERS]),
            _chain("lan_to_tunnel", _permits(site, "saddr", "daddr")),
            _chain("tunnel_to_lan", _permits(site, "daddr", "saddr")),
            _chain("clamp", _clamp(site.mtu))]
    if site.small:
        prerouting.append(f"iifname {_CLEAR} goto from_clear")
        inward.append(f"iifname {_CLEAR} goto clear_to_red")
        through += [f"iifname {lan} oifname {_CLEAR} goto lan_to_clear",
                    f"iifname {_CLEAR} oifname {lan} goto clear_to_lan",
                    f"iifname {lan} oifname {lan} goto lan_to_lan"]
        ways += [_chain("from_clear", _each("saddr @protected", "clear_spoofed")),
                 _chain("clear_to_red", [_NEIGHBOURS, _drop("input_dropped")]),
                 _chain("lan_to_clear", _lan_to_clear(site)),
                 _chain("clear_to_lan", [_INVALID, _ANSWERS, _drop("forward_dropped")]),
                 _chain("lan_to_lan", _lan_to_lan())]
    hooks = [
        _hook("prerouting", "prerouting", "raw", "accept", prerouting),
        _hook("input", "input", "filter", "drop",
              [*inward, 'iifname "lo" accept', *site.firewall.red, _drop("input_dropped")]),
        _hook("forward", "forward", "filter", "drop", [*through, *_red_other_ways(lan)]),
        _hook("output", "output", "filter", "drop", _red_output(site))]
    return _table(RED_TABLE, RED_COUNTERS, sets, hooks + ways)


def _from_wan(port: int) -> Lines:
    yield from _each("saddr @not_on_wan", "wan_spoofed")
    # the tunnel's own datagrams need no connection, and must not be lost for want of one
    yield f"udp dport {port} notrack"


def _from_clear_to_black() -> Lines:
    for (v, ip), net, unset in zip(_FAMILIES, CLEAR_NETWORKS, ("", _UNSET)):
        yield f"{ip} saddr != @lan{v} {ip} saddr != {net}{unset} {_drop('clear_spoofed')}"


def _wan_to_black(site: Site) -> Lines:
    yield f"udp dport {site.node.listen_port} accept"
    yield from (*_TOO_BIG, _NEIGHBOURS, _LISTENERS)
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
    yield _drop("forward_dropped")


def _clear_to_wan(site: Site) -> Lines:
    yield from _PROTECTED
    yield _INVALID
    yield from _each("daddr @martian", "forward_dropped")
    if _narrow(site):
        yield _SEGMENTS
    yield from _bypass(site)
    # ICMP errors of red itself come from the link's own address
    yield "ct state related accept"
    yield _drop("forward_dropped")


def _wan_to_clear(site: Site) -> Lines:
    yield _INVALID
    if _narrow(site):
        yield _SEGMENTS
    yield _ANSWERS
    yield _drop("forward_dropped")


def _masquerade(site: Site) -> Lines:
    """A LAN flow must never take the tunnel's own port: its answers would be the tunnel's."""
    port = site.node.listen_port
    below, above = (1024, port - 1), (port + 1, 65535)
    low, high = max(below, above, key=lambda r: r[1] - r[0])
    for v, ip in _FAMILIES:
        lan = f'oifname "{site.wan.interface}" {ip} saddr @lan{v}'
        yield f"{lan} meta l4proto udp masquerade to :{low}-{high}"
        yield f"{lan} masquerade"


def _from_lan() -> Lines:
    for (v, ip), unset in zip(_FAMILIES, ("", _UNSET)):
        yield f"{ip} saddr != @link{v}{unset} {_drop('lan_spoofed')}"


def _red_other_ways(lan: str) -> Lines:
    yield from (f"oifname != {{ {lan}, {_SECURE} }} {line}" for line in _PROTECTED)
    yield _INVALID
    yield _drop("forward_dropped")


def _permits(site: Site, here: str, there: str) -> Lines:
    """A way between LAN and tunnel; `here`, `there`: which address of a packet is the
    LAN's, which is the other site's. Permits of the same hosts are one."""
    yield _INVALID
    yield _SEGMENTS
    by_hosts = defaultdict(list)
    for hosts, targets in permitted(site):
        by_hosts[tuple(hosts)] += targets
    for v, ip in _FAMILIES:
        for hosts, targets in by_hosts.items():
            near, far = family(hosts, v), family(collapse(targets), v)
            if near and far:
                yield f"{ip} {here} {_set(near)} {ip} {there} {_set(far)} accept"
    yield from (f"ct state related {kind}" for kind in _ERRORS)
    yield _drop("not_permitted")


def _lan_to_clear(site: Site) -> Lines:
    yield from _PROTECTED
    yield _INVALID
    yield from _bypass(site)
    yield _drop("not_bypassed")


def _lan_to_lan() -> Lines:
    yield _INVALID
    for v, ip in _FAMILIES:
        yield f"{ip} saddr @lan{v} {ip} daddr @lan{v} accept"
    yield _drop("forward_dropped")


def _red_output(site: Site) -> Lines:
    inner = _names([site.lan.interface, SECURE])
    yield 'oifname "lo" accept'
    yield from (f"oifname != {inner} {line}" for line in _PROTECTED)
    yield f"oifname {_names([site.lan.interface] + [CLEAR] * site.small)} {_ASKING}"
    yield from _TOO_BIG + _TOO_FAR
    yield f"oifname {inner} ct state established accept"
    yield _drop("output_dropped")


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
    for v, ip in _FAMILIES:
        nets = family(collapse(site.bypass), v)
        to = "" if any(n.prefixlen == 0 for n in nets) else f" {ip} daddr {_set(nets)}"
        if nets:
            yield f"{ip} saddr @lan{v}{to} accept"


def _drop(counter: str) -> str:
    return f"counter name {counter} drop"


def _each(match: str, counter: str) -> list[str]:
    """A drop for each IP version, by an address in a set."""
    return [f"{ip} {match}{v} {_drop(counter)}" for v, ip in _FAMILIES]


def _names(links: Iterable[str]) -> str:
    return "{ " + ", ".join(f'"{name}"' for name in links) + " }"


def _set(networks: Iterable[Network]) -> str:
    return "{ " + ", ".join(map(str, networks)) + " }"


def _chain(name: str, lines: Iterable[str]) -> str:
    body = "".join(f"\t\t{line}\n" for line in lines)
    return f"\tchain {name} {{\n{body}\t}}\n"


def _hook(name: str, hook: str, priority: str, policy: str, lines: Iterable[str],
          kind: str = "filter") -> str:
    head = f"type {kind} hook {hook} priority {priority}; policy {policy};"
    return _chain(name, (head, *lines))


def _table(name: str, counters: Iterable[str], sets: dict, chains: list[str]) -> str:
    parts = [f"\tcounter {c} {{\n\t}}\n" for c in counters]
    alone = {}
    for title, networks in sets.items():
        for v, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
            nets = family(collapse(networks), v)
            if len(nets) == 1:
                alone[f"@{title}{v}"] = str(nets[0])
            elements = f"\t\telements = {_set(nets)}\n" if nets else ""
            parts.append(f"\tset {title}{v} {{\n\t\ttype {kind}\n\t\tflags interval\n"
                         f"{elements}\t}}\n")
    # a comparison takes a fraction of the time of a look-up
    rules = re.sub(r"@\w+", lambda m: alone.get(m[0], m[0]), "\n".join(chains))
    # declared first, so that deleting it cannot fail
    return (f"table inet {name}\ndelete table inet {name}\ntable inet {name} {{\n"
            + "\n".join([*parts, rules]) + "}\n")
