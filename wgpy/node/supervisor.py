"""The supervisor of one node's three rooms: builds what they live in, starts them,
restarts what dies. It runs as root and handles neither packets nor keys. What it is made
of: descriptors, what rooms are given; network, what happens to links; reload, a changed
site file; status, what others see."""

import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wgpy.admin.gate import admin_gid
from wgpy.config.site_model import Site
from wgpy.isolate import kernel
from wgpy.isolate.library import Library
from wgpy.loop import Loop
from wgpy.node.alarms import Alarms
from wgpy.node.clerk import Clerk
from wgpy.node.counters import firewall_counters
from wgpy.node.descriptors import Descriptors, Given
from wgpy.node.door import Door
from wgpy.node.liveness import LOOK
from wgpy.node.namespaces import Namespaces
from wgpy.node.network import Network
from wgpy.node.reload import Offer, Reload
from wgpy.node.room_process import RoomProcess, clean, reap
from wgpy.node.sockets import Sockets
from wgpy.node.state import State
from wgpy.node.status import Status
from wgpy.node.timers import Timers, try_start
from wgpy.node.trail import Scribe
from wgpy.node.users import Users

log = logging.getLogger(__name__)

TICK = 2.0           # s between looks at the rooms
METRICS = 15.0       # s between two writings of metrics.prom


class Supervisor:
    """`credentials`: descriptors that crypto gets at each of its starts, by name.
    `library`: of the suite that the site file names. `on_ready()` is called once, when all rooms run; `on_failed(reason)` instead when a
    room ends before that. `load()` reads the site file anew (SIGHUP)."""

    def __init__(self, site: Site, text: bytes, run_dir: Path, *, load: Callable[[], tuple[Site, bytes]],
                 credentials: dict[str, int] | None = None, state: State | None = None, library: Library | None = None):
        self.loop, self.net, name = Loop(), Namespaces(site), site.node.name
        self.timers = Timers(self.loop)
        self.on_ready: Callable[[], object] = lambda: None
        self.on_failed: Callable[[str], None] = lambda reason: None
        self._up = self._asked = self._stopping = False
        self._admin_gid = admin_gid()
        self._trail = state.trail if state else None
        self._users = Users(name)
        self._given = Descriptors(self.net, text, credentials or {}, state.give if state else dict, library)
        self.rooms = {room: RoomProcess(self.loop, room, self._users.as_user(room, give), self._message, self._ended)
                      for room, give in (("crypto", self._give_crypto), ("black", self._given.black), ("red", self._given.red))}
        self._crypto = self.rooms["crypto"]
        self._alarms = Alarms(self._alarmed)
        self._network = Network(self.loop, self.timers, self.net, self.rooms["red"].kill, self._alarmed)
        self._status = Status(run_dir, self.describe, lambda: {"firewall": firewall_counters(name)})
        self._reload = Reload(site, load, self.net, self._trail, self._crypto.send, self._taken, self._status.write)
        self._clerk = Clerk(self._crypto, Scribe(self._trail, self.timers.after, self._crypto.send) if self._trail else None,
                            self._reload)
        self._door = Door(self.loop, self._crypto.send, self._admin_gid, self._trail)
        self._sockets: Sockets | None = None
        self._run_dir = run_dir

    # life

    def build(self) -> None:
        """Firewalls, routes, links, rings, then the rooms. WgpyError, OSError; nothing
        stays behind then but what a predecessor that crashed had left."""
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        try:
            self.net.build()
            self._given.make_rings()
            self.net.ensure()
            self._network.watch()
            self._sockets = Sockets(self.loop, self._run_dir, self._reload.site.node.name, self._door.admit)
            for room in self.rooms.values():
                room.start()
        except BaseException:
            self.close()
            raise
        self.timers.every(TICK, self._tick)
        self.timers.every(LOOK, self._watch)
        self.timers.every(METRICS, self._show)
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.on_signal(number, self._told)
        self.loop.on_signal(signal.SIGHUP, self._reload.begin)

    def run(self) -> None:
        """Until stop(), SIGTERM or SIGINT."""
        self.loop.run()

    def stop(self) -> None:
        """run() returns; close() is the caller's to call."""
        self.loop.stop()

    def _told(self) -> None:
        self._asked = True
        self.stop()

    def close(self) -> bool:
        """Ends the rooms and takes everything down; whether WAN and LAN were given back.
        When the node was up and nobody told it to end, or a predecessor had left them
        inside, they stay there, closed. Idempotent."""
        self._stopping = True
        for room in self.rooms.values():
            if room.pid:
                room.state = "stopping"
                room.send({"stop": True})
        self._wait_for_rooms(1.0)
        for room in self.rooms.values():
            room.kill()
        self._wait_for_rooms(5.0)
        if self._sockets is not None:
            self._sockets.close()
        for part in (self._door, self._users, self._network, self._given, self._status):
            part.close()
        if self._asked or not (self._up or self.net.inherited):
            return not self.net.remove()
        self.net.leave()
        return False

    def _wait_for_rooms(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while any(r.pid for r in self.rooms.values()) and time.monotonic() < deadline:
            self.loop.turn(0.05)

    # what rooms do

    def _give_crypto(self) -> Given:
        self._clerk.restarted()
        return self._given.crypto(admin_gid=self._admin_gid, audited=self._trail is not None)

    def _message(self, room: RoomProcess, message: dict[str, Any], fds: dict[str, int]) -> None:
        for fd in fds.values():
            os.close(fd)
        if "failed" in message:
            self._network.look_soon()
            room.kill()
        elif room is self._crypto and self._clerk.heard(message):
            return
        elif message.get("ready") is True:
            self._ready(room)
        elif "refused" in message:
            self._alarms.heard(room.name, clean(message))

    def _ready(self, room: RoomProcess) -> None:
        if not self._up and all(r.state == "ready" for r in self.rooms.values()):
            self._up = True
            self._status.write()
            self.on_ready()

    def _taken(self, offer: Offer) -> None:
        self._given.text = offer.text
        self.net.reload(offer.site)
        self._network.look()

    def _ended(self, room: RoomProcess) -> None:
        if self._stopping:
            return
        if not self._up:
            self.on_failed(room.last_line or f"{room.name} ended")
            self.stop()
            return
        if room is self._crypto:
            self._clerk.ended()
        self.timers.after(room.pause(), lambda: self._start(room))

    def _start(self, room: RoomProcess) -> None:
        try_start(self.timers, room.name, room, lambda: self._stopping)

    # from time to time

    def _tick(self) -> None:
        self._network.tick()
        reap([r.pid for r in self.rooms.values()])
        self._status.write()
        for room in self.rooms.values():
            room.tick()

    def _watch(self) -> None:
        for room in self.rooms.values():
            room.look()
            self._alarms.ask(room)

    def _alarmed(self) -> None:
        """Nobody waits for the next time."""
        self._status.write()
        self._show()
        self._alarms.tell(self._crypto)

    def _show(self) -> None:
        if self._sockets is not None:
            self._sockets.tick()
        self._status.write_metrics()

    def describe(self) -> dict[str, Any]:
        """The document of status.json."""
        node = self._reload.site.node
        refused = self._sockets.faults if self._sockets else []
        return {"node": node.name, "mode": node.mode, "pid": os.getpid(),
                "up": self._up, "missing": self.net.missing(), "reloads": self._reload.facts,
                "not_configured": [f._asdict() for f in self.net.not_configured + refused],
                "audit": self._trail.error if self._trail else "", "alarms": self._alarms.facts(),
                "rooms": {r.name: {"state": r.state, "pid": r.pid, "restarts": max(r.restarts, 0),
                                   "status": r.status} for r in self.rooms.values()}}
