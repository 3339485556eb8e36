"""`wgpy status`, `top`, `why`, `reload` and `audit`: a running node seen from outside."""

import errno
import json
import os
import socket
import sys
import time
from pathlib import Path

import click

from wgpy.cli.site import as_json
from wgpy.errors import HostError

_TIMEOUT = 30.0  # s; a change of passphrase takes its time


def ask(node: str, **request) -> dict:
    """One request to the crypto room of a running node. HostError with what it said."""
    from wgpy.daemon.node import run_dir
    answer = bytearray()
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(_TIMEOUT)
            s.connect(str(run_dir(node) / "admin.sock"))
            try:
                s.sendall(b"wgpy=1\n" + json.dumps(request).encode() + b"\n\n")
            except BrokenPipeError:
                pass  # turned away; the answer says so
            while not answer.endswith(b"\n\n") and (data := s.recv(65536)):
                answer += data
        said = json.loads(answer or b"{}")
    except (FileNotFoundError, ConnectionRefusedError):
        raise HostError(f"{node}: no such node is up") from None
    except (OSError, ValueError) as e:
        raise HostError(f"{node}: {getattr(e, 'strerror', None) or 'no answer'}") from None
    if said.get("errno") == errno.EACCES:
        raise HostError(f"{node}: only root and the group wgpy-admin may do that")
    if said.get("errno") != 0:
        raise HostError(f"{node}: {said.get('error', 'no answer')}")
    return said


def nodes() -> list[str]:
    """Those that are up, as far as their status can be read."""
    from wgpy.daemon.node import run_dir
    try:
        found = sorted(p.parent.name for p in run_dir("x").parent.glob("*/status.json"))
    except OSError:
        return []
    return found


def document(node: str | None) -> dict:
    """The status of a node, or of the only one that is up, with the firewalls' counters
    where we may read them. HostError."""
    from wgpy.daemon.admin import firewall_counters
    from wgpy.daemon.node import run_dir, status
    if node is None:
        up = nodes()
        if len(up) != 1:
            raise HostError("no node is up" if not up else f"which node? {', '.join(up)}")
        node = up[0]
    try:
        found = status(node)
    except PermissionError:  # the supervisor's lock is root's, what it wrote may be read
        found = json.loads((run_dir(node) / "status.json").read_text())
    found["time"] = (run_dir(node) / "status.json").stat().st_mtime
    if os.geteuid() == 0:
        found["firewall"] = firewall_counters(node)
    return found


@click.command()
@click.argument("name", required=False)
@as_json
def status(name: str | None, json_: bool) -> None:
    """The state of the node or tunnel NAME, or of all."""
    from wgpy.cli import client
    from wgpy.cli import show as tunnels
    up = nodes()
    found = {n: document(n) for n in ([name] if name in up else [] if name else up)}
    others = client.survey() if not name else {} if name in found else {name: client.look(name)}
    found |= {n: {"interface": n, **tunnels.as_json(said)} for n, said in others.items() if n not in found}
    if json_:
        click.echo(json.dumps(found, indent=2))
        return
    for n, facts in found.items():
        if "rooms" in facts:
            peers = facts["rooms"].get("crypto", {}).get("status", {}).get("peers", [])
            alive = sum(bool(p.get("sessions")) for p in peers)
            rooms = ", ".join(f"{r} {f['state']}" for r, f in facts["rooms"].items())
            click.echo(f"{n}: {'up' if facts['up'] else 'not up'}, {facts['mode']}; {rooms}; {alive} of {len(peers)} sites"
                       + "".join(f"; {a.replace('_', ' ').upper()}" for a, f in facts.get("alarms", {}).items() if f["active"]))
        elif "error" in facts:
            click.echo(f"{n}: tunnel, {facts['error']}")
        else:
            fault = facts.get("not_listening")
            click.echo(f"{n}: tunnel, {f'not listening: {fault}; ' if fault else ''}"
                       f"{len(facts['peers'])} peers (wgpy show {n})")


@click.command()
@click.argument("node", required=False)
@click.option("--once", is_flag=True, help="Print one frame and end.")
@click.option("--interval", type=click.FloatRange(0.5, 60), default=2.0, show_default=True, metavar="SECONDS")
def top(node: str | None, once: bool, interval: float) -> None:
    """A live view of rooms, rings and peers; with --once, or without a terminal, one frame."""
    from rich.console import Console
    from rich.live import Live
    from wgpy.admin.top import Frame
    first = document(node)
    console = Console(width=None if sys.stdout.isatty() else 140)
    if once or not sys.stdout.isatty():
        console.print(Frame(first, now=time.time()).render())
        return
    before, last = None, first
    try:
        with Live(Frame(first, now=time.time()).render(), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(interval)
                now = document(first["node"])
                if now["time"] != last["time"]:
                    before, last = last, now
                seconds = last["time"] - before["time"] if before else 0.0
                live.update(Frame(last, before, seconds, now=time.time()).render(), refresh=True)
    except KeyboardInterrupt:
        pass


@click.command()
@click.argument("peer")
@click.option("--node", help="Where there is more than one.")
@click.option("--seconds", type=click.FloatRange(0, 3600), default=0.0, help="Look only at what happens from now on.")
@click.option("--remote", type=click.File("rb"), help="`wgpy status --json` of the peer's node.")
@as_json
def why(peer: str, node: str | None, seconds: float, remote, json_: bool) -> None:
    """Explain from the counters why the site PEER does not come up."""
    from wgpy.admin.why import explain
    before, after = None, document(node)
    if seconds:
        time.sleep(seconds)
        before, after = after, document(after["node"])
    found = explain(after, peer, before, remote=_document(remote) if remote else None, now=time.time())
    if json_:
        click.echo(json.dumps([f.as_json() for f in found], indent=2))
        return
    for f in found:
        click.echo(click.style(f"{f.cause}: ", bold=True) + f.text)
        for name, value in f.evidence:
            click.echo(f"    {name}: {value}")
        click.echo(f"  → {f.remedy}")


def _document(file) -> dict:
    try:
        found = json.loads(file.read(64 << 20))
        if isinstance(found, dict) and "rooms" not in found and len(found) == 1:
            found = next(iter(found.values()))
        if not isinstance(found, dict) or "rooms" not in found:
            raise ValueError
        return found
    except (ValueError, RecursionError):
        raise HostError(f"{file.name}: no status of one node") from None


@click.command()
@click.argument("node")
def reload(node: str) -> None:
    """Take over the changed site file of a running NODE; sites that stay keep their sessions."""
    before = _reloads(node)
    ask(node, cmd="reload")
    until = time.monotonic() + _TIMEOUT
    while (now := _reloads(node))["count"] == before["count"]:
        if time.monotonic() > until:
            raise HostError(f"{node}: the supervisor does not answer")
        time.sleep(0.05)
    if now["refused"]:
        raise HostError(f"{node}: not taken over: {now['refused']}")


def _reloads(node: str) -> dict:
    from wgpy.daemon.node import run_dir
    try:
        return json.loads((run_dir(node) / "status.json").read_text())["reloads"]
    except (OSError, ValueError, KeyError):
        raise HostError(f"{node}: no such node is up") from None


@click.group()
def audit() -> None:
    """The trail of what administrators did."""


@audit.command()
@click.argument("node_or_file")
@click.option("--head", metavar="HASH", help="A hash kept from an earlier run: it must be in the trail.")
@as_json
def verify(node_or_file: str, head: str | None, json_: bool) -> None:
    """Check the chain of a NODE's trail, or of one FILE; prints the hash to keep elsewhere."""
    from wgpy.admin import audit as trail
    files = _trail(node_or_file)
    end = trail.verify(((str(p), p.read_bytes()) for p in files), head)
    click.echo(json.dumps({"entries": end.entries, "hash": end.hash, "files": [str(p) for p in files]}) if json_ else
               f"{end.entries} entries, unbroken\nhead: {end.hash}")


def _trail(node_or_file: str) -> list[Path]:
    from wgpy.config.site import load
    from wgpy.daemon.admin import state_dir
    from wgpy.daemon.node import run_dir
    from wgpy.daemon.trail import trails
    path = Path(node_or_file)
    if path.is_file() and path.suffix != ".toml":
        return [path]
    kept = run_dir(node_or_file) / "site.toml" if "/" not in node_or_file else path
    if path.is_file() or kept.is_file():
        directory = state_dir(load(str(path if path.is_file() else kept)))
    else:
        directory = Path(os.environ.get("WGPY_STATE_DIR", "/var/lib/wgpy")) / node_or_file
    found = [p for p in trails(directory) if p.exists()]
    if not found:
        raise HostError(f"{directory}: no audit log")
    return found
