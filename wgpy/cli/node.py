"""`wgpy node`: one encryptor, its three rooms, from `up` to `down`."""

import json
import sys
import time
from collections.abc import Callable
from typing import IO, Any

import click

from wgpy.cli import node_state as state
from wgpy.cli import via
from wgpy.cli.site import as_json
from wgpy.cli.via import Via
from wgpy.errors import HostError

MOST = 10000  # lines of a trail


@click.group()
def node() -> None:
    """A node: the encryptor of one site file, in three rooms."""


@node.command()
@click.argument("file")
@click.option("--foreground", is_flag=True, help="Stay until the node comes down.")
@click.option("--credential", type=click.Path(exists=True), help="File that unlocks the key store (.cred: by systemd-creds).")
@click.option("--key-fd", type=int, hidden=True)
def up(file: str, foreground: bool, credential: str | None, key_fd: int | None) -> None:
    """Bring up the node of the site FILE."""
    from wgpy.node import life
    life.up(file, foreground=foreground, credentials=None if key_fd is None else {"key": key_fd}, unlock=credential)


@node.command()
@click.argument("node_or_file")
def down(node_or_file: str) -> None:
    """Take down a node, or what a crashed supervisor left of it."""
    from wgpy.node import life
    life.down(node_or_file)


@node.command()
@click.argument("name", metavar="[NODE]", required=False)
@as_json
@via.option
def status(name: str | None, json_: bool, via: str | None) -> None:
    """Show the rooms of a NODE, or a line for each node."""
    from wgpy.admin import lines
    if via:
        name = (document := state.document(name, via))["node"]
        found = {name: document}
    else:
        found = {name: state.document(name)} if name else _all()
    if json_:
        click.echo(json.dumps(found, indent=2))
        return
    for each, facts in found.items():
        for line in lines.of_node(facts) if name else [_in_a_line(each, facts)]:
            click.echo(line)


def _all() -> dict[str, dict[str, Any]]:
    found = {}
    for each in state.left():
        try:
            found[each] = state.document(each)
        except HostError:
            if each in state.left():  # and did not go down this moment
                found[each] = {"error": "its supervisor crashed: wgpy node up takes over what it left, "
                                        "wgpy node down gives it back"}
    return found


def _in_a_line(name: str, facts: dict[str, Any]) -> str:
    from wgpy.admin import lines
    from wgpy.admin.faults import in_short
    if "error" in facts:
        return f"{name}: {facts['error']}"
    parts = [f"{name}: {'up' if facts['up'] else 'not up'}, {facts['mode']}",
             ", ".join(f"{room} {f['state']}" for room, f in facts["rooms"].items()), lines.sites(facts)]
    parts += [alarm.replace("_", " ").upper() for alarm, f in facts.get("alarms", {}).items() if f["active"]]
    return "; ".join([*parts, *filter(None, [in_short(facts)])])


@node.command()
@click.argument("name", metavar="[NODE]", required=False)
@click.option("--once", is_flag=True, help="Print one frame and end.")
@click.option("--interval", type=click.FloatRange(0.5, 60), default=2.0, show_default=True, metavar="SECONDS")
def top(name: str | None, once: bool, interval: float) -> None:
    """A live view of rooms, rings and peers; with --once, or without a terminal, one frame."""
    first = state.document(name)
    live(first, lambda: state.document(first["node"]), once, interval)


def live(first: dict[str, Any], look: Callable[[], dict[str, Any]], once: bool, interval: float) -> None:
    """The view of wgpy.admin.top of status documents, of which `look()` gives the newest, until Ctrl-C."""
    from rich.console import Console
    from rich.live import Live

    from wgpy.admin.top import Frame
    console = Console(width=None if sys.stdout.isatty() else 140)
    if once or not sys.stdout.isatty():
        console.print(Frame(first, now=time.time()).render())
        return
    before, last = None, first
    try:
        with Live(Frame(first, now=time.time()).render(), console=console, screen=True, auto_refresh=False) as view:
            while True:
                time.sleep(interval)
                now = look()
                if now["time"] != last["time"]:
                    before, last = last, now
                seconds = last["time"] - before["time"] if before else 0.0
                view.update(Frame(last, before, seconds, now=time.time()).render(), refresh=True)
    except KeyboardInterrupt:
        pass


@node.command()
@click.argument("site")
@click.option("--node", "name", metavar="NODE", help="Where there is more than one.")
@click.option("--seconds", type=click.FloatRange(0, 3600), default=0.0, help="Look only at what happens from now on.")
@click.option("--remote", type=click.File("rb"), help="`wgpy node status --json` of the site's node.")
@as_json
@via.option
def why(site: str, name: str | None, seconds: float, remote: IO[bytes] | None, json_: bool, via: str | None) -> None:
    """Explain from the counters why the SITE does not come up."""
    from wgpy.cli import why as reasons
    reasons.tell(reasons.of_site(site, name, seconds, remote, via), json_)


@node.command()
@click.argument("name", metavar="NODE_OR_FILE")
@via.option
def reload(name: str, via: str | None) -> None:
    """Take over the changed site file of a running NODE; sites that stay keep their sessions. With --via
    the FILE is sent to crypto, and has to reach the guests of black and red otherwise."""
    from wgpy.admin.faults import TAKEN_BUT, in_short
    if via:
        from wgpy.config.site import read
        site, text = read(name)
        with Via(via, site.node.name) as console:
            for line in console.reload(text):
                click.echo(line)
        return
    if fault := in_short(state.ask(name, cmd="reload")):
        raise HostError(f"{name}: {TAKEN_BUT}{fault}")


@node.group()
def audit() -> None:
    """The trail of what administrators did."""


@audit.command()
@click.argument("node_or_file")
@click.option("--head", metavar="HASH", help="A hash kept from an earlier run: it must be in the trail.")
@as_json
@via.option
def verify(node_or_file: str, head: str | None, json_: bool, via: str | None) -> None:
    """Check the chain of a NODE's trail, or of one FILE; prints the hash to keep elsewhere. With --via only
    what the console tells: the last MiB at most."""
    from wgpy.admin import audit as trail
    files = [(via, _lines(node_or_file, MOST, via))] if via else [(str(p), p.read_bytes()) for p in state.trail_of(node_or_file)]
    end = trail.verify(files, head)
    click.echo(json.dumps({"entries": end.entries, "hash": end.hash, "files": [name for name, _ in files]}) if json_ else
               f"{end.entries} entries, unbroken\nhead: {end.hash}")


@audit.command()
@click.argument("node_or_file")
@click.option("--lines", type=click.IntRange(1, MOST), default=10, show_default=True, metavar="N")
@via.option
def last(node_or_file: str, lines: int, via: str | None) -> None:
    """The last lines of a NODE's trail, or of one FILE."""
    click.echo(_lines(node_or_file, lines, via), nl=False)


@audit.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--keys", "store", type=click.Path(exists=True, dir_okay=False), required=True, help="The node's sealed key store.")
@click.option("--credential", metavar="PATH", help="Opens the store instead of a passphrase (.cred: by systemd-creds).")
@click.option("--start", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="The N-th last start of crypto's guest.")
def kept(file: str, store: str, credential: str | None, start: int) -> None:
    """The trail of a crypto that has no disk, from the FILE in which red keeps it sealed. What is missing is
    told after it, and is an error."""
    from wgpy.cli.keys import secret
    from wgpy.crypto import keystore, pieces, unlock
    with open(store, "rb") as slot, open(file, "rb") as given:
        opened = unlock.opened(keystore.FileSlot(slot.fileno()), secret(credential, store, False))
        key = bytes(opened.document.private_key)
        opened.close()
        if not key:
            raise HostError(f"{store}: holds no private key")
        trails, wrong = pieces.trail_of(given.read(pieces.KEPT), pieces.Sealer(key))
    if start > len(trails):
        raise HostError(f"{file}: the trails of {len(trails)} starts are there")
    click.echo(trails[-start], nl=False)
    if wrong:
        raise HostError(f"{file}: " + "; ".join(wrong))


def _lines(node_or_file: str, most: int, via: str | None) -> bytes:
    """The last of a trail, as they stand there. HostError, OSError."""
    if via is None:
        files = state.trail_of(node_or_file)
        return b"".join(files[-1].read_bytes().splitlines(keepends=True)[-most:])
    with Via(via, node_or_file) as console:
        return "".join(f"{line}\n" for line in console.command(f"audit {most}")[:-1]).encode()
