"""Sets of networks: what lies in what. Nothing here compares all with all, so that the
networks of 250 sites are checked at once."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses
from typing import Generic, TypeVar

from wgpy.config.site_model import Address, Network, Site

_O = TypeVar("_O")  # who has a network
Owned = tuple[Network, _O]


def collapse(networks: Iterable[Network]) -> list[Network]:
    """The same addresses in the fewest networks, IPv4 first."""
    networks = list(networks)
    return [*collapse_addresses(n for n in networks if isinstance(n, IPv4Network)),
            *collapse_addresses(n for n in networks if isinstance(n, IPv6Network))]


def intersection(a: Network, b: Network) -> Network | None:
    """Addresses that are in both: of two networks that is one of them, or none."""
    return a if _within(a, b) else b if _within(b, a) else None


def _within(inner: Network, outer: Network) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def common(a: Iterable[Network], b: Iterable[Network]) -> list[Network]:
    """Addresses that are in both."""
    out, left, right = [], collapse(a), collapse(b)
    i = j = 0
    while i < len(left) and j < len(right):
        if (found := intersection(left[i], right[j])) is not None:
            out.append(found)
        if _end(left[i]) <= _end(right[j]):
            i += 1
        else:
            j += 1
    return out


def _end(network: Network) -> tuple[int, int]:
    return network.version, int(network.broadcast_address)


def nested(owned: Iterable[Owned[_O]]) -> Iterator[tuple[Owned[_O], Owned[_O]]]:
    """((outer, owner), (inner, owner)) for every network that contains or equals another."""
    order = sorted(owned, key=lambda o: (o[0].version, int(o[0].network_address), o[0].prefixlen))
    open_: list[Owned[_O]] = []
    for item in order:
        while open_ and intersection(open_[-1][0], item[0]) is None:
            open_.pop()
        for outer in open_:
            yield outer, item
        open_.append(item)


class Finder(Generic[_O]):
    """The network, and its owner, that an address or a network is in."""

    def __init__(self, owned: Iterable[Owned[_O]]):
        self._tables: dict[int, list[tuple[int, Network, _O]]] = {4: [], 6: []}
        outermost: dict[int, int] = {4: -1, 6: -1}
        for net, owner in sorted(owned, key=lambda o: (int(o[0].network_address), o[0].prefixlen)):
            if int(net.broadcast_address) > outermost[net.version]:
                outermost[net.version] = int(net.broadcast_address)
                self._tables[net.version].append((int(net.network_address), net, owner))

    def find(self, what: Address | Network) -> Owned[_O] | None:
        """The outermost network that holds all of it, with its owner."""
        if isinstance(what, IPv4Address | IPv6Address):
            first = last = int(what)
        else:
            first, last = int(what.network_address), int(what.broadcast_address)
        table = self._tables[what.version]
        at = bisect_right(table, first, key=lambda row: row[0]) - 1
        if at < 0 or int(table[at][1].broadcast_address) < last:
            return None
        return table[at][1:]


def owned(site: Site) -> dict[str, list[Network]]:
    """Site name -> what routing gives to it: its networks without those that another site,
    or this one, holds inside them."""
    holes: dict[Owned[str | None], list[Network]] = defaultdict(list)
    claims: list[Owned[str | None]] = [(n, p.name) for p in site.peers for n in p.networks]
    for outer, (inner, owner) in nested([*claims, *((n, None) for n in site.lan.networks)]):
        if outer[1] != owner:
            holes[outer].append(inner)
    return {p.name: collapse(part for n in p.networks for part in without([n], holes[n, p.name]))
            for p in site.peers}


def without(networks: Iterable[Network], holes: Iterable[Network]) -> list[Network]:
    """Addresses of the first that are in none of the second."""
    rest = collapse(networks)
    for hole in collapse(holes):
        rest = [part for n in rest for part in _less(n, hole)]
    return rest


def _less(network: Network, hole: Network) -> Iterable[Network]:
    found = intersection(network, hole)
    if found is None:
        return [network]
    if found == network:
        return []
    if isinstance(network, IPv4Network):
        assert isinstance(hole, IPv4Network)
        return network.address_exclude(hole)
    assert isinstance(hole, IPv6Network)
    return network.address_exclude(hole)


Pairs = list[tuple[list[Network], list[Network]]]


def permitted(site: Site) -> Pairs:
    """(LAN networks, remote networks) that may exchange packets, a pair for each permit;
    a pair with an empty side permits nothing."""
    by_name = owned(site)
    everything = collapse(n for nets in by_name.values() for n in nets)
    if site.permits is None:
        return [(collapse(site.lan.networks), everything)]
    return [(common(p.sources, site.lan.networks),
             collapse([n for name in p.sites for n in by_name.get(name, ())]
                      + common(p.networks, everything)))
            for p in site.permits]


def flows(site: Site) -> dict[str, Pairs]:
    """`permitted` by the name of the other site, without pairs that permit nothing."""
    lan = collapse(site.lan.networks)
    permits = [(common(p.sources, lan), p) for p in site.permits or ()]
    out: dict[str, Pairs] = {}
    for name, mine in owned(site).items():
        pairs = [(lan, mine)] if site.permits is None else [
            (sources, mine if name in p.sites else common(p.networks, mine))
            for sources, p in permits if name in p.sites or p.networks]
        out[name] = [(s, t) for s, t in pairs if {n.version for n in s} & {n.version for n in t}]
    return out
