"""The commands. An error is one line on stderr and a status that is not zero; tables
and colours only on a terminal; `--json` everywhere."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

import click

from wgpy.cli.camkes import camkes
from wgpy.cli.interrupt import Interrupted
from wgpy.cli.keys import keys
from wgpy.cli.lab import lab
from wgpy.cli.node import node
from wgpy.cli.site import site
from wgpy.cli.suite import suite
from wgpy.cli.vms import vms
from wgpy.config.values import key_base64, to_base64
from wgpy.errors import HostError, WgpyError

if TYPE_CHECKING:
    from wgpy.cli.client import Found
    from wgpy.cli.doctor import Finding
    from wgpy.node.sealing import KeyMaker

as_json = click.option("--json", "json_", is_flag=True, help="Machine-readable output.")


def run() -> None:
    """The command of sys.argv; ends with its exit status."""
    try:
        _run()
    finally:
        _let_go(sys.stderr, 2)  # messages that nobody reads do not change the status


def _run() -> None:
    try:
        cli(prog_name="wgpy", standalone_mode=False)
        sys.stdout.flush()
    except Interrupted as e:
        print(f"wgpy: {e}", file=sys.stderr)
        e.end()
    except WgpyError as e:
        _fail(str(e), 1)
    except click.ClickException as e:
        _fail(e.format_message(), e.exit_code)
    except click.Abort:
        _fail("interrupted", 130)
    except BrokenPipeError:
        _let_go(sys.stdout, 1)
        sys.exit(1)
    except OSError as e:
        _fail(f"{e.filename}: {e.strerror}" if e.filename else str(e.strerror or e), 1)


def _let_go(stream: TextIO, fd: int) -> None:
    """What is buffered and cannot be written is given up; Python would try again when it
    ends, and end with 120."""
    try:
        stream.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), fd)


def _fail(text: str, status: int) -> None:
    _let_go(sys.stdout, 1)
    print(f"wgpy: {text}", file=sys.stderr)
    sys.exit(status)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wgpy", message="wgpy %(version)s")
def cli() -> None:
    """WireGuard-compatible tunnels; wg(8) and wg-quick(8) work on them too."""


for group in (node, vms, camkes, site, keys, suite, lab):
    cli.add_command(group)


def _steps(json_: bool) -> tuple[Callable[[str], None], Callable[[str], None]]:
    """(say, done): steps go to stderr as they happen, or into the JSON at the end."""
    steps: list[str] = []

    def say(text: str) -> None:
        steps.append(text)
        if not json_:
            try:
                click.echo(click.style("# ", dim=True) + text, err=True)
            except OSError:  # nobody reads it: no reason to stop half-way
                pass

    def done(name: str) -> None:
        if json_:
            click.echo(json.dumps({"interface": name, "steps": steps}))

    return say, done


@cli.command()
@click.argument("file")
@as_json
def up(file: str, json_: bool) -> None:
    """Bring up the tunnel of FILE (or of NAME in /etc/wireguard)."""
    from wgpy.cli import quick, tunnel_file
    say, done = _steps(json_)
    name, path = tunnel_file.locate(file)
    quick.Up(name, path, say, 2 if json_ else None).run()
    done(name)


@cli.command()
@click.argument("name")
@as_json
def down(name: str, json_: bool) -> None:
    """Take down the tunnel NAME (or that of a FILE)."""
    from wgpy.cli import quick
    say, done = _steps(json_)
    done(quick.Down(name, say, 2 if json_ else None).run())


@cli.command()
@click.argument("name", required=False)
@click.argument("field", required=False)
@click.option("--conf", is_flag=True, help="As a file that wg setconf reads, with its keys.")
@as_json
def show(name: str | None, field: str | None, conf: bool, json_: bool) -> None:
    """Show the tunnel NAME, or all; with FIELD (as for wg show) one thing for scripts;
    `interfaces` lists names."""
    from wgpy.cli import client
    if conf:
        from wgpy.config import ini
        from wgpy.config.model import as_request
        if not name or field:
            raise click.UsageError("--conf needs a NAME and no more")
        wg = ini.format_wg(as_request(client.get(name)))
        click.echo(json.dumps({name: wg}) if json_ else wg, nl=json_)
        return
    one = name if name not in ("all", "interfaces") else None
    found = client.survey() if one is None else {one: client.look(one)}
    if name == "interfaces" and not field:
        click.echo(json.dumps(list(found)) if json_ else " ".join(found))
    elif field:
        _show_field(found, field, one is None, json_)
    else:
        _show_all(found, json_)


@cli.command()
@click.argument("name")
@click.option("--seconds", type=click.FloatRange(0, 3600), default=0.0, help="Look only at what happens from now on.")
@as_json
def why(name: str, seconds: float, json_: bool) -> None:
    """Explain from the counters why the tunnel NAME carries nothing."""
    from wgpy.cli import why as reasons
    reasons.tell(reasons.of_tunnel(name, seconds), json_)


def _show_field(found: "Mapping[str, Found]", field: str, named: bool, json_: bool) -> None:
    from wgpy.cli.show_fields import FIELDS
    if field not in FIELDS:
        raise click.UsageError(f"FIELD is one of {', '.join(FIELDS)}")
    for name, said in found.items():
        if said.error is not None:
            click.echo(f"wgpy: {name}: {said.error}", err=True)
    rows = {name: FIELDS[field](said.state) for name, said in found.items() if said.error is None}
    if json_:
        click.echo(json.dumps(rows))
        return
    for name, lines in rows.items():
        for line in lines:
            click.echo("\t".join((name, *line) if named else line))


def _show_all(found: "Mapping[str, Found]", json_: bool) -> None:
    from wgpy.cli import show as text
    if json_:
        click.echo(json.dumps({n: text.as_json(f) for n, f in found.items()}, indent=2))
        return
    for i, each in enumerate(found):
        if i:
            click.echo()
        for indent, label, value in text.lines(each, found[each]):
            title = click.style(label, bold=True, fg={"interface": "green", "peer": "yellow"}.get(label))
            click.echo(f"{'  ' * indent}{title}: {value}" if label else "")


def _key(key: bytes, json_: bool) -> None:
    click.echo(json.dumps({"key": to_base64(key)}) if json_ else to_base64(key))


of_suite = click.option("--suite", nargs=2, metavar="LIBRARY SHA256", help="Of another suite than WireGuard's.")


def _maker(suite: tuple[str, str] | None) -> "KeyMaker":
    from wgpy.config.values import sha256
    from wgpy.isolate.library import Library
    from wgpy.node.sealing import KeyMaker
    try:
        return KeyMaker.of(Library(suite[0], sha256(suite[1])) if suite else None)
    except ValueError as e:
        raise HostError(f"--suite: {e}") from None


@cli.command()
@of_suite
@as_json
def genkey(suite: tuple[str, str] | None, json_: bool) -> None:
    """Print a new private key."""
    _key(_maker(suite).new(), json_)


@cli.command()
@as_json
def genpsk(json_: bool) -> None:
    """Print a new preshared key."""
    _key(os.urandom(32), json_)


@cli.command()
@of_suite
@as_json
def pubkey(suite: tuple[str, str] | None, json_: bool) -> None:
    """Read a private key from stdin, print its public key."""
    maker = _maker(suite)
    try:
        private = key_base64(sys.stdin.readline(400).strip(), maker.size)
    except ValueError as e:
        raise HostError(f"stdin: {e}") from None
    _key(maker.public(private), json_)


@cli.command()
@as_json
def doctor(json_: bool) -> None:
    """Say what this host offers and what to do about what it lacks."""
    from wgpy.cli import doctor as clinic
    findings = clinic.examine()
    if json_:
        click.echo(json.dumps([f._asdict() for f in findings], indent=2))
    elif sys.stdout.isatty():
        _table(findings)
    else:
        for f in findings:
            click.echo("\t".join(f))
    if any(f.state == clinic.BAD for f in findings):
        sys.exit(1)


def _table(findings: "Sequence[Finding]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
    colours = {"ok": "green", "slower": "yellow", "missing": "red"}
    table = Table("", "", "", "remedy", box=None)
    for f in findings:
        table.add_row(Text(f.state, colours[f.state]), f.name, f.detail, f.remedy)
    Console().print(table)
