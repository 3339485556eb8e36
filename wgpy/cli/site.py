"""`wgpy site`: the file that describes a node. Nothing here opens keys or touches the network."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wgpy.errors import ConfigError, HostError

if TYPE_CHECKING:
    from wgpy.config.site_model import Site

as_json = click.option("--json", "json_", is_flag=True, help="Machine-readable output.")

TEMPLATE = """\
# The site file of one encryptor. `wgpy site check` finds mistakes, `wgpy site explain`
# says what will flow where. No secret stands here: keys live in the key store
# (`wgpy keys seal`).

[node]
name = "{name}"
# "small": this node is the site's router; Internet traffic leaves in clear, with NAT.
# "large": it only encrypts what the site's own router sends it.
mode = "{mode}"
listen_port = 51820

[wan]
interface = "eth0"
addresses = ["192.0.2.10/24"]   # or "dhcp"
gateway = "192.0.2.1"           # one, or a list of one for IPv4 and one for IPv6
# gateway_mac = "02:00:5e:10:00:01"   # pins it: nobody on the WAN link can pretend to be it
# mtu = 1500

[lan]
interface = "eth1"
addresses = ["10.1.0.1/24"]     # the hosts' default gateway
# networks = ["10.1.0.0/24"]    # what other sites may reach; default: those of the addresses
# gateway = "10.1.0.254"        # the site's own router, if there are networks behind it
# mtu = 1420                    # of the tunnel; default: the WAN's less 80

# One block for every other site:
#
# [[site]]
# name = "cusco"
# public_key = "…"              # 44 characters, from `wgpy site show` there
# networks = ["10.2.0.0/24"]
# endpoints = ["198.51.100.7:51820"]
# psk = "cusco"                 # the name of a preshared key in the key store
# keepalive = 25                # seconds, where a NAT is on the way

# Another suite of cryptographic functions than WireGuard's, the same at all sites (docs/suites.md).
#
# [suite]
# library = "/usr/lib/wgpy/suites/x.so"
# sha256 = "0000000000000000000000000000000000000000000000000000000000000000"  # as sha256sum prints it

# Which LAN hosts may reach which sites. Without any [[permit]], all may reach all.
#
# [[permit]]
# from = ["10.1.0.0/25"]
# to = ["cusco"]                # names of sites, or networks inside them

# Small mode only: what may go in clear. Default: everything that is not protected.
#
# [bypass]
# networks = ["0.0.0.0/0", "::/0"]
# connections = 1000            # at a time, of one LAN host

# Additional lines of the two input chains (nftables), e.g. to answer pings.
#
# [firewall]
# black = ["icmp type echo-request accept"]
# red = ["icmp type echo-request accept"]
"""


@click.group()
def site() -> None:
    """The site file of an encryptor: new, check, explain, show."""


@site.command()
@click.argument("file")
@click.option("--name", default="", help="Name of the node (default: that of the file).")
@click.option("--mode", type=click.Choice(["small", "large"]), default="small", show_default=True)
@as_json
def new(file: str, name: str, mode: str, json_: bool) -> None:
    """Write a commented FILE to start from; never over one that exists."""
    from wgpy.config.site import parse
    text = TEMPLATE.format(name=name or Path(file).stem, mode=mode)
    _, errors, _ = parse(text, file)
    if errors:
        raise HostError(f"{errors[0].message} (--name)")
    try:
        with open(file, "x", encoding="utf-8") as f:
            f.write(text)
    except FileExistsError:
        raise HostError(f"{file} exists already and is left as it is") from None
    click.echo(json.dumps({"file": file}) if json_ else
               f"{file}: edit it, then `wgpy site check {file}`")


@site.command()
@click.argument("file")
@as_json
def check(file: str, json_: bool) -> None:
    """Report everything that is wrong with FILE. Status 1 if it cannot be used."""
    _, errors, warnings = _checked(file)
    if json_:
        click.echo(json.dumps({
            "file": file, "ok": not errors, "warnings": warnings,
            "errors": [{"line": e.line, "key": e.key, "message": e.message} for e in errors]}))
    else:
        for error in errors:
            click.echo(f"error: {error}")
        for warning in warnings:
            click.echo(f"warning: {warning}")
        if not errors:
            click.echo(f"{file}: good" + (f", {len(warnings)} warnings" if warnings else ""))
    if errors:
        sys.exit(1)


@site.command()
@click.argument("file")
@as_json
def explain(file: str, json_: bool) -> None:
    """Say in words and as a picture what will flow where."""
    from wgpy.config.explain import explain as in_words
    from wgpy.config.networks import flows
    parsed, errors, warnings = _checked(file)
    if parsed is None:
        for error in errors[1:]:
            click.echo(f"wgpy: {error}", err=True)
        raise errors[0]
    if not json_:
        click.echo(in_words(parsed), nl=False)
        return
    pairs = {name: [{"lan": list(map(str, s)), "remote": list(map(str, t))} for s, t in found]
             for name, found in flows(parsed).items()}
    click.echo(json.dumps({
        "node": parsed.node.name, "mode": parsed.node.mode, "mtu": parsed.mtu,
        "permitted": pairs, "in_clear": list(map(str, parsed.bypass)),
        "protected": list(map(str, parsed.protected)), "warnings": warnings}))


@site.command()
@click.argument("file")
@as_json
def show(file: str, json_: bool) -> None:
    """Show what other sites need to know of FILE's node, and whether its keys are there."""
    from wgpy.config.site import load
    from wgpy.node import sealing
    from wgpy.node.state import state_dir
    parsed = load(file)
    directory = state_dir(parsed)
    key = sealing.public_key(directory)
    if json_:
        suite = parsed.suite and {"library": parsed.suite.library, "sha256": parsed.suite.sha256}
        click.echo(json.dumps({"node": parsed.node.name, "mode": parsed.node.mode, "public_key": key, "suite": suite,
                               "sealed": sealing.exists(directory), "networks": [str(n) for n in parsed.lan.networks],
                               "sites": [p.name for p in parsed.peers],
                               "psks": sorted({p.psk for p in parsed.peers if p.psk})}))
        return
    if key is None:
        raise HostError(f"{directory}: no keys yet: wgpy keys seal {file}")
    click.echo("# for the site files of the other nodes")
    click.echo(sealing.block_for_others(parsed, key))


def _checked(file: str) -> "tuple[Site | None, list[ConfigError], list[str]]":
    """(site or None, errors, warnings), with the suite's opinion and nft's where they can be asked."""
    from wgpy.config.site import MAX_FILE, parse_bytes, text_of
    from wgpy.isolate.library import read_site
    with open(file, "rb") as f:
        data = f.read(MAX_FILE + 1)
    try:
        parsed, errors, warnings, _ = read_site(data, file)
    except HostError as e:
        parsed, errors, warnings = parse_bytes(data, file)
        assert parsed is not None and parsed.suite is not None  # or there were no library to refuse
        if os.path.exists(parsed.suite.library):
            errors = [_of_suite(str(e), text_of(data), file)]
        else:
            warnings = [*warnings, f"{_of_suite(str(e), text_of(data), file)}: lengths of keys are not checked"]
    if parsed is not None and not errors and os.geteuid() == 0:
        errors = _refused_by_nft(parsed, text_of(data), file)
    return (None if errors else parsed), errors, warnings


def _of_suite(message: str, text: str, file: str) -> ConfigError:
    from wgpy.config.site_text import Report
    report = Report(text, file)
    report.load()
    report.error(("suite", "library"), message)
    return report.errors[0]


def _refused_by_nft(parsed: "Site", text: str, file: str) -> list[ConfigError]:
    """Only nft knows whether the additions of [firewall] mean anything."""
    from wgpy.config.site_text import Report
    from wgpy.firewall.check import refused
    report = Report(text, file)
    report.load()
    for room, index, message in refused(parsed):
        report.error(("firewall", room, index), message)
    return report.errors
