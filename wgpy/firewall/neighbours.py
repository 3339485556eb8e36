"""Who may make the kernel remember a neighbour. Its tables of neighbours, one for ARP and
one for IPv6, are the host's: all namespaces fill the same. An entry is made for everybody
who asks for our address, so those who have not asked lately are let through at a rate at
which the kernel can always evict somebody (it spares what is younger than 5 s, and holds
1024 as it comes: net.ipv4.neigh.default.gc_thresh3)."""

from wgpy.firewall.text import Lines, chain, drop, hook, learnt, table

ARP_LIMITED, ND_LIMITED = "arp_limited", "nd_limited"
COUNTERS = {
    ARP_LIMITED: "ARP requests of too many new neighbours at once",
    ND_LIMITED: "IPv6 neighbour solicitations of too many new neighbours at once",
}
SOLICITED = "solicited"  # the chain for a solicitation on an outer link
ADVERTISED = "ip6 hoplimit 255 icmpv6 type nd-neighbor-advert accept"
ASKED = f"ip6 hoplimit 255 icmpv6 type nd-neighbor-solicit goto {SOLICITED}"

# young entries: 128 + 5 s * 32 = 288, for each of two rooms; members: 120 s * 32 + 128 < 4096
_NEW = "limit rate 32/second burst 128 packets"
_SIZE, _TIMEOUT = 4096, "2m"


def solicited() -> list[str]:
    """A set and the chain SOLICITED, of a table of family inet."""
    return [learnt("asking6", "ipv6_addr", _SIZE, _TIMEOUT), chain(SOLICITED, _bounded(
        "ip6 saddr", "asking6", ND_LIMITED, "ip6 saddr :: accept"))]


def arp_table(name: str, link: str) -> str:
    """The table that bounds ARP on an outer link. An address that is asked for, or a
    probe, makes no entry."""
    body = _bounded("arp saddr ip", "asking4", ARP_LIMITED, f'iifname != "{link}" accept',
                    "arp operation != request accept", "arp saddr ip 0.0.0.0 accept")
    parts = [learnt("asking4", "ipv4_addr", _SIZE, _TIMEOUT),
             hook("arp_input", "input", "filter", "accept", body)]
    return table(name, [ARP_LIMITED], {}, parts, "arp")


def _bounded(source: str, known: str, counter: str, *first: str) -> Lines:
    yield from first
    yield f"{source} @{known} update @{known} {{ {source} }} accept"
    yield f"{_NEW} add @{known} {{ {source} }} accept"
    yield drop(counter)
