"""Asks nft whether it would take the rules of a site, without loading anything."""

import shutil
import subprocess
from dataclasses import replace

from wgpy.config.site_model import Firewall, Site
from wgpy.errors import HostError
from wgpy.firewall.rules import black_rules, red_rules

_SECONDS = 60


def problem(rules: str) -> str | None:
    """nft's first complaint, or None. HostError if nft cannot be run; needs root."""
    try:
        done = subprocess.run(["nft", "-c", "-f", "-"], input=rules, text=True,
                              capture_output=True, timeout=_SECONDS)
    except FileNotFoundError:
        raise HostError("nft is missing: apt-get install nftables") from None
    except subprocess.TimeoutExpired:
        raise HostError(f"nft did not answer within {_SECONDS} s") from None
    if done.returncode == 0:
        return None
    first = (done.stderr.strip().splitlines() or ["no reason given"])[0]
    return first.partition("Error: ")[2] or first


def refused(site: Site) -> list[tuple[str, int, str]]:
    """(room, index, reason) of every addition of [firewall] that nft does not take; nothing
    where nft is not installed."""
    out: list[tuple[str, int, str]] = []
    if not shutil.which("nft"):
        return out
    for room, generate in (("black", black_rules), ("red", red_rules)):
        lines = getattr(site.firewall, room)
        if not lines or problem(generate(site)) is None:
            continue
        for index, line in enumerate(lines):
            alone = replace(site, firewall=Firewall(**{room: (line,)}))
            if reason := problem(generate(alone)):
                out.append((room, index, f"nft refuses it: {reason}"))
    return out
