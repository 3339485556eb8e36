"""One node on this host: its directory under /run/wgpy, its lock, its life from `up` to
`down`. WGPY_RUN_DIR moves the directory."""

import fcntl
import json
import logging
import logging.handlers
import os
import re
import select
import signal
import socket
import sys
import time
from pathlib import Path

from wgpy.config import site as site_file
from wgpy.config.site_model import Site
from wgpy.daemon import credentials as credential
from wgpy.daemon.admin import KEYS, State, state_dir
from wgpy.daemon.supervisor import Supervisor
from wgpy.daemon.supervisor_net import Namespaces
from wgpy.errors import ConfigError, HostError, WgpyError

log = logging.getLogger("wgpy")

_READY = b"\0"
_STOP_SECONDS = 15
_LOOK_SECONDS = 0.3
_LOG_BYTES = 1 << 20
_SAID = "status.json", "status.json.new"


def run_dir(name: str) -> Path:
    return Path(os.environ.get("WGPY_RUN_DIR", "/run/wgpy")) / name


def load(path: str) -> tuple[Site, bytes]:
    """The checked site of a file and the file's bytes. ConfigError, OSError."""
    data = Path(path).read_bytes()
    site, errors, _ = site_file.parse_bytes(data, str(path))
    if site is None:
        first = errors[0]
        more = f" (and {len(errors) - 1} more: wgpy site check {path})" if len(errors) > 1 else ""
        raise ConfigError(first.message + more, source=first.source, line=first.line, key=first.key)
    return site, data


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
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def close(self) -> None:
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


def up(path: str, *, foreground: bool = False, credentials: dict[str, int] | None = None,
       unlock: str | None = None) -> None:
    """`unlock`: file of the credential; without it, or `credentials`, systemd's or the
    terminal's passphrase opens the key store. Returns when the three rooms run and the
    firewalls are in place; in the foreground, when the node has come down. WgpyError,
    OSError."""
    _need_root()
    site, text = load(path)
    lock = Lock(site.node.name)
    if not credentials:
        if not (state_dir(site) / KEYS).exists():
            raise HostError(f"{site.node.name} has no keys yet: wgpy site seal {path}")
        credentials = credential.find(site.node.name, unlock)
    path = os.path.abspath(path)
    if foreground:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s: %(message)s")
        _serve(path, site, text, lock, credentials, _notify_systemd)
        return
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _child(lambda ready: _serve(path, site, text, lock, credentials, ready), site.node.name, writer)
    os.close(writer)
    lock.close()
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    if said != _READY:
        os.waitpid(child, 0)
        raise HostError(said.decode(errors="replace") or "the supervisor ended")


def down(name_or_path: str) -> str:
    """The node's name, when nothing of it is left; also cleans up after a supervisor
    that crashed. WgpyError."""
    _need_root()
    site = None
    if os.path.isfile(name_or_path):
        site, _ = load(name_or_path)
    name = site.node.name if site else name_or_path
    _check_name(name)
    pid = holder(name)
    if pid is not None:
        _end(pid, name)
    kept = run_dir(name) / "site.toml"
    if kept.exists():
        site, _ = load(str(kept))
    if site is not None:
        lock = Lock(name)
        Namespaces(site).remove()
        _forget(name)
        lock.close()
    elif pid is None:
        raise HostError(f"{name}: no such node is up")
    return name


def status(name: str) -> dict:
    """What the supervisor last wrote. HostError when the node is not up."""
    _check_name(name)
    if holder(name) is not None:
        try:
            return json.loads((run_dir(name) / "status.json").read_text())
        except (OSError, ValueError):
            pass
    raise HostError(f"{name}: no such node is up")


def _serve(path: str, site, text: bytes, lock: Lock, credentials, ready) -> None:
    name = site.node.name
    directory = run_dir(name)
    lock.write_pid()
    _forget(name)  # what a predecessor that crashed said
    fresh = directory / "site.toml.new"
    fresh.write_bytes(text)
    fresh.replace(directory / "site.toml")
    failed: list[str] = []
    state = None if "key" in credentials else State(state_dir(site))
    supervisor = Supervisor(site, text, directory, credentials=credentials, load=lambda: load(path), state=state)
    supervisor.on_ready, supervisor.on_failed = ready, failed.append
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


def _child(serve, name: str, writer: int) -> None:
    status = 1
    try:
        os.setsid()
        os.chdir("/")
        _log_to(run_dir(name) / "log")
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        serve(lambda: (os.write(writer, _READY), os.close(writer)))
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


def _log_to(path: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", handlers=[handler],
                        force=True)


def _end(pid: int, name: str) -> None:
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


def _forget(name: str, *files: str) -> None:
    """`files`, or all of them."""
    for file in files or (*_SAID, "site.toml", "site.toml.new"):
        (run_dir(name) / file).unlink(missing_ok=True)


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,14}", name):
        raise HostError(f"{name[:40]!r} is neither a node nor a file")


def _need_root() -> None:
    if os.geteuid() != 0:
        raise HostError("an encryptor needs root: run it with sudo")


def _notify_systemd() -> None:
    """sd_notify(3)."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.connect("\0" + address[1:] if address[0] == "@" else address)
            s.send(b"READY=1")
    print("ready", file=sys.stderr)
