"""`wgpy encryptor`: the three rooms of one node."""

import json

import click


@click.group()
def encryptor() -> None:
    """The encryptor: black, crypto and red rooms of one site file."""


@encryptor.command()
@click.argument("file")
@click.option("--foreground", is_flag=True, help="Stay until the node comes down.")
@click.option("--credential", type=click.Path(exists=True), help="File that unlocks the key store (.cred: by systemd-creds).")
@click.option("--key-fd", type=int, hidden=True)
def up(file: str, foreground: bool, credential: str | None, key_fd: int | None) -> None:
    """Bring up the node of the site FILE."""
    from wgpy.daemon import node
    node.up(file, foreground=foreground, credentials=None if key_fd is None else {"key": key_fd}, unlock=credential)


@encryptor.command()
@click.argument("node_or_file")
def down(node_or_file: str) -> None:
    """Take down a node, or what a crashed supervisor left of it."""
    from wgpy.daemon import node
    node.down(node_or_file)


@encryptor.command()
@click.argument("name", metavar="NODE")
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def status(name: str, json_: bool) -> None:
    """Show the rooms of a node."""
    from wgpy.daemon import node
    state = node.status(name)
    if json_:
        click.echo(json.dumps(state))
        return
    click.echo(f"{state['node']}: {state['mode']}, supervisor {state['pid']}")
    for alarm, facts in state.get("alarms", {}).items():
        if facts["count"]:
            click.echo(f"  {alarm.replace('_', ' ')}: {facts['count']} times{', now' if facts['active'] else ''}")
    for room, facts in state["rooms"].items():
        click.echo(f"  {room}: {facts['state']}, process {facts['pid']}, restarts {facts['restarts']}")
    for link in state["missing"]:
        click.echo(f"  {link}: no such interface yet")
