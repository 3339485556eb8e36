"""`wgpy suite`: libraries with cryptographic functions of one's own."""

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wgpy.cli.site import as_json

if TYPE_CHECKING:
    from wgpy.conformance.checks import Report
    from wgpy.conformance.runner import Result

_COLOURS = {"passed": "green", "noted": "yellow", "failed": "red", "not examined": "yellow"}


@click.group()
def suite() -> None:
    """Cipher suites of one's own, see docs/suites.md."""


@suite.command()
@as_json
def include(json_: bool) -> None:
    """Print the folder of wgpy_suite.h, for the compiler's -I."""
    from wgpy.conformance.build import INCLUDE
    click.echo(json.dumps({"include": str(INCLUDE)}) if json_ else str(INCLUDE))


@suite.command()
@click.argument("library", type=click.Path(path_type=Path))
@click.option("--only", multiple=True, metavar="CHECK", help="Only this check (and the table's); may be repeated.")
@as_json
def check(library: Path, only: tuple[str, ...], json_: bool) -> None:
    """Examine LIBRARY for what wgpy_suite.h asks of it, each check in a process of its own.

    The report names the library's digest, the machine and each verdict. Ends with 1 if a check failed.
    """
    from wgpy.conformance import checks
    with tempfile.TemporaryDirectory(prefix="wgpy-suite-") as folder:
        report = checks.examine(library, checks.Kit(Path(folder)), only, (lambda result: None) if json_ else _tell)
    if json_:
        click.echo(json.dumps(report.plain(), indent=2))
    else:
        _conclude(report)
    if report.verdict == "failed":
        sys.exit(1)


def _tell(result: "Result") -> None:
    click.echo(f"{click.style(f'{result.verdict:<12}', fg=_COLOURS[result.verdict])} {result.name:<12} {result.about}")
    for line in result.lines:
        click.echo(f"{'':<26}{line}")
    for what, number in result.figures.items() if result.name not in ("speed", "timing") else ():
        click.echo(f"{'':<26}{what}: {number:g}")
    if result.name == "timing":
        for what, number in result.figures.items():
            click.echo(f"{'':<26}{what}: |t| {number:.1f}")


def _conclude(report: "Report") -> None:
    from wgpy.conformance import checks
    speeds: dict[str, float] = next((r.figures for r in report.results if r.name == "speed"), {})
    if speeds:
        click.echo(f"\n{'speed':<34}{'this suite':>12}{'WireGuard':>12}")
    for what, number in speeds.items():
        beside = report.builtin.get(what)
        click.echo(f"{what:<34}{number:>12.0f}{f'{beside:.0f}' if beside else '-':>12}")
    plain = report.plain()
    click.echo()
    for name, value in (("library", report.library), ("sha256", report.sha256), ("suite", plain["suite"]), ("noise", plain["noise"]),
                        ("identifier", plain["identifier"]), *report.machine.items()):
        click.echo(f"{name + ':':<14}{value}")
    for loaded in plain["loads"]:
        click.echo(f"{'loads:':<14}{loaded['path']} {loaded['sha256']}")
    skipped = checks.count(report, checks.SKIPPED)
    click.echo(f"\n{report.verdict}: {len(report.results)} checks, {checks.count(report, 'failed')} failed, "
               f"{checks.count(report, 'noted')} with notes, {skipped} not examined")
