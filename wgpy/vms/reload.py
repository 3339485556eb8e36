"""A changed site file for guests that run, from `wgpy vms reload` to the last guest that has it.

It is looked at as a whole, then offered to crypto at its console. Only what crypto has taken goes to black and red:
a guest of theirs starts again when what it has to carry out is something else than before. A request is the file in
base64 and a blank line; answers are objects of JSON, each with a blank line: `say` for a person, any number of
them, and at last `error`, empty when all was done.
"""

import base64
import binascii
import json
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from wgpy.admin.clients import Client, Clients
from wgpy.admin.faults import TAKEN_BUT
from wgpy.config.site import MAX_FILE, checked
from wgpy.config.site_changes import fixed
from wgpy.config.site_model import Site
from wgpy.errors import HostError, WgpyError
from wgpy.firewall import rules
from wgpy.isolate import start
from wgpy.loop import READ, Loop
from wgpy.node import links
from wgpy.node.timers import Timers
from wgpy.rooms.control import of_text
from wgpy.vms import beside
from wgpy.vms.guest import Guest

log = logging.getLogger(__name__)

RELOAD = "reload.sock"  # in the directory of the guests
READY_SECONDS = 300.0  # within which a guest that starts again is ready, on the slowest host
_OUTER = ("black", "red")
_LONGEST = MAX_FILE * 3 // 2  # bytes of a request


class Node(Protocol):
    """As much of the supervisor as this needs."""
    loop: Loop
    timers: Timers
    site: Site
    guests: dict[str, Guest]
    up: bool

    @property
    def console(self) -> Path:
        """Crypto's, a socket."""

    def ramdisks(self, site: Site, text: bytes) -> dict[str, int]:
        """Each guest's, with another site file: new descriptors. WgpyError, OSError."""

    def take(self, site: Site, ramdisks: dict[str, int]) -> None:
        """From now on guests start with these."""

    def restart(self, room: str) -> None:
        """Ends the guest if it runs; it starts again."""


class _Change:
    """One that is under way."""

    def __init__(self, client: Client[None], site: Site, ramdisks: dict[str, int]):
        self.client, self.site, self.ramdisks = client, site, ramdisks
        self.awaited: dict[str, int] = {}  # by room: the restart in which it has the file
        self.faults: list[str] = []


class Reload:
    """Listens at `path` for root alone."""

    def __init__(self, node: Node, path: Path):
        """OSError."""
        self._node, self._path = node, path
        self._change: _Change | None = None
        self._clients: Clients[None] = Clients(node.loop, self._asked, lambda begin: True, long=_LONGEST, longest=_LONGEST)
        self._listener = socket.socket(socket.AF_UNIX)
        listen(self._listener, path)
        self._listener.setblocking(False)
        node.loop.watch(self._listener.fileno(), READ, lambda _: self._clients.accept(self._listener, None))

    def close(self) -> None:
        """Whoever waits sees the connection end."""
        self._node.loop.forget(self._listener.fileno())
        self._clients.close()
        self._listener.close()
        self._path.unlink(missing_ok=True)
        if self._change is not None:
            _close(self._change.ramdisks)

    def changed(self, guest: Guest) -> None:
        """A guest's state is another one."""
        change = self._change
        if change is None or guest.restarts < change.awaited.get(guest.room, guest.restarts + 1):
            return
        if guest.state == "ready":
            self._say(change, f"{guest.room}: ready with the file")
        elif guest.state == "stopped":
            change.faults.append(f"{guest.room} ended: {guest.last_line or 'it said nothing'}")
        else:
            return
        del change.awaited[guest.room]
        self._look(change)

    def _asked(self, client: Client[None], block: bytes) -> str | None:
        if self._change is not None:
            return _answer(error="another site file is being taken over")
        ramdisks: dict[str, int] = {}
        try:
            text = base64.b64decode(block, validate=True)
            site = checked(text, "FILE")
            self._possible(site)
            ramdisks = self._node.ramdisks(site, text)
            self._offer(_Change(client, site, ramdisks), text)
        except (OSError, WgpyError, binascii.Error) as e:
            _close(ramdisks)
            return _answer(error=f"{e}; nothing has changed")
        return None

    def _possible(self, site: Site) -> None:
        """HostError when it could not hold."""
        now = self._node.site
        if site.node.name != now.node.name:
            raise HostError(f"this is node {now.node.name}, the file is of {site.node.name}")
        if site.suite is not None:
            raise HostError("[suite]: guests have WireGuard's suite only")
        if (fixed(site), site.wan.mtu) != (fixed(now), now.wan.mtu):
            raise HostError("mode, interfaces, MTU, port and wan.discovery change only by wgpy vms down and up")
        if not self._node.up:
            raise HostError("the node is not up yet")
        if (state := self._node.guests["crypto"].state) != "ready":
            raise HostError("crypto waits for its passphrase" if state == "asking" else f"crypto's guest is {state}")

    def _offer(self, change: _Change, text: bytes) -> None:
        fd = of_text(text)
        try:
            beside.run(self._node.loop, self._node.timers,
                       start.python("wgpy.cli", "node", "reload", f"/proc/self/fd/{fd}", "--via", self._node.console),
                       lambda status, said: self._crypto_said(change, status, said), [fd])
        finally:
            os.close(fd)
        self._change = change

    def _crypto_said(self, change: _Change, status: int, said: str) -> None:
        if self._change is not change:  # closed
            return
        before, after = self._node.site, change.site
        said = said.removeprefix("wgpy: ")
        its_own = said.startswith(f"{before.node.name}: ")
        reason = said.removeprefix(f"{before.node.name}: ") or "no reason"
        if status and not (its_own and reason.startswith(TAKEN_BUT)):
            _close(change.ramdisks)
            return self._end(change, f"crypto refuses it: {reason}; nothing has changed" if its_own else
                             f"crypto has not said that it took it: {reason}; black and red keep the file that they have")
        if status:
            change.faults.append(f"crypto: {reason}")
        self._node.take(after, change.ramdisks)
        change.ramdisks = {}
        self._say(change, "crypto: has taken the file")
        for room in _OUTER:
            if self._node.guests[room].state == "ready" and carried(room, before) == carried(room, after):
                self._say(change, f"{room}: does with it what it did, and goes on")
                continue
            self._say(change, f"{room}: starts again")
            change.awaited[room] = self._node.guests[room].restarts + 1
            self._node.restart(room)
        self._node.timers.after(READY_SECONDS, lambda: self._late(change))
        self._look(change)

    def _late(self, change: _Change) -> None:
        if self._change is not change:
            return
        for room in change.awaited:
            last = self._node.guests[room].last_line or "none"
            change.faults.append(f"{room} is not ready after {READY_SECONDS:.0f} s; its last line: {last}")
        change.awaited = {}
        self._look(change)

    def _look(self, change: _Change) -> None:
        if change.awaited:
            return
        if (state := self._node.guests["crypto"].state) != "ready":
            change.faults.append(f"crypto's guest is {state}")
        self._end(change, f"crypto has taken it, but {'; '.join(change.faults)}" if change.faults else "")

    def _say(self, change: _Change, text: str) -> None:
        log.info("changed site file: %s", text)
        change.client.answer(_answer(say=text))

    def _end(self, change: _Change, error: str) -> None:
        self._change = None
        if error:
            log.error("changed site file: %s", error)
        change.client.answer(_answer(error=error))


def carried(room: str, site: Site) -> tuple[object, ...]:
    """All that black's or red's guest does of a site file, but what is fixed while it runs."""
    made, lines = (rules.black_rules, links.black) if room == "black" else (rules.red_rules, links.red)
    return made(site), links.refusing(site), lines(site, True, {4, 6})


def ask(path: Path, text: bytes, say: Callable[[str], None]) -> None:
    """Of the supervisor that listens at `path`, and waits: `say(text)` hears what is done. HostError with what was not."""
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(path))
            s.sendall(base64.b64encode(text) + b"\n\n")
            with s.makefile("rb") as answers:
                for line in answers:
                    said = json.loads(line) if line.strip() else {}
                    if "say" in said:
                        say(said["say"])
                    elif said.get("error"):
                        raise HostError(said["error"])
                    elif said:
                        return
    except OSError as e:
        raise HostError(f"{path}: {e.strerror or e}") from None
    raise HostError("the supervisor ended before all guests had the file")


def listen(listener: socket.socket, path: Path) -> None:
    """For this process's user alone. OSError."""
    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(1)


def _answer(**fields: str) -> str:
    return json.dumps(fields) + "\n\n"


def _close(ramdisks: dict[str, int]) -> None:
    for fd in ramdisks.values():
        os.close(fd)
