"""What differs between two site files of a node, in names."""

from wgpy.config.site_model import Site


def difference(before: Site, after: Site) -> dict:
    """Names of sites added, removed and changed, and what only a reload of the site file
    carries out."""
    old, new = ({p.name: p for p in s.peers} for s in (before, after))
    both = old.keys() & new.keys()
    parts = [k for k in ("node", "wan", "lan", "permits", "bypass", "firewall")
             if getattr(before, k) != getattr(after, k)]
    parts += ["networks"] if set(before.remote) != set(after.remote) else []
    return {"added": sorted(new.keys() - old.keys()), "removed": sorted(old.keys() - new.keys()),
            "changed": sorted(n for n in both if old[n] != new[n]), "needs_reload": parts}
