"""A node as three virtual machines, from `up` to `down`. Its directory is `vms` in the node's own, and
the lock is the node's, so that it is up once, in whichever way."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from wgpy import logs
from wgpy.config.site import load, read
from wgpy.config.site_model import Site
from wgpy.errors import HostError
from wgpy.isolate import start
from wgpy.node import credentials, keeper
from wgpy.node.keeper import Lock, Ready, holder, run_dir
from wgpy.vms import host
from wgpy.vms.images import ROOMS, Images, default_folder
from wgpy.vms.reload import RELOAD, ask
from wgpy.vms.supervisor import SOCKET, STATUS, Supervisor

KINDS = ("wan", "lan")  # of network cards that can be passed through
_SLOW = "so QEMU translates each instruction: the guests need up to a minute to start, and rates say nothing"


def directory(name: str) -> Path:
    """Of a node's guests: status, logs and crypto's console."""
    return run_dir(name) / "vms"


def up(path: str, *, images: Path | None = None, foreground: bool = False, passed: dict[str, str] | None = None,
       unlock: str | Path | None = None, order: tuple[str, ...] = ROOMS, say: Callable[[str], None] = lambda text: None) -> None:
    """Returns when black and red run and crypto runs or asks for its passphrase; in the foreground, when
    the guests have ended. `unlock`: file of the credential that opens crypto's keys at each of its starts, else
    systemd's; with one crypto runs, too. `passed`: PCI addresses of network cards, by kind. `say(text)` hears what a person
    who waits may want to know. WgpyError, OSError; then nothing is left."""
    keeper.need_root()
    site, text = read(path)
    if site.suite is not None:
        raise HostError(f"{path}: [suite]: virtual machines have WireGuard's suite only: wgpy node up")
    found = Images(images or default_folder())
    lock = Lock(site.node.name)
    try:
        cards = check(site, passed or {})
    except BaseException:
        lock.close()
        raise
    accelerator, why = host.accelerator()
    if why:
        say(f"{why}, {_SLOW}")

    name = site.node.name
    unlock = unlock or credentials.of_systemd(name)
    answer = unlock and start.python("wgpy.cli", "keys", "unlock", name, "--via", directory(name) / SOCKET,
                                     "--credential", os.path.abspath(unlock))

    def serve(ready: Ready) -> None:
        _serve(site, text, lock, Supervisor(site, text, found, directory(name), accelerator=accelerator, passed=cards, order=order,
                                            unlock=answer or None), ready, say)

    if foreground:
        logs.begin(logs.Stderr(), name)
        serve(keeper.tell_systemd)
        return
    directory(name).mkdir(mode=0o755, exist_ok=True)
    heard = os.dup(2)
    say = partial(_aloud, heard)
    try:
        keeper.background(lambda ready: serve(partial(_done, heard, ready)), name, directory(name) / "log", lock)
    finally:
        os.close(heard)


def _done(heard: int, ready: Ready, fault: str) -> None:
    """The terminal of whoever waited is no longer ours."""
    os.close(heard)
    ready(fault)


def _aloud(fd: int, text: str) -> None:
    try:
        os.write(fd, f"# {text}\n".encode())
    except OSError:  # nobody reads it
        pass


def check(site: Site, passed: dict[str, str]) -> dict[str, tuple[str, Path]]:
    """What the host has to have, before anything is changed; the cards to be passed through. HostError."""
    host.need_qemu()
    if site.suite is not None:
        raise HostError("[suite]: guests have WireGuard's suite only: wgpy node up runs the rooms as processes")
    cards = {kind: host.need_passed(address) for kind, address in passed.items()}
    if len({address for address, _ in cards.values()}) < len(cards):
        raise HostError("--passthrough: one network card cannot be both wan and lan")
    for kind, port in (("wan", site.wan.interface), ("lan", site.lan.interface)):
        if kind not in cards:
            host.need_port(port, f"{kind}.interface")
    host.need_memory(len(ROOMS))
    return cards


def down(name_or_path: str) -> str:
    """The node's name, when its guests have ended and its ports are the host's again. WgpyError."""
    keeper.need_root()
    name = node_of(name_or_path)
    pid = holder(name)
    if pid is not None and not (directory(name) / STATUS).exists():
        raise HostError(f"{name} is up as processes: wgpy node down {name}")
    if pid is None and not (directory(name) / STATUS).exists():
        raise HostError(f"{name}: no such node is up as virtual machines")
    if pid is not None:
        keeper.end(pid, name)
    _forget(name)
    return name


def reload(path: str, say: Callable[[str], None]) -> None:
    """Gives the running guests a changed site file; `say(text)` hears what each does. Returns when all have it, WgpyError
    or OSError with what was not done."""
    keeper.need_root()
    site, text = read(path)
    status(site.node.name)
    try:
        ask(directory(site.node.name) / RELOAD, text, say)
    except HostError as e:
        raise HostError(f"{path}: {e}") from None


def node_of(name_or_path: str) -> str:
    """The name of a node, given itself or in its site file. WgpyError."""
    name = load(name_or_path).node.name if os.path.isfile(name_or_path) else name_or_path
    keeper.check_name(name)
    return name


def status(name: str) -> dict[str, Any]:
    """What the supervisor last wrote. HostError when the node is not up in this way."""
    try:
        if holder(name) is not None:
            document: dict[str, Any] = json.loads((directory(name) / STATUS).read_text())
            return document
    except (FileNotFoundError, ValueError):
        pass
    raise HostError(f"{name}: no such node is up as virtual machines")


def _serve(site: Site, text: bytes, lock: Lock, supervisor: Supervisor, ready: Ready, say: Callable[[str], None]) -> None:
    name = site.node.name
    directory(name).mkdir(mode=0o755, exist_ok=True)
    lock.write_pid()
    _forget(name)  # what a predecessor that crashed said
    failed: list[str] = []

    def up_now() -> None:
        if supervisor.guests["crypto"].state == "asking":
            say(f"crypto asks for the passphrase: wgpy vms console {name} crypto")
        supervisor.on_change = lambda room, state: None  # nobody waits any more
        ready("")

    supervisor.on_ready, supervisor.on_failed = up_now, failed.append
    supervisor.on_change = lambda room, state: say(f"{room}: {state}")
    try:
        supervisor.write_status()
        supervisor.build()
        supervisor.run()
    finally:
        supervisor.close()
        _forget(name)
        lock.close()
    if failed:
        raise HostError(failed[0])


def _forget(name: str) -> None:
    for file in (STATUS, f"{STATUS}.new", SOCKET, RELOAD):
        (directory(name) / file).unlink(missing_ok=True)
