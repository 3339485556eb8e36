"""`wgpy camkes`: the three rooms as virtual machines on seL4."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wgpy.cli.site import as_json

if TYPE_CHECKING:
    from wgpy.camkes.application import Violation

_PLATFORM = "A platform's name (qemu-arm-virt, x86-supermicro, x86-bochs), or the path of a file like theirs."


@click.group()
def camkes() -> None:
    """The rooms as guests on seL4: generate, check, draw a CAmkES application."""


@camkes.command()
@click.argument("site", type=click.Path(path_type=Path))
@click.option("--platform", required=True, help=_PLATFORM)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The directory to write; it must not be there yet.")
@click.option("--images", type=click.Path(path_type=Path), help="Where make guests put images of the platform's architecture.")
@click.option("--keys", type=click.Path(path_type=Path), help="A sealed store, for crypto's image.")
@as_json
def generate(site: Path, platform: str, out: Path, images: Path | None, keys: Path | None, json_: bool) -> None:
    """Write a CAmkES application for the site file SITE; docs/sel4.md says what to do with it."""
    from wgpy.camkes import write
    try:
        names = write.generate(site, platform, out, images, keys)
    except write.Refused as e:
        _tell(e.violations, False)
        raise
    if json_:
        click.echo(json.dumps({"directory": str(out), "files": names, "images": images is not None}))
        return
    click.echo(f"{out}: {len(names)} files, every rule holds")
    if images is None:
        click.echo(f"{out}: without images it cannot be built; --images names them")


@camkes.command()
@click.argument("directory", type=click.Path(path_type=Path))
@as_json
def check(directory: Path, json_: bool) -> None:
    """Prove the rules of an application DIRECTORY from its files; a line for each that does not hold. Status 1 then."""
    from wgpy.camkes import write
    violations = write.examine(directory)
    _tell(violations, json_)
    if violations:
        sys.exit(1)
    if not json_:
        click.echo(f"{directory}: every rule holds")


@camkes.command()
@click.argument("directory", type=click.Path(path_type=Path))
@as_json
def draw(directory: Path, json_: bool) -> None:
    """Print a drawing (SVG) of who can touch what in an application DIRECTORY."""
    from wgpy.camkes import write
    svg = write.picture(directory)
    click.echo(json.dumps({"svg": svg}) if json_ else svg, nl=json_)


def _tell(violations: "list[Violation]", json_: bool) -> None:
    if json_:
        click.echo(json.dumps({"ok": not violations, "violations": [v._asdict() for v in violations]}))
        return
    for violation in violations:
        click.echo(f"error: {violation}", err=True)
