"""What differs between two site files of a node, in names."""

from typing import TypedDict

from wgpy.config.site_model import Site


class Difference(TypedDict):
    """Names of sites, and keys of the site file."""
    added: list[str]
    removed: list[str]
    changed: list[str]
    needs_reload: list[str]


def stays(before: Site, after: Site) -> str:
    """Why `after` cannot follow on `before` while the node is up; empty for no reason."""
    if before.suite != after.suite:
        return "[suite] cannot change while the node is up: wgpy node down, wgpy keys seal, wgpy node up"
    return ""


def difference(before: Site, after: Site) -> Difference:
    """Names of sites added, removed and changed, and what only a reload of the site file
    carries out."""
    old, new = ({p.name: p for p in s.peers} for s in (before, after))
    both = old.keys() & new.keys()
    parts = [k for k in ("node", "wan", "lan", "permits", "bypass", "firewall", "suite")
             if getattr(before, k) != getattr(after, k)]
    parts += ["networks"] if set(before.remote) != set(after.remote) else []
    return {"added": sorted(new.keys() - old.keys()), "removed": sorted(old.keys() - new.keys()),
            "changed": sorted(n for n in both if old[n] != new[n]), "needs_reload": parts}


def fixed(site: Site) -> tuple[object, ...]:
    """What does not change while rooms run: mode, interfaces, MTU, port and wan.discovery."""
    return site.node.mode, site.wan.interface, site.lan.interface, site.mtu, site.node.listen_port, site.wan.discovery
