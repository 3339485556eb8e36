"""One node on this host, from `up` to `down`."""

import json
import logging
import os
import sys
from typing import Any

from wgpy import logs
from wgpy.admin import faults
from wgpy.config.site import load, read
from wgpy.config.site_model import Site
from wgpy.errors import HostError
from wgpy.isolate.library import Library, with_suite
from wgpy.node import credentials as credential
from wgpy.node import keeper
from wgpy.node.keeper import Lock, Ready, holder, run_dir
from wgpy.node.namespaces import Namespaces
from wgpy.node.state import KEYS, State, state_dir
from wgpy.node.supervisor import Supervisor

log = logging.getLogger(__name__)

_SAID = "status.json", "status.json.new"


def up(path: str, *, foreground: bool = False, credentials: dict[str, int] | None = None,
       unlock: str | None = None) -> None:
    """`unlock`: file of the credential; without it, or `credentials`, systemd's or the
    terminal's passphrase opens the key store. Returns when the three rooms run and the
    firewalls are in place; in the foreground, when the node has come down. WgpyError,
    OSError."""
    keeper.need_root()
    site, text, library = with_suite(path)
    lock = Lock(site.node.name)
    if not credentials:
        if not (state_dir(site) / KEYS).exists():
            raise HostError(f"{site.node.name} has no keys yet: wgpy keys seal {path}")
        credentials = credential.find(site.node.name, unlock)
    path = os.path.abspath(path)
    if foreground:
        logs.begin(logs.Stderr(), site.node.name)
        _serve(path, site, text, lock, credentials, library, keeper.tell_systemd)
        return
    fault = keeper.background(lambda ready: _serve(path, site, text, lock, credentials, library, ready), site.node.name,
                              run_dir(site.node.name) / "log", lock)
    if fault:
        print(f"{site.node.name}: up, but {fault}", file=sys.stderr)


def down(name_or_path: str) -> str:
    """The node's name, when nothing of it is left; also cleans up after a supervisor
    that crashed. WgpyError."""
    keeper.need_root()
    site = None
    if os.path.isfile(name_or_path):
        site = load(name_or_path)
    name = site.node.name if site else name_or_path
    keeper.check_name(name)
    pid = holder(name)
    if pid is not None and (run_dir(name) / "vms/status.json").exists():
        raise HostError(f"{name} is up as virtual machines: wgpy vms down {name}")
    if pid is not None:
        keeper.end(pid, name)
    kept = run_dir(name) / "site.toml"
    if kept.exists():
        site = load(str(kept))
    if site is not None:
        lock = Lock(name)
        stays = Namespaces(site).remove()
        if not stays:
            _forget(name)
        lock.close()
        if stays:
            raise HostError("; ".join(stays))
    elif pid is None:
        raise HostError(f"{name}: no such node is up")
    return name


def status(name: str) -> dict[str, Any]:
    """What the supervisor last wrote. HostError when the node is not up."""
    keeper.check_name(name)
    if holder(name) is not None:
        try:
            document: dict[str, Any] = json.loads((run_dir(name) / "status.json").read_text())
            return document
        except (OSError, ValueError):
            pass
    raise HostError(f"{name}: no such node is up")


def _serve(path: str, site: Site, text: bytes, lock: Lock, credentials: dict[str, int], library: Library | None,
           ready: Ready) -> None:
    name = site.node.name
    directory = run_dir(name)
    lock.write_pid()
    _forget(name)  # what a predecessor that crashed said
    fresh = directory / "site.toml.new"
    fresh.write_bytes(text)
    fresh.replace(directory / "site.toml")
    failed: list[str] = []
    state = None if "key" in credentials else State(state_dir(site))
    supervisor = Supervisor(site, text, directory, credentials=credentials, state=state, library=library,
                            load=lambda: read(path, library.sizes if library else None))
    supervisor.on_ready = lambda: ready(faults.in_short(supervisor.describe()))
    supervisor.on_failed = failed.append
    try:
        supervisor.build()
        supervisor.run()
    finally:
        back = supervisor.close()
        if state is not None:
            state.close()
        if back:
            _forget(name)
        else:
            log.error("%s: WAN and LAN stay inside, closed, until up or down", name)
            _forget(name, *_SAID)
        lock.close()
    if failed:
        raise HostError(failed[0])


def _forget(name: str, *files: str) -> None:
    """`files`, or all of them."""
    for file in files or (*_SAID, "site.toml", "site.toml.new"):
        (run_dir(name) / file).unlink(missing_ok=True)
