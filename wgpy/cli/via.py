"""The console of crypto's guest, for commands with --via SOCKET: docs/console.md. Whoever is behind the
socket may hang, be gone or answer nonsense: what is read is bounded, and waited for only so long."""

import base64
import binascii
import contextlib
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from wgpy.admin.console import MAX_ANSWER, VERSION
from wgpy.admin.typed import ANEW, INTERRUPT
from wgpy.errors import HostError

option = click.option("--via", metavar="SOCKET", help="Ask at the console of crypto's guest, which ends in this socket.")

_HELLO = 15.0     # s until it has answered
_PATIENCE = 120.0  # s for each line; a slow guest takes its time over a passphrase
_LINE = 1 << 16   # bytes
_NAME = 64


class Via:
    """A conversation, and a context that ends it. `node`: whose console it has to be, if that is known;
    `asks`: crypto waits for its passphrase."""

    def __init__(self, path: str, node: str | None = None):
        """HostError when nobody answers, or it is another node's."""
        self._path, self._in, self._read = path, bytearray(), 0
        _look(path)
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(_HELLO)
            self._socket.connect(path)
            self.node, self.asks = self._hello()
            if node not in (None, self.node):
                raise HostError(f"{path} is the console of node {self.node}, not of {node}")
        except OSError as e:
            self._socket.close()
            raise _refused(path, e) from None
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "Via":
        return self

    def __exit__(self, *_: object) -> None:
        """What is left is as if the terminal had just been opened."""
        with contextlib.suppress(OSError):
            self._socket.send(bytes([ANEW]))
        self._socket.close()

    def command(self, text: str, secrets: Iterable[bytes | bytearray] = (), lines: bytes = b"") -> list[str]:
        """The lines of the answer. `secrets` and `lines` are given where something is asked for, each with
        its turn. HostError with the reason it gives."""
        self._read, out, given = 0, [], iter([*secrets, *([lines] if lines else [])])
        try:
            self._socket.settimeout(_PATIENCE)
            self._socket.sendall(text.encode("ascii") + b"\n")
            while (line := self._line()) != "ok":
                if line.startswith("error: "):
                    raise HostError(f"{self.node}: {line.removeprefix('error: ')}")
                if line.startswith("? "):
                    wanted = next(given, None)
                    if wanted is None:
                        raise HostError(f"{self._path}: it asks for {line[2:]}")
                    self._socket.sendall(wanted)
                    self._socket.sendall(b"\n")
                elif line.startswith(" "):
                    out.append(line[1:])
        except TimeoutError:
            raise HostError(f"{self._path}: the guest does not answer any more") from None
        except OSError as e:
            raise HostError(f"{self._path}: {e.strerror or e}") from None
        return out

    def document(self) -> dict[str, Any]:
        """The status. HostError."""
        found = self._json(self.command("status json"))
        if not isinstance(found.get("rooms"), dict):
            raise HostError(f"{self._path}: no status")
        return found | {"time": time.time()}

    def reload(self, text: bytes) -> list[str]:
        """Sends a site file; what it says of it. HostError."""
        return self.command(f"reload base64 {len(text)} {hashlib.sha256(text).hexdigest()}", lines=base64.encodebytes(text) + b".")

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """A request of docs/administration.md that concerns keys. HostError."""
        match request:
            case {"cmd": "keys"}:
                return self._json(self.command("keys list json"))
            case {"cmd": "psk-remove", "name": name}:
                self.command(f"keys psk {_word(name)} remove")
            case {"cmd": "psk-set", "name": name, "key": key}:
                self.command(f"keys psk {_word(name)}", [key.encode()])
            case {"cmd": "psk-set", "name": name}:
                return {"key": self.command(f"keys psk {_word(name)} new")[0].partition(": ")[2]}
            case {"cmd": "passphrase-change", "old": old, "new": new}:
                self.command("keys passphrase hex", [binascii.hexlify(text.encode()) for text in (old, new)])
            case _:
                raise HostError(f"{request.get('cmd')} is not done at a console")
        return {}

    def _hello(self) -> tuple[str, bool]:
        """Skips what others left. HostError, OSError."""
        word, until = os.urandom(8).hex(), time.monotonic() + _HELLO
        self._socket.sendall(bytes([INTERRUPT]) + f"hello {word}\n".encode())
        while True:
            self._socket.settimeout(max(0.01, until - time.monotonic()))
            fields = self._line().split()
            if fields[:1] == ["wgpy"] and fields[4:] == [word]:
                break
        if fields[1] != str(VERSION):
            raise HostError(f"{self._path}: a console of version {fields[1]}, and {VERSION} is known here")
        while self._line() != "ok":
            pass
        return fields[2], fields[3] == "asks"

    def _line(self) -> str:
        """OSError; HostError for what is none."""
        while b"\n" not in self._in:
            data = self._socket.recv(65536)
            self._read += len(data)
            self._in += data
            if not data:
                raise HostError(f"{self._path}: the guest has ended, or somebody else took its console")
            if len(self._in) > _LINE + 65536 or self._read > 2 * MAX_ANSWER:
                raise HostError(f"{self._path}: not a console of wgpy")
        line, _, rest = self._in.partition(b"\n")
        self._in = rest
        return "".join(c if c.isprintable() else "?" for c in line.decode("ascii", "replace").rstrip("\r"))

    def _json(self, lines: list[str]) -> dict[str, Any]:
        try:
            found = json.loads("\n".join(lines))
            if isinstance(found, dict):
                return found
        except (ValueError, RecursionError):
            pass
        raise HostError(f"{self._path}: an answer that is none")


def _look(path: str) -> None:
    """HostError when somebody is there already: a second one would wait unseen (unix(7), /proc/net/unix)."""
    try:
        table = [line.split(maxsplit=7) for line in Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]]
    except OSError:
        return
    names = {path, os.path.abspath(path), os.path.realpath(path)}
    if any(len(fields) == 8 and fields[5] == "03" and fields[7] in names for fields in table):
        raise HostError(f"{path}: somebody is at this console already; it has one user at a time")


def _refused(path: str, e: OSError) -> HostError:
    if isinstance(e, TimeoutError):
        return HostError(f"{path}: nobody answers: somebody else is at this console, or its guest is not up yet")
    if isinstance(e, PermissionError):
        return HostError(f"{path}: only the owner of this socket may use the console")
    if isinstance(e, FileNotFoundError | ConnectionRefusedError):
        return HostError(f"{path}: no console is there: is the guest up?")
    return HostError(f"{path}: {e.strerror or e}")


def _word(name: str) -> str:
    if not (name.isascii() and name.isprintable() and name and " " not in name and len(name) <= _NAME):
        raise HostError(f"a console takes names of printable ASCII without blanks, at most {_NAME} characters")
    return name
