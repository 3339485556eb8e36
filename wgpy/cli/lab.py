"""`wgpy lab`: networks to look around in. They exist for as long as the command runs."""

import itertools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from wgpy.errors import HostError

if TYPE_CHECKING:
    from wgpy.lab.attack import Cell
    from wgpy.lab.netns import Netns

_PAGE = "<!doctype html><title>wgpy lab</title><p>A page of the Internet of the lab.\n"

_run = click.option("--run", metavar="CMD", help="Run CMD in the first host instead of waiting; its status is ours.")
_implementation = click.option("--implementation", default="wgpyd", show_default=True, metavar="DAEMON",
                               help="wgpyd, kernel, or a program that takes -f IFACE.")


class _Place(NamedTuple):
    """Where somebody can look around: the namespaces of process `pid`."""
    name: str
    pid: int
    what: str
    mounts: bool  # enter those, too

    @classmethod
    def of(cls, host: "Netns", what: str) -> "_Place":
        return cls(host.name, host.pid, what, True)


@click.group()
def lab() -> None:
    """Networks in namespaces, gone when the command ends. Needs root."""


@lab.command("two-sites")
@_implementation
@_run
def two_sites(implementation: str, run: str | None) -> None:
    """Two sites with a tunnel, and the Internet beside it."""
    _sites(2, implementation, run)


@lab.command()
@click.argument("count", type=click.IntRange(2, 26))
@_implementation
@_run
def sites(count: int, implementation: str, run: str | None) -> None:
    """COUNT sites, each with a tunnel to each, and the Internet beside them."""
    _sites(count, implementation, run)


@lab.command()
@click.option("--mode", type=click.Choice(("small", "large")), default="small", show_default=True)
@click.option("--suite", type=click.Path(exists=True, dir_okay=False), metavar="LIBRARY", help="With this library's suite (root's file).")
@_run
def encryptors(mode: str, suite: str | None, run: str | None) -> None:
    """Two encryptors of three rooms each, a host behind each, an Internet between."""
    from wgpy.lab.encryptors import Pair
    from wgpy.lab.suites import loaded
    with _cleaned(), tempfile.TemporaryDirectory(prefix="wgpy-lab-") as directory, loaded(suite) as library, \
            Pair(Path(directory), mode, routers=mode == "large", library=library) as pair, _web(pair.internet, directory):
        places = []
        for node in pair.nodes:
            places.append(_Place.of(node.host, f"{node.address}, a LAN host"))
            if node.router:
                places.append(_Place.of(node.router, "the site's router: only traffic between sites goes to the encryptor"))
            places += [_Place(f"{node.name}-{room}", node.pid(room), what, False) for room, what in
                       (("black", f"WAN {node.wan}, firewall 1"), ("red", f"LAN {node.lan}, firewall 2"))]
            places.append(_Place.of(node.box, f"where the encryptor lives: WGPY_RUN_DIR={node.run_dir}"))
        places.append(_Place.of(pair.internet, f"the Internet; capture black's wires there: tcpdump -ni to-{pair.a.name}"))
        _stay(places, pair.a.host, pair.b.address, run)


@lab.command()
@click.option("--mode", type=click.Choice(("small", "large")), default="small", show_default=True)
@click.option("--seconds", type=click.IntRange(1, 60), default=3, show_default=True, help="Of each run of iperf3.")
@click.option("--images", type=click.Path(exists=True, file_okay=False), help="Where `make guests` left them.")
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def vms(mode: str, seconds: int, images: str | None, json_: bool) -> None:
    """An encryptor of three virtual machines against one of three processes: traffic, faults, a table."""
    from wgpy.lab import guests_demo
    sys.exit(guests_demo.main([f"--mode={mode}", f"--seconds={seconds}", *([f"--images={images}"] if images else []),
                               *(["--json"] if json_ else [])]))


@lab.command()
@click.option("--attack", "kinds", multiple=True, metavar="NAME", help="Only this attack; may be repeated.")
@click.option("--target", "targets", multiple=True, metavar="NAME", help="Only wgpyd, encryptor or wireguard-go; may be repeated.")
@click.option("--session", "sessions", multiple=True, type=click.Choice(("none", "live")), help="Only with or without a session.")
@click.option("--rate", type=click.FloatRange(1, 300_000), default=300_000, show_default=True, help="Packets a second of a stranger.")
@click.option("--reference", metavar="PROGRAM", help="wireguard-go to attack beside ours; the installed one if there is one.")
@click.option("--quick", is_flag=True, help="Few cells, short times.")
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
@click.option("--write", "document", type=click.Path(exists=True, dir_okay=False), help="Put the table into this document.")
def attack(kinds: tuple[str, ...], targets: tuple[str, ...], sessions: tuple[str, ...], rate: float, reference: str | None,
           quick: bool, json_: bool, document: str | None) -> None:
    """Attack a target in a network of its own and measure what its peers notice.

    A whole run takes 12 minutes at most, a quick one 3.
    """
    from dataclasses import replace

    from wgpy.lab import attack as attacks
    from wgpy.lab import attack_report as report
    attacks.check(kinds, targets)
    found = attacks.implementations(reference or shutil.which("wireguard-go"))
    if missing := set(targets) - set(found):
        raise HostError(f"{', '.join(missing)} is not installed: name it with --reference")
    plan = replace(attacks.QUICK if quick else attacks.Plan(), rate=rate)
    chosen = list(attacks.cells(list(targets or found), kinds or (attacks.QUICK_KINDS if quick else attacks.KINDS),
                                sessions or attacks.SESSIONS))
    number = itertools.count(1)

    def say(cell: "Cell") -> None:
        click.echo(f"{next(number)}/{len(chosen)} {cell.implementation}, {cell.kind}, session {cell.session}"
                   + (f": {cell.error}" if cell.error else ""), err=True)

    with _cleaned():
        done = attacks.run(plan, chosen, found, say)
    table = report.table(done)
    click.echo(json.dumps([cell.plain() for cell in done]) if json_ else table)
    if document:
        report.embed(document, table)
    if any(cell.error or cell.crashes for cell in done):
        raise HostError("not every cell could be measured, or a target crashed: see the table")


def _sites(count: int, implementation: str, run: str | None) -> None:
    from wgpy.lab.sites import Sites
    with _cleaned(), tempfile.TemporaryDirectory(prefix="wgpy-lab-") as directory, \
            Sites(count, implementation) as made, _web(made.internet, directory):
        places = []
        for site in made.sites:
            places.append(_Place.of(site.host, f"{site.address}, a LAN host"))
            places.append(_Place.of(site.router, f"LAN {site.lan}, WAN {site.home.address}; try: wg show"))
        places.append(_Place.of(made.internet, "the Internet; capture a site's wire there: tcpdump -ni to-a"))
        _stay(places, made.sites[0].host, made.sites[1].address, run)


@contextmanager
def _cleaned() -> Iterator[None]:
    """Ends quietly on Ctrl-C and SIGTERM, when everything is gone."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    except (TimeoutError, subprocess.SubprocessError) as error:
        notes = "; ".join(getattr(error, "__notes__", []))
        raise HostError(f"{error} {notes}".strip()) from None
    except KeyboardInterrupt:
        click.echo("everything is gone", err=True)
        sys.exit(130)


@contextmanager
def _web(internet: "Netns", directory: str) -> Iterator[None]:
    from wgpy.lab.internet import WEB
    from wgpy.lab.traffic import file_server
    pages = Path(directory, "pages")
    pages.mkdir()
    (pages / "index.html").write_text(_PAGE)
    with file_server(internet, pages, WEB, 80):
        yield


def _stay(places: Sequence[_Place], first: "Netns", there: str, run: str | None) -> None:
    """Runs the command, or says how to look around and waits for the end."""
    from wgpy.lab.internet import WEB
    if run is not None:
        argv = ("env", f"THERE={there}", f"WEB={WEB}", "sh", "-c", run)
        sys.exit(first.popen(*argv).wait())
    for place in places:
        enter = f"nsenter --net=/proc/{place.pid}/ns/net" + (f" --mount=/proc/{place.pid}/ns/mnt" if place.mounts else "")
        click.echo(f"{place.name:<10} {place.what}\n{'':<10} {enter} {shlex.quote(os.environ.get('SHELL', 'sh'))}")
    click.echo(f"\nIn {first.name}: ping {there}; curl http://{WEB}/      Ctrl-C ends it all.")
    sys.stdout.flush()
    while True:
        time.sleep(3600)
