"""What a guest of crypto has besides its room: keys that it opens and does not read, the pen of the
audit trail, and the console, at which alone it is administered."""

import logging
import os
from collections.abc import Callable, Sequence
from mmap import PAGESIZE
from pathlib import Path
from typing import Any

from wgpy.admin.console import Console
from wgpy.admin.faults import Fault
from wgpy.config import site as site_file
from wgpy.config.site_changes import fixed
from wgpy.config.site_model import Site
from wgpy.errors import HostError, WgpyError
from wgpy.guest.asking import Asking, Then
from wgpy.guest.commands import Commands
from wgpy.guest.disk import Disk
from wgpy.guest.roomfile import RoomFile
from wgpy.guest.side import Given, Side
from wgpy.guest.terminal import Terminal
from wgpy.guest.unlocking import Unlocking
from wgpy.isolate import kernel
from wgpy.loop import Loop
from wgpy.node.alarms import Alarms
from wgpy.node.clerk import Clerk
from wgpy.node.reload import Offer, Reload
from wgpy.node.room_process import RoomProcess, clean
from wgpy.node.timers import Timers
from wgpy.node.trail import Scribe
from wgpy.rooms.control import of_text

log = logging.getLogger(__name__)


class Inner(Side):
    """Of crypto. It is the host, too, of which a changed site file asks something: to keep the file."""

    def __init__(self, file: RoomFile, text: bytes, loop: Loop, timers: Timers):
        """WgpyError, OSError. `text`: of the image's site file."""
        self._loop, self._timers, self._file, self._of_image = loop, timers, file, text
        self._life = int.from_bytes(os.urandom(7), "little")  # of the guest, by which crypto knows its trail
        self._disk = Disk(file.state)
        self.trail = self._disk.trail
        self.text = self._disk.site(text)
        self._keys = _keys(file) | {"stamps": self._disk.stamps(), "unlocked": kernel.secret_memory("unlocked", PAGESIZE)}
        self._first_site = site_file.checked(self.text, str(file.site))
        self._unlocking: Unlocking | None = None
        if "store" in file.keys and "credential" not in file.keys:
            self._unlocking = Unlocking(loop, self._first_site.node.name, self._crypto_asks)
        self._terminal = Terminal(str(file.console), loop, timers) if file.console else None
        self._console: Console | None = None
        self._offered: bytes | None = None
        self._alarms = Alarms(lambda: self._alarms.tell(self._room))
        self.not_configured: Sequence[Fault] = ()

    def attach(self, room: RoomProcess) -> None:
        """The console opens before the room starts: it tells why it does not."""
        self._room = room
        self._asking = Asking(self._loop, room.send)
        self._reload = Reload(self._first_site, self._load, self, self.trail, room.send, self._taken, lambda: None)
        self._clerk = Clerk(room, Scribe(self.trail, self._timers.after, room.send), self._reload)
        if self._terminal is not None:
            self._open_console(self._terminal)

    def _open_console(self, terminal: Terminal) -> None:
        unlocking = self._unlocking
        table = Commands(self).table(unlocking.unlock if unlocking else lambda turn, words: turn.error("nothing asks for a passphrase"))

        def later(call: Callable[[], None]) -> None:
            def now() -> None:
                call()
                terminal.look()
            self._timers.after(0, now)
        self._console = console = Console(self.site.node.name, table, terminal.put, terminal.clear, later,
                                          lambda: unlocking is not None and unlocking.asking)
        terminal.opened, terminal.lost, terminal.drained = console.greet, console.hang_up, console.work
        terminal.heard, terminal.listens = console.feed, lambda: console.listens
        terminal.open()

    def give(self) -> Given:
        """With what opens the keys, and the pen's promise that there is a trail."""
        self._clerk.restarted()
        fds = {name: os.dup(fd) for name, fd in self._keys.items()} | {"site": of_text(self.text)}
        if self._unlocking is not None:
            fds["relay"] = self._unlocking.give()
        if self._file.state is not None:
            return {"audited": True}, fds
        return {"audited": True, "life": self._life}, fds | {"trail": self.trail.reading()}

    def heard(self, message: dict[str, Any]) -> None:
        """Readiness, the clerk's, and answers for the alarms."""
        if message.get("ready") is True and self._unlocking is not None:
            self._unlocking.ready()
        elif not self._clerk.heard(message) and "refused" in message:
            self._alarms.heard(self._room.name, clean(message))

    def look(self) -> None:
        """Asks what was refused, for the alarms."""
        self._alarms.ask(self._room)

    def ended(self) -> None:
        """Whoever waits for crypto hears so."""
        self._clerk.ended()
        if self._unlocking is not None:
            self._unlocking.ended(self._room.last_line)

    # what the commands need

    @property
    def site(self) -> Site:
        """The one that holds."""
        return self._reload.site

    def describe(self) -> dict[str, Any]:
        """The status document, in the form of status.json as far as one room knows it."""
        site, room = self.site, self._room
        return {"node": site.node.name, "mode": site.node.mode, "pid": os.getpid(), "up": room.state == "ready",
                "missing": [], "reloads": self._reload.facts, "not_configured": [f._asdict() for f in self.not_configured],
                "audit": self.trail.error, "alarms": self._alarms.facts(), "disk": self._disk.facts(),
                "asking": self._unlocking is not None and self._unlocking.asking,
                "rooms": {"crypto": {"state": room.state, "pid": room.pid, "restarts": max(room.restarts, 0),
                                     "status": room.status}}}

    def ask(self, request: dict[str, Any], then: Then) -> None:
        """Of crypto's gate. WgpyError when it cannot answer."""
        if self._room.state != "ready":
            waits = self._unlocking is not None and self._unlocking.asking
            raise WgpyError("the key store is locked: unlock it first" if waits else f"crypto is {self._room.state}")
        self._asking.ask(request, then)

    def reload(self, text: bytes, then: Then) -> None:
        """Through the gate, as any reload: crypto is written down to have asked, and asks for the text."""
        if self._offered is not None:
            raise WgpyError("another site file is being looked at")

        def answered(answer: dict[str, Any] | str) -> None:
            self._offered = None
            then(answer)
        self._offered = text
        try:
            self.ask({"cmd": "reload"}, answered)
        except WgpyError:
            self._offered = None
            raise

    # what a changed site file needs

    def _load(self) -> tuple[Site, bytes]:
        if self._offered is None:
            raise HostError("no site file was sent")
        return site_file.checked(self._offered, "FILE"), self._offered

    def check(self, site: Site) -> None:
        """HostError when it cannot hold, or cannot be kept."""
        if site.node.name != self.site.node.name:
            raise HostError(f"this is node {self.site.node.name}, the file is of {site.node.name}")
        if fixed(site) != fixed(self.site):
            raise HostError("mode, interfaces, MTU, port and wan.discovery change only when the guests start again")
        if self._offered is not None:
            self._disk.prepare(self._offered, self._of_image)

    def _taken(self, offer: Offer) -> None:
        self.text, reason = offer.text, self._disk.commit()
        self.not_configured = [Fault("crypto", "the site file on the disk", reason, True)] if reason else []

    def _crypto_asks(self) -> None:
        if self._console is not None:
            self._console.crypto_asks()


def _keys(file: RoomFile) -> dict[str, int]:
    """Descriptors that crypto opens its keys with, each opened and not read. A store that is not on the
    disk is part of the image: what is written there would be lost. HostError."""
    names = {"raw": "key", "store": "keys", "credential": "credential"}
    found = {}
    for kind, path in file.keys.items():
        kept = kind == "store" and file.state is not None and file.state.resolve() in Path(path).resolve().parents
        try:
            found[names[kind]] = os.open(path, (os.O_RDWR if kept else os.O_RDONLY) | os.O_CLOEXEC)
        except OSError as e:
            raise HostError(f"{path}: {e.strerror}") from None
    return found
