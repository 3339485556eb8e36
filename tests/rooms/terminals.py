"""The console of a guest of crypto without a guest: a pseudo terminal in place of its port, and a
socket that passes on one user at a time, as QEMU's does."""

import base64
import json
import os
import pty
import select
import socket
import threading
import time
from pathlib import Path

from wgpy.crypto.keystore import FileSlot, KeyStore, blank
from wgpy.crypto.sealed import Cost, Document

SECRET = b"correct horse"
OTHER_KEY = base64.b64encode(bytes(range(1, 33))).decode()
NEW_SITE = f"""[[site]]
name = "puno"
public_key = "{OTHER_KEY}"
networks = ["10.77.0.0/24"]
"""


def sealed(path, private, floor=0):
    """A key store whose opening is quick."""
    with open(path, "x+b") as f:
        f.write(blank())
        f.flush()
        document = Document()
        document.private_key, document.floor = bytearray(private), floor
        KeyStore.create(FileSlot(f.fileno()), bytearray(SECRET), document, Cost(1, 8 << 10)).close()


def opened(state):
    with open(state / "keys.sealed", "rb") as f:
        return KeyStore.open(FileSlot(f.fileno()), bytearray(SECRET))


def room_file(directory, *, disk=True):
    state = f'[state]\ndir = "{directory}/state"\n' if disk else ""
    return f'{state}[keys]\nstore = "{directory}/state/keys.sealed"\n[console]\ntty = "{directory}/console"'


def site_text(node, more=""):
    return (node.directory / f"{node.name}.toml").read_text() + more


class Port:
    """A terminal at `path`; what is typed and shown is bytes. It can be taken away and come back."""

    def __init__(self, path: Path):
        self.path, self.master, self.shown = path, -1, b""
        self.plug()

    def plug(self) -> None:
        self.master, slave = pty.openpty()
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(slave))
        self._slave = slave  # the room side is not there yet: without it the master would read EIO

    def unplug(self) -> None:
        for fd in (self.master, self._slave):
            if fd >= 0:
                os.close(fd)
        self.master = self._slave = -1

    def type(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.master, data[:1000]):]

    def until(self, wanted: bytes, seconds: float = 120) -> bytes:
        """What is shown up to `wanted`, which has to come."""
        end = time.monotonic() + seconds
        while wanted not in self.shown:
            ready, _, _ = select.select([self.master], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no {wanted!r} after {self.shown[-2000:]!r}"
            self.shown += os.read(self.master, 65536)
        before, _, self.shown = self.shown.partition(wanted)
        return before + wanted

    def unlock(self) -> None:
        """As a person who is asked, of node a."""
        self.until(b"passphrase of node a: ")
        self.type(SECRET + b"\r")
        assert self.answer()[1] == "ok"

    def said(self, command: bytes) -> tuple[list[str], str]:
        """The answer to a command: its lines, and how it ended."""
        self.type(command + b"\r")
        return self.answer()

    def answer(self) -> tuple[list[str], str]:
        lines: list[str] = []
        while True:
            line = self.until(b"\r\n").decode().rstrip("\r\n")
            if line == "ok" or line.startswith("error: "):
                return lines, line
            lines += [line[1:]] if line.startswith(" ") else []

    def status(self) -> dict:
        """Of the node, as crypto tells it."""
        lines, end = self.said(b"status json")
        assert end == "ok", end
        return json.loads("\n".join(lines))


class Socket:
    """A socket of mode 0600 in front of a port; whoever comes second waits."""

    def __init__(self, path: Path, port: Port):
        self._port, self._stop = port, os.pipe()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        os.write(self._stop[1], b"x")
        self._thread.join(10)
        for fd in self._stop:
            os.close(fd)
        self._listener.close()

    def _serve(self) -> None:
        user: socket.socket | None = None
        while True:
            ends = [self._stop[0], self._port.master, user if user is not None else self._listener]
            ready, _, _ = select.select(ends, [], [])
            if self._stop[0] in ready:
                if user is not None:
                    user.close()
                return
            if user is None and self._listener in ready:
                user, _ = self._listener.accept()
                continue
            if self._port.master in ready:
                data = os.read(self._port.master, 65536)
                if user is not None:  # nobody is there: it is lost
                    try:
                        user.sendall(data)
                    except OSError:
                        pass
            if user is not None and user in ready:
                try:
                    data = user.recv(65536)
                except OSError:
                    data = b""
                if data:
                    self._port.type(data)
                else:
                    user.close()
                    user = None
