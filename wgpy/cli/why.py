"""What `wgpy why` and `wgpy node why` explain, and how it is told."""

import json
import time
from typing import IO, TYPE_CHECKING, Any

import click

from wgpy.errors import HostError

if TYPE_CHECKING:
    from wgpy.admin.why import Finding


def of_tunnel(name: str, seconds: float) -> "list[Finding]":
    """From what its daemon counts, in `seconds` or since its start, and the host's routes.
    WgpyError, OSError."""
    from wgpy.admin.why_tunnel import explain, host_of
    from wgpy.cli import client, net, node_state
    from wgpy.cli.show import as_json as told
    if name in node_state.left() and node_state.is_up(name):
        raise HostError(f"{name} is a node, no tunnel: wgpy node why SITE --node {name}")
    before, after = None, told(client.look(name))
    if seconds:
        time.sleep(seconds)
        before, after = after, told(client.look(name))
    host = net.Host()
    try:
        hosts = {host_of(peer) for peer in after["peers"].values()} - {""}
        routes = {h: host.way_to(h, after["fwmark"]) for h in hosts if "%" not in h}
    finally:
        host.close()
    return explain(name, after, routes, before, now=time.time())


def of_site(site: str, node: str | None, seconds: float, remote: IO[bytes] | None, via: str | None = None) -> "list[Finding]":
    """From what its node counts, or who is at the console `via`; `remote`: a file with the status of the site's own. WgpyError."""
    from wgpy.admin.why import explain
    from wgpy.cli.node_state import document
    before, after = None, document(node, via)
    if seconds:
        time.sleep(seconds)
        before, after = after, document(after["node"], via)
    return explain(after, site, before, remote=_status_in(remote) if remote else None, now=time.time())


def _status_in(file: IO[bytes]) -> dict[str, Any]:
    try:
        found = json.loads(file.read(64 << 20))
        if isinstance(found, dict) and "rooms" not in found and len(found) == 1:
            found = next(iter(found.values()))
        if not isinstance(found, dict) or "rooms" not in found:
            raise ValueError
        return found
    except (ValueError, RecursionError):
        raise HostError(f"{file.name}: no status of one node") from None


def tell(found: "list[Finding]", json_: bool) -> None:
    """As text with evidence and remedy, or as a JSON array."""
    if json_:
        click.echo(json.dumps([f.as_json() for f in found], indent=2))
        return
    from wgpy.admin.lines import of_finding
    for f in found:
        cause, _, text = next(told := of_finding(f)).partition(": ")
        click.echo(click.style(f"{cause}: ", bold=True) + text)
        for line in told:
            click.echo(line)
