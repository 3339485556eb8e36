"""A running node as its administrator's commands see it: its socket and its status."""

import errno
import json
import os
import socket
from pathlib import Path
from typing import Any

from wgpy.errors import HostError

_TIMEOUT = 60.0  # s; a change of passphrase takes its time, and large firewalls do


def ask(node: str, via: str | None = None, **request: str) -> dict[str, Any]:
    """One request to the crypto room of a running node, or at the console `via`. HostError with what it
    said."""
    if via is not None:
        from wgpy.cli.via import Via
        with Via(via, node) as console:
            return console.ask(request)
    from wgpy.node.keeper import run_dir
    answer = bytearray()
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(_TIMEOUT)
            s.connect(str(run_dir(node) / "admin.sock"))
            try:
                s.sendall(b"wgpy=1\n" + json.dumps(request).encode() + b"\n\n")
            except BrokenPipeError:
                pass  # turned away; the answer says so
            while not answer.endswith(b"\n\n") and (data := s.recv(65536)):
                answer += data
        said: object = json.loads(answer or b"{}")
        if not isinstance(said, dict):
            raise ValueError
    except (FileNotFoundError, ConnectionRefusedError):
        raise no_such(node) from None
    except (OSError, ValueError, RecursionError) as e:
        raise HostError(f"{node}: {getattr(e, 'strerror', None) or 'no answer'}") from None
    if said.get("errno") == errno.EACCES:
        raise HostError(f"{node}: only root and the group wgpy-admin may do that")
    if said.get("errno") != 0:
        raise HostError(f"{node}: {said.get('error', 'no answer')}")
    return said


def no_such(node: str) -> HostError:
    """What to raise for a node that is not up; tells somebody who named a tunnel."""
    from wgpy.cli import client
    from wgpy.config.values import INTERFACE_NAME
    if INTERFACE_NAME.match(node) and client.pid(node):
        return HostError(f"{node} is a tunnel, no node: wgpy show {node}, wgpy why {node}")
    return HostError(f"{node}: no such node is up")


def left() -> list[str]:
    """Nodes that are up and those whose supervisor crashed, as far as we may see."""
    from wgpy.node.keeper import run_dir
    try:
        return sorted(p.parent.name for p in run_dir("x").parent.glob("*/status.json"))
    except OSError:
        return []


def is_up(node: str) -> bool:
    """Whoever asks: to others than root a lock that they may not open says so."""
    from wgpy.node.keeper import holder
    try:
        return holder(node) is not None
    except PermissionError:  # the lock is root's: what the supervisor wrote may be read
        return True


def document(node: str | None, via: str | None = None) -> dict[str, Any]:
    """The status of a node, or of the only one that is up, with the firewalls' counters
    where we may read them; or of the one whose console is `via`. HostError."""
    if via is not None:
        from wgpy.cli.via import Via
        with Via(via, node) as console:
            return console.document()
    from wgpy.node.counters import firewall_counters
    from wgpy.node.keeper import run_dir
    if node is None:
        up = [name for name in left() if is_up(name)]
        if len(up) != 1:
            raise HostError("no node is up" if not up else f"which node? {', '.join(up)}")
        node = up[0]
    try:
        found = _said(node)
        found["time"] = (run_dir(node) / "status.json").stat().st_mtime
    except FileNotFoundError:
        raise no_such(node) from None
    if os.geteuid() == 0:
        found["firewall"] = firewall_counters(node)
    return found


def _said(node: str) -> dict[str, Any]:
    from wgpy.node.keeper import run_dir
    from wgpy.node.life import status
    if not is_up(node):
        raise no_such(node)
    try:
        return status(node)
    except PermissionError:  # as in is_up()
        document: dict[str, Any] = json.loads((run_dir(node) / "status.json").read_text())
        return document


def trail_of(node_or_file: str) -> list[Path]:
    """The files of an audit trail, the oldest first. HostError when there is none."""
    from wgpy.config.site import load
    from wgpy.node.keeper import run_dir
    from wgpy.node.state import state_dir
    from wgpy.node.trail import trails
    path = Path(node_or_file)
    if path.is_file() and path.suffix != ".toml":
        return [path]
    kept = run_dir(node_or_file) / "site.toml" if "/" not in node_or_file else path
    if path.is_file() or kept.is_file():
        directory = state_dir(load(str(path if path.is_file() else kept)))
    else:
        directory = Path(os.environ.get("WGPY_STATE_DIR", "/var/lib/wgpy")) / node_or_file
    found = [p for p in trails(directory) if p.exists()]
    if not found:
        raise HostError(f"{directory}: no audit log")
    return found
