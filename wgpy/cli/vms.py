"""`wgpy vms`: one encryptor, its rooms in three virtual machines, from `up` to `down`."""

import json
import os
import select
import socket
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from wgpy.cli.site import as_json
from wgpy.errors import HostError

_LEAVE = b"\x1d"  # Ctrl-]


@click.group()
def vms() -> None:
    """A node whose rooms are virtual machines, run by QEMU."""


@vms.command()
@click.argument("file")
@click.option("--images", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where `make guests` left them.")
@click.option("--foreground", is_flag=True, help="Stay until the guests end.")
@click.option("--passthrough", "passed", multiple=True, metavar="wan|lan=ADDRESS",
              help="Give black (wan) or red (lan) the network card at this PCI address, which vfio-pci has.")
@click.option("--credential", type=click.Path(exists=True), help="File that unlocks crypto's keys (.cred: by systemd-creds).")
@click.option("--order", hidden=True, default="black,crypto,red")
def up(file: str, images: Path | None, foreground: bool, passed: tuple[str, ...], credential: str | None, order: str) -> None:
    """Bring up the node of the site FILE as three virtual machines."""
    from wgpy.vms import life
    from wgpy.vms.images import ROOMS
    cards = dict(p.partition("=")[::2] for p in passed)
    if set(cards) - set(life.KINDS) or len(cards) < len(passed):
        raise click.UsageError("--passthrough is wan=ADDRESS or lan=ADDRESS, each once")
    if sorted(order.split(",")) != sorted(ROOMS):
        raise click.UsageError(f"--order names {', '.join(ROOMS)} once")
    life.up(file, images=images, foreground=foreground, passed=cards, unlock=credential, order=tuple(order.split(",")), say=_say)


def _say(text: str) -> None:
    click.echo(click.style("# ", dim=True) + text, err=True)


@vms.command()
@click.argument("node_or_file")
def down(node_or_file: str) -> None:
    """End the guests of a node and give its ports back."""
    from wgpy.vms import life
    life.down(node_or_file)


@vms.command()
@click.argument("file")
def reload(file: str) -> None:
    """Take over the changed site FILE of a node that is up: crypto at its console, black and red by starting
    again, each only if it has to. Ends when all have it."""
    from wgpy.vms import life
    life.reload(file, click.echo)


@vms.command()
@click.argument("node_or_file")
@as_json
def status(node_or_file: str, json_: bool) -> None:
    """Show the guests of a node, and what crypto says of itself at its console."""
    from wgpy.vms import life
    found = life.status(life.node_of(node_or_file))
    try:
        found["crypto"] = _of_crypto(found)
    except HostError as e:
        found["crypto"] = {"error": str(e)}
    if json_:
        click.echo(json.dumps(found, indent=2))
        return
    for line in lines(found):
        click.echo(line)


def _of_crypto(found: dict[str, Any]) -> dict[str, Any]:
    """Its status document. HostError when it does not give one."""
    from wgpy.cli import node_state
    from wgpy.vms import life
    from wgpy.vms.supervisor import SOCKET
    state = found["guests"].get("crypto", {}).get("state", "stopped")
    if state not in ("ready", "asking"):
        raise HostError(f"crypto's guest is {state}")
    return node_state.document(found["node"], str(life.directory(found["node"]) / SOCKET))


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Of a status document with crypto's own, for a person."""
    from wgpy.admin.lines import of_node
    yield (f"{found['node']}: {'up' if found['up'] else 'not up'}, {found['mode']}, {found['accelerator'].upper()}, "
           f"kernel {found['kernel']}, supervisor {found['pid']}")
    for room, f in found["guests"].items():
        shared = ", ".join(f"{size >> 20} MiB with {neighbour}" for neighbour, size in f["regions"].items())
        boot = "" if f["boot_seconds"] is None else f", ready after {f['boot_seconds']:.1f} s"
        yield (f"  {room}: {f['state']}{boot}, process {f['pid']} of user {f['uid']}, restarts {f['restarts']}, "
               f"{f['memory_mib']} MiB, shares {shared}")
    if error := found["crypto"].get("error"):
        yield f"  crypto's console: {error}"
    else:
        yield "at crypto's console:"
        yield from (f"  {line}" for line in of_node(found["crypto"]))


@vms.command()
@click.argument("node_or_file")
@click.option("--once", is_flag=True, help="Print one frame and end.")
@click.option("--interval", type=click.FloatRange(0.5, 60), default=2.0, show_default=True, metavar="SECONDS")
def top(node_or_file: str, once: bool, interval: float) -> None:
    """A live view of guests and sites; with --once, or without a terminal, one frame. What black and red
    count, crypto sees of their lanes."""
    from wgpy.cli.node import live
    from wgpy.vms import life
    name = life.node_of(node_or_file)

    def look() -> dict[str, Any]:
        found = life.status(name)
        return joined(found, _of_crypto(found))
    live(look(), look, once, interval)


def joined(found: dict[str, Any], crypto: dict[str, Any]) -> dict[str, Any]:
    """One document of guests, as a supervisor of processes writes it: what crypto says of itself, what it
    heard of its neighbours' lanes (docs/control-lanes.md), and of each guest whether it runs."""
    lanes = crypto["rooms"]["crypto"]["status"].get("lanes", {})
    rooms = {room: crypto["rooms"].get(room, {"status": _counted(lanes.get(room, {}).get("counters", ()))})
             | {key: f[key] for key in ("state", "pid", "restarts")} for room, f in found["guests"].items()}
    return crypto | {"rooms": rooms, "up": found["up"], "pid": found["pid"]}


def _counted(counters: Sequence[int]) -> dict[str, Any]:
    if len(counters) < 5:
        return {}
    packets_in, packets_out, bytes_in, bytes_out, dropped = counters[:5]
    return {"ports": {"from_crypto": {"packets_in": packets_in, "bytes_in": bytes_in},
                      "to_crypto": {"packets_out": packets_out, "bytes_out": bytes_out}},
            "drops": {"all_reasons": dropped} if dropped else {}}


@vms.command()
@click.argument("node_or_file")
@click.argument("room", type=click.Choice(("black", "crypto", "red")))
@click.option("--log", is_flag=True, help="Crypto's log, instead of its administration.")
def console(node_or_file: str, room: str, log: bool) -> None:
    """Crypto's administration console on this terminal; of black and red the log, as it grows."""
    from wgpy.vms import life
    from wgpy.vms.supervisor import SOCKET
    name = life.node_of(node_or_file)
    life.status(name)
    if room == "crypto" and not log:
        connect(life.directory(name) / SOCKET)
    else:
        follow(life.directory(name) / f"{room}.log")


def connect(path: Path) -> None:
    """The terminal, or standard input until its end, to a socket. HostError."""
    from wgpy.admin.typed import ANEW
    with socket.socket(socket.AF_UNIX) as s, _raw_terminal() as raw:
        try:
            s.connect(str(path))
        except OSError as e:
            raise HostError(f"{path}: {e.strerror}") from None
        if raw:
            click.echo("wgpy: Ctrl-] leaves\r", err=True)
            s.sendall(bytes([ANEW]))  # the guest cannot see that somebody came
        open_input = True
        while True:
            watched: list[socket.socket | int] = [s, 0] if open_input else [s]
            ready, _, _ = select.select(watched, [], [], None if open_input else 1.0)
            if s in ready:
                if not (data := s.recv(65536)):
                    raise HostError("the guest has ended")
                os.write(1, data)
            if 0 in ready:
                data = os.read(0, 4096)
                if _LEAVE in data and raw:
                    return
                open_input = bool(data)
                s.sendall(data)
            if not ready:
                return


@contextmanager
def _raw_terminal() -> Iterator[bool]:
    if not sys.stdin.isatty():
        yield False
        return
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield True
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def follow(path: Path) -> None:
    """Prints a log as it grows; on something else than a terminal once. HostError."""
    try:
        file = path.open("rb")
    except OSError as e:
        raise HostError(f"{path}: {e.strerror}") from None
    try:
        while True:
            while data := file.read(65536):
                os.write(1, data)
            if not sys.stdout.isatty():
                return
            time.sleep(0.2)
            try:
                if os.stat(path).st_ino != os.fstat(file.fileno()).st_ino:
                    file.close()
                    file = path.open("rb")
            except OSError:  # between two logs, or down
                pass
    except KeyboardInterrupt:
        pass
    finally:
        file.close()
