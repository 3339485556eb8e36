"""What a node's firewalls have counted."""

import json
import subprocess

from wgpy.firewall import rules
from wgpy.node.namespaces import inside


def firewall_counters(node: str) -> dict[str, dict[str, int]]:
    """Packets of the named counters of black's and red's firewalls; root only. A room
    whose counters cannot be read is left out."""
    out = {}
    for room, table in (("black", rules.BLACK_TABLE), ("red", rules.RED_TABLE)):
        try:
            with inside(f"wgpy-{node}-{room}"):
                done = subprocess.run(["nft", "-j", "list", "counters"],
                                      capture_output=True, timeout=10, check=True)
            listed = [item["counter"] for item in json.loads(done.stdout)["nftables"] if "counter" in item]
            out[room] = {c["name"]: c["packets"] for c in listed if c["table"] == table}
        except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
            continue
    return out
