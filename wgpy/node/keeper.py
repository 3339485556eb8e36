"""The process that keeps a node up, whatever the node's rooms are: its directory under /run/wgpy, its
lock, its way into the background, its end. WGPY_RUN_DIR moves the directory."""

import fcntl
import logging
import logging.handlers
import os
import re
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from wgpy import logs
from wgpy.errors import HostError, WgpyError

log = logging.getLogger(__name__)

_READY = b"\0"
Ready = Callable[[str], None]  # called when the node is up, with what it is without, or ""
_STOP_SECONDS = 15
_LOOK_SECONDS = 2.0
_LOG_BYTES = 1 << 20


def run_dir(name: str) -> Path:
    """Of a node, while it is up: its lock, status, metrics and sockets."""
    return Path(os.environ.get("WGPY_RUN_DIR", "/run/wgpy")) / name


class Lock:
    """Held for as long as a supervisor lives; the file bears its process number."""

    def __init__(self, name: str):
        """Raises HostError when somebody else holds it for longer than a look at it, see
        holder(), takes."""
        directory = run_dir(name)
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + _LOOK_SECONDS
        while not self._taken():
            if time.monotonic() > until:
                os.close(self._fd)
                raise HostError(f"node {name} is up already")
            time.sleep(0.01)

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def write_pid(self) -> None:
        """For holder(), once the node is this process's."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        """The lock goes with the last copy of its descriptor."""
        os.close(self._fd)


def holder(name: str) -> int | None:
    """Process number of the node's supervisor, None when there is none."""
    try:
        with open(run_dir(name) / "lock") as f:
            try:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(f.read() or 0) or None
    except (FileNotFoundError, ValueError):
        pass
    return None


def background(serve: Callable[[Ready], None], name: str, log_file: Path, lock: Lock) -> str:
    """Runs serve(ready) in a process of its own, which logs to a file; what it said when it was ready.
    `lock` goes over to it. HostError with the reason when it ended before."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _child(serve, log_file, name, writer)
    os.close(writer)
    lock.close()
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    if not said.startswith(_READY):
        os.waitpid(child, 0)
        raise HostError(said.decode(errors="replace") or "the supervisor ended")
    return said.removeprefix(_READY).decode(errors="replace")


def _child(serve: Callable[[Ready], None], log_file: Path, name: str, writer: int) -> None:
    def ready(fault: str) -> None:
        os.write(writer, _READY + fault.encode())
        os.close(writer)

    status = 1
    try:
        os.setsid()
        os.chdir("/")
        _log_to(log_file, name)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        serve(ready)
        status = 0
    except (WgpyError, OSError) as e:
        log.error("%s", e)
        try:
            os.write(writer, str(e).encode())
        except OSError:  # it was up, and nobody waits any more
            pass
    except BaseException:
        log.exception("internal error")
    finally:
        os._exit(status)


def _log_to(path: Path, name: str) -> None:
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1)
    logs.begin(handler, name)


def end(pid: int, name: str) -> None:
    """SIGTERM, and SIGKILL when that does not help; returns when the lock is free."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(fd, signal.SIGTERM)
        if not select.select([fd], [], [], _STOP_SECONDS)[0]:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
            log.warning("%s: the supervisor did not end in %d s: killed", name, _STOP_SECONDS)
            select.select([fd], [], [], 5)
    finally:
        os.close(fd)
    while holder(name) == pid:
        time.sleep(0.02)


def check_name(name: str) -> None:
    """HostError for what can be no node's."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,14}", name):
        raise HostError(f"{name[:40]!r} is neither a node nor a file")


def need_root() -> None:
    """HostError."""
    if os.geteuid() != 0:
        raise HostError("an encryptor needs root: run it with sudo")


def tell_systemd(_fault: str) -> None:
    """sd_notify(3); what the node is without stands in the log already."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.connect("\0" + address[1:] if address[0] == "@" else address)
            s.send(b"READY=1")
    print("ready", file=sys.stderr)
