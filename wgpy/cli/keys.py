"""`wgpy keys`: what a node keeps sealed."""

import binascii
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from wgpy.cli.site import as_json
from wgpy.cli.via import Via, option
from wgpy.errors import HostError


@contextmanager
def terminal() -> Iterator[int]:
    """Descriptor of /dev/tty, whatever standard input is. HostError without one."""
    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        raise HostError("there is no terminal to ask for the passphrase: --credential FILE") from None
    try:
        yield fd
    finally:
        os.close(fd)


def secret(credential: str | None, node: str, new: bool) -> bytearray:
    """What opens the key store, from a credential or asked for. WgpyError."""
    from wgpy.crypto import unlock
    from wgpy.node import credentials
    if credential is not None:
        fds = credentials.find(node, credential)
        try:
            return unlock.read_credential(fds["credential"])
        finally:
            for fd in fds.values():
                os.close(fd)
    with terminal() as tty:
        return unlock.ask_new(tty) if new else unlock.ask(tty, f"passphrase of node {node}: ")


def _key(line: str, name: str) -> bytes:
    from wgpy.config.values import key_base64
    try:
        return key_base64(line.strip())
    except ValueError as e:
        raise HostError(f"preshared key {name}: {e}") from None


@click.group()
def keys() -> None:
    """The key store of a node."""


@keys.command()
@click.argument("file")
@click.option("--credential", metavar="PATH", help="Opens the store instead of a passphrase (.cred: by systemd-creds).")
@click.option("--import", "imports", metavar="CONF", multiple=True, help="Take keys from a wg or wg-quick file.")
@click.option("--psk", metavar="NAME", multiple=True, help="Read a preshared key, one line of stdin each.")
@click.option("--new-psk", metavar="NAME", multiple=True, help="Make a preshared key and print it for the other site.")
@click.option("--replace-key", is_flag=True, help="Let --import replace the private key.")
@click.option("--new-key", is_flag=True, help="Make a new private key, as another suite needs it.")
@as_json
def seal(file: str, credential: str | None, imports: tuple[str, ...], psk: tuple[str, ...], new_psk: tuple[str, ...],
         replace_key: bool, new_key: bool, json_: bool) -> None:
    """Make or change the sealed key store of FILE's node, which must be down."""
    from wgpy.cli import tunnel_file
    from wgpy.config.values import to_base64
    from wgpy.isolate.library import with_suite
    from wgpy.node import sealing
    from wgpy.node.state import KEYS, state_dir
    parsed, _, library = with_suite(file)
    sealing.named_psks((*psk, *new_psk), parsed)
    say = lambda text: click.echo(f"wgpy: {text}", err=True)
    changes = sealing.Changes([(name, tunnel_file.load(Path(name), say)) for name in imports], replace_key=replace_key, new_key=new_key)
    changes.psks = {name: _key(sys.stdin.readline(100), name) for name in psk} | {n: os.urandom(32) for n in new_psk}
    directory, node = state_dir(parsed), parsed.node.name
    done = sealing.seal(parsed, directory, changes, lambda new: secret(credential, node, new), sealing.KeyMaker.of(library))
    shown = {name: to_base64(changes.psks[name]) for name in new_psk}
    if json_:
        click.echo(json.dumps({"store": str(directory / KEYS), "created": done.created,
                               "public_key": to_base64(done.public_key), "psks": done.psks, "missing": done.missing,
                               "notes": done.notes, "new_psks": shown}))
        return
    click.echo(f"{directory / KEYS}: {'created' if done.created else 'changed'}")
    click.echo(f"public key: {to_base64(done.public_key)}")
    for line in done.notes + [f"preshared key {name}: {key}" for name, key in shown.items()]:
        click.echo(line)
    for name in done.missing:
        click.echo(f"missing: preshared key {name} (--psk {name} or --new-psk {name})")


@keys.command("list")
@click.argument("node")
@as_json
@option
def list_(node: str, json_: bool, via: str | None) -> None:
    """Names of the pre-shared keys of a running NODE, and its public key."""
    from wgpy.cli.node_state import ask
    answer = ask(node, via, cmd="keys")
    if json_:
        click.echo(json.dumps(answer))
        return
    click.echo(f"public key: {answer['public_key']}")
    for name in answer["psks"]:
        click.echo(f"preshared key: {name}")


@keys.command()
@click.argument("node_or_file")
@click.option("--old", metavar="PATH", help="Credential that opens the store now.")
@click.option("--new", metavar="PATH", help="Credential that shall open it.")
@option
def passphrase(node_or_file: str, old: str | None, new: str | None, via: str | None) -> None:
    """Change the passphrase of a running NODE, or of the node of a site FILE that is down."""
    from wgpy.cli.node_state import ask
    from wgpy.config.site import load
    from wgpy.crypto.sealed import wipe
    from wgpy.node import keeper, sealing
    from wgpy.node.state import state_dir
    parsed = load(node_or_file) if os.path.isfile(node_or_file) else None
    name = parsed.node.name if parsed else node_or_file
    try:
        runs = via is not None or keeper.holder(name) is not None
    except PermissionError:  # the lock is root's; the node itself knows its administrators
        runs = True
    if not runs and parsed is None:
        raise HostError(f"{name}: no such node is up; give its site file")
    before = secret(old, name, False)
    after = secret(new, name, True)
    try:
        if parsed is None or runs:
            try:
                texts = before.decode(), after.decode()
            except UnicodeDecodeError:
                raise HostError("a passphrase that is no UTF-8 text can only be changed while the node is down") from None
            ask(name, via, cmd="passphrase-change", old=texts[0], new=texts[1])
        else:
            sealing.change_passphrase(state_dir(parsed), before, after)
    finally:
        wipe(before, after)
    click.echo(f"{name}: the passphrase is changed")


@keys.command()
@click.argument("node")
@click.argument("name")
@click.option("--new", is_flag=True, help="Make one and print it, instead of reading it from stdin.")
@click.option("--remove", is_flag=True)
@option
def psk(node: str, name: str, new: bool, remove: bool, via: str | None) -> None:
    """Set or remove the pre-shared key NAME of a running NODE."""
    from wgpy.cli.node_state import ask
    from wgpy.config.values import to_base64
    if remove:
        ask(node, via, cmd="psk-remove", name=name)
        return
    given = {} if new else {"key": to_base64(_key(sys.stdin.readline(100), name))}
    answer = ask(node, via, cmd="psk-set", name=name, **given)
    if new:
        click.echo(answer["key"])


@keys.command()
@click.argument("name", metavar="[NODE]", required=False)
@click.option("--credential", metavar="PATH", help="Opens the store instead of a passphrase (.cred: by systemd-creds).")
@click.option("--via", metavar="SOCKET", required=True, help="The console of crypto's guest.")
def unlock(name: str | None, credential: str | None, via: str) -> None:
    """Give crypto's guest the passphrase for which it asks."""
    from wgpy.crypto.sealed import wipe
    with Via(via, name) as console:
        if not console.asks:
            raise HostError(f"{console.node}: crypto does not ask for a passphrase")
        given = secret(credential, console.node, False)
        typed = bytearray(binascii.hexlify(given))
        try:
            console.command("unlock hex", [typed])
        finally:
            wipe(given, typed)
