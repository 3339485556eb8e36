"""The supervisor's part of administration: it opens the key store for crypto, unread, and
accepts connections, see door.py. Metrics it serves itself, from the statuses that it has."""

import fcntl
import json
import logging
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from wgpy.admin import metrics, uapi_server
from wgpy.admin.uapi_server import socket_path
from wgpy.config.site_model import Site
from wgpy.daemon.supervisor_net import inside
from wgpy.daemon.trail import Trail
from wgpy.errors import HostError, WgpyError
from wgpy.isolate import nft
from wgpy.loop import READ, WRITE, Loop

log = logging.getLogger("wgpy")

KEYS = "keys.sealed"
_MAX_REQUEST = 4096
_MAX_SCRAPERS = 4
_FRESH = 1.0  # s for which a document is shown again


def state_dir(site: Site) -> Path:
    """Where a node keeps what must outlive it."""
    if base := os.environ.get("WGPY_STATE_DIR"):
        return Path(base) / site.node.name
    return Path(site.node.state or f"/var/lib/wgpy/{site.node.name}")


class State:
    """The open files of a node's state directory, as long as the supervisor lives."""

    def __init__(self, directory: Path):
        """HostError when there is no key store, or another process has it."""
        self.keys = open_keys(directory)
        self.trail = Trail(directory)

    def give(self) -> dict[str, int]:
        """New descriptors for a start of crypto."""
        return {"keys": os.dup(self.keys)}

    def close(self) -> None:
        os.close(self.keys)
        self.trail.close()


def open_keys(directory: Path) -> int:
    """The key store, locked for as long as the descriptor or a copy of it is open."""
    path = directory / KEYS
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise HostError(f"{path}: in use by a running node") from None
        return fd
    except FileNotFoundError:
        raise HostError(f"{path}: no key store: wgpy site seal FILE makes one") from None
    except OSError as e:
        raise HostError(f"{path}: {e.strerror}") from None


class Sockets:
    """admin.sock, the same under the name that wg(8) looks for, and metrics.sock."""

    def __init__(self, loop: Loop, run_dir: Path, node: str, admit: Callable[[socket.socket], None],
                 document: Callable[[], dict]):
        """`admit(connection)` takes over a connection to admin.sock. Raises OSError,
        HostError."""
        self._loop, self._document, self._fresh = loop, _now_and_then(document), document
        self._run_dir = run_dir
        self._open: list[tuple[socket.socket, Path]] = []
        self._scrapers: dict[int, socket.socket] = {}
        try:
            self._listen(run_dir / "admin.sock", 0o666, admit)
            self._listen(run_dir / "metrics.sock", 0o666, self._scrape)
        except (OSError, WgpyError):
            self.close()
            raise
        try:
            self._listen(Path(socket_path(node)), 0o666, admit)
        except (OSError, WgpyError) as e:
            log.warning("wg(8) will not find the node: %s", e)

    def close(self) -> None:
        for fd, s in list(self._scrapers.items()):
            self._drop(fd, s)
        for s, path in self._open:
            self._loop.forget(s.fileno())
            s.close()
            path.unlink(missing_ok=True)
        self._open = []
        (self._run_dir / "metrics.prom").unlink(missing_ok=True)

    def write_metrics(self) -> None:
        """For a textfile collector; replaced at once or not at all."""
        fresh = self._run_dir / "metrics.prom.new"
        try:
            fresh.write_text(metrics.text(self._fresh()))
            fresh.replace(self._run_dir / "metrics.prom")
        except OSError as e:
            log.error("metrics.prom: %s", e.strerror)

    def _listen(self, path: Path, mode: int, ready: Callable[[socket.socket], None]) -> None:
        s = uapi_server.listen(str(path))
        os.chmod(path, mode)
        self._open.append((s, path))
        self._loop.watch(s.fileno(), READ, lambda _: self._accept(s, ready))

    def _accept(self, listener: socket.socket, ready: Callable[[socket.socket], None]) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        ready(connection)

    # metrics over HTTP, one answer a connection

    def _scrape(self, connection: socket.socket) -> None:
        if len(self._scrapers) >= _MAX_SCRAPERS:
            self._drop(*next(iter(self._scrapers.items())))
        fd = connection.fileno()
        self._scrapers[fd] = connection
        request = bytearray()
        self._loop.watch(fd, READ, lambda _: self._read(fd, connection, request))

    def _read(self, fd: int, connection: socket.socket, request: bytearray) -> None:
        try:
            data = connection.recv(_MAX_REQUEST)
        except OSError:
            data = b""
        request += data
        if not data or len(request) > _MAX_REQUEST:
            self._drop(fd, connection)
        elif b"\r\n\r\n" in request or b"\n\n" in request:
            answer = bytearray(response(bytes(request), self._document))
            self._loop.watch(fd, WRITE, lambda _: self._write(fd, connection, answer))

    def _write(self, fd: int, connection: socket.socket, answer: bytearray) -> None:
        try:
            del answer[:connection.send(answer)]
        except BlockingIOError:
            return
        except OSError:
            answer.clear()
        if not answer:
            self._drop(fd, connection)

    def _drop(self, fd: int, connection: socket.socket) -> None:
        self._scrapers.pop(fd, None)
        self._loop.forget(fd)
        connection.close()


def _now_and_then(document: Callable[[], dict]) -> Callable[[], dict]:
    """Anybody on the host may scrape, and each time would cost two processes."""
    last: list = [-_FRESH, {}]

    def held() -> dict:
        if time.monotonic() - last[0] >= _FRESH:
            last[:] = time.monotonic(), document()
        return last[1]
    return held


def response(request: bytes, document: Callable[[], dict]) -> bytes:
    """To an HTTP request for /metrics or /; HTTP/1.0, the connection is closed after it."""
    words = request.split(b"\r\n")[0].split(b"\n")[0].split(b" ")
    status, body = "200 OK", ""
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        status = "400 Bad Request"
    elif words[0] not in (b"GET", b"HEAD"):
        status = "405 Method Not Allowed"
    elif words[1].partition(b"?")[0] not in (b"/", b"/metrics"):
        status = "404 Not Found"
    else:
        body = metrics.text(document())
    head = (f"HTTP/1.0 {status}\r\nContent-Type: {metrics.CONTENT_TYPE}\r\n"
            f"Content-Length: {len(body.encode())}\r\nConnection: close\r\n\r\n")
    return (head + ("" if words[0] == b"HEAD" else body)).encode()


def firewall_counters(node: str) -> dict[str, dict[str, int]]:
    """Packets of the named counters of black's and red's firewalls; root only. A room
    whose counters cannot be read is left out."""
    out = {}
    for room, table in (("black", nft.BLACK_TABLE), ("red", nft.RED_TABLE)):
        try:
            with inside(f"wgpy-{node}-{room}"):
                done = subprocess.run(["nft", "-j", "list", "counters"],
                                      capture_output=True, timeout=10, check=True)
            listed = [item["counter"] for item in json.loads(done.stdout)["nftables"] if "counter" in item]
            out[room] = {c["name"]: c["packets"] for c in listed if c["table"] == table}
        except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
            continue
    return out
