"""How the rules of a room are spelled for nft: chains, sets, counters, tables."""

import re
from collections.abc import Iterable, Iterator, Mapping

from wgpy.config.networks import collapse
from wgpy.config.site_model import Network, family

FAMILIES = ((4, "ip"), (6, "ip6"))
Lines = Iterator[str]


def drop(counter: str) -> str:
    """The end of a rule: a named counter of the table, and the packet is dropped."""
    return f"counter name {counter} drop"


def each(match: str, counter: str) -> list[str]:
    """A drop for each IP version, by an address in a set."""
    return [f"{ip} {match}{v} {drop(counter)}" for v, ip in FAMILIES]


def names(links: Iterable[str]) -> str:
    """A set of interfaces, by name: they may come later."""
    return "{ " + ", ".join(f'"{name}"' for name in links) + " }"


def among(networks: Iterable[Network]) -> str:
    """An anonymous set of networks, all of one IP version."""
    return "{ " + ", ".join(map(str, networks)) + " }"


def numbers(networks: Iterable[Network]) -> str:
    """As `among`, for a part of a packet that nft does not know to be an address."""
    ends = ((hex(int(n.network_address)), hex(int(n.broadcast_address))) for n in networks)
    return "{ " + ", ".join(a if a == b else f"{a}-{b}" for a, b in ends) + " }"


def chain(name: str, lines: Iterable[str]) -> str:
    """Without a hook: others jump to it."""
    body = "".join(f"\t\t{line}\n" for line in lines)
    return f"\tchain {name} {{\n{body}\t}}\n"


def hook(name: str, where: str, priority: str, policy: str, lines: Iterable[str],
         kind: str = "filter") -> str:
    """A chain where packets enter; `priority` and `policy` as in nft(8)."""
    head = f"type {kind} hook {where} priority {priority}; policy {policy};"
    return chain(name, (head, *lines))


def learnt(name: str, kind: str, size: int, timeout: str = "") -> str:
    """A set that rules fill: no more than `size` members, each forgotten after `timeout`."""
    flags, forget = ("dynamic,timeout", f"\t\ttimeout {timeout}\n") if timeout else ("dynamic", "")
    return f"\tset {name} {{\n\t\ttype {kind}\n\t\tsize {size}\n\t\tflags {flags}\n{forget}\t}}\n"


def table(name: str, counters: Iterable[str], sets: Mapping[str, Iterable[Network]], parts: list[str], family_: str = "inet") -> str:
    """`sets`: networks by title; a rule says @title4, @title6. In `parts`, chains and
    other sets."""
    head = [f"\tcounter {c} {{\n\t}}\n" for c in counters]
    alone = {}
    for title, networks in sets.items():
        for v, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
            nets = family(collapse(networks), v)
            if len(nets) == 1:
                alone[f"@{title}{v}"] = str(nets[0])
            elements = f"\t\telements = {among(nets)}\n" if nets else ""
            head.append(f"\tset {title}{v} {{\n\t\ttype {kind}\n\t\tflags interval\n"
                        f"{elements}\t}}\n")
    # a comparison takes a fraction of the time of a look-up
    rules = re.sub(r"@\w+", lambda m: alone.get(m[0], m[0]), "\n".join(parts))
    # declared first, so that deleting it cannot fail
    return (f"table {family_} {name}\ndelete table {family_} {name}\ntable {family_} {name} {{\n"
            + "\n".join([*head, rules]) + "}\n")
