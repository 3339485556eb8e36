"""The supervisor of one node's three rooms: builds what they live in, starts them,
restarts what dies, reports. It runs as root and handles neither packets nor keys: it
makes the rings without mapping them and passes key descriptors on without reading."""

import heapq
import itertools
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from wgpy.admin.gate import admin_gid
from wgpy.config.site_changes import difference
from wgpy.config.site_model import Site
from wgpy.crypto import stamps
from wgpy.daemon.admin import Sockets, State, firewall_counters
from wgpy.daemon.alarms import Alarms
from wgpy.daemon.door import Door
from wgpy.daemon.liveness import LOOK
from wgpy.daemon.pumps import queues
from wgpy.daemon.supervisor_net import Namespaces, inside
from wgpy.daemon.supervisor_room import RoomProcess, clean
from wgpy.daemon.trail import Scribe
from wgpy.daemon.users import Users
from wgpy.errors import WgpyError
from wgpy.isolate import kernel
from wgpy.loop import READ, Loop
from wgpy.red import links
from wgpy.ring.backing import MemfdRing

log = logging.getLogger("wgpy")

ROOMS = ("crypto", "black", "red")
TICK = 2.0           # s between looks at the rooms
METRICS = 15.0       # s between two writings of metrics.prom
_SETTLE = 0.05       # s from a change of a link, or a start of a room, to acting on it
_REVIVE = 0.5        # s from then to asking again for what the interruption cost
_LINKS = 0x1
_NETWORK = _LINKS | 0x10 | 0x40 | 0x100 | 0x400  # and addresses and routes
_NEWLINK, _DELLINK = 16, 17
_RINGS = {"red-crypto": ("red", "crypto"), "crypto-black": ("crypto", "black"),
          "black-crypto": ("black", "crypto"), "crypto-red": ("crypto", "red")}


class Supervisor:
    """`credentials`: descriptors that crypto gets at each of its starts, by name.
    `on_ready()` is called once, when all rooms run; `on_failed(reason)` instead when a
    room ends before that. `load()` reads the site file anew (SIGHUP)."""

    def __init__(self, site: Site, text: bytes, run_dir: Path, *, credentials: dict[str, int] | None = None,
                 load: Callable[[], tuple[Site, bytes]] | None = None, state: State | None = None):
        self.site, self._text, self._run_dir, self._load = site, text, run_dir, load
        self.credentials = credentials or {}
        self._state, self._sockets, self._door = state, None, None
        self.loop, self.net = Loop(), Namespaces(site)
        self.on_ready: Callable[[], None] = lambda: None
        self.on_failed: Callable[[str], None] = lambda reason: None
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._rings: dict[str, MemfdRing] = {}
        self._stamps = os.memfd_create("stamps", os.MFD_CLOEXEC)  # crypto's own, across its restarts
        os.ftruncate(self._stamps, stamps.BYTES)
        self._monitors: list[socket.socket] = []
        self._where = links.Whereabouts()
        self._up = self._asked = self._stopping = self._looking = self._wan_runs = False
        self._written = ""
        self._offered: list[tuple[Site, bytes]] = []
        self._reloads = {"count": 0, "refused": ""}
        self._alarms = Alarms(self._alarmed)
        self._admin_gid = admin_gid()
        self._scribe = Scribe(state.trail, self.after, lambda m: self.rooms["crypto"].send(m)) if state else None
        self._users = Users(site.node.name)
        self.rooms = {name: RoomProcess(self.loop, name, self._users.as_user(name, give), self._message, self._ended)
                      for name, give in zip(ROOMS, (self._give_crypto, self._give_black, self._give_red))}
        self.loop.next_deadline = lambda: int(self._timers[0][0] * 1e9) if self._timers else None
        self.loop.on_deadline = self._run_timers

    # life

    def build(self) -> None:
        """Firewalls, routes, links, rings, then the rooms. WgpyError, OSError; nothing
        stays behind then but what a predecessor that crashed had left."""
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        try:
            self.net.build()
            for name in _RINGS:
                self._rings[name] = MemfdRing.create(name)
            self.net.ensure()
            for name in (self.net.black, self.net.red, None):
                self._monitor(name)
            self._door = Door(self.loop, self.rooms["crypto"].send, self._admin_gid, self._state and self._state.trail)
            self._sockets = Sockets(self.loop, self._run_dir, self.site.node.name, self._door.admit,
                                    lambda: self.describe() | {"firewall": firewall_counters(self.site.node.name)})
            for room in self.rooms.values():
                room.start()
        except BaseException:
            self.close()
            raise
        self.after(TICK, self._tick)
        self.after(LOOK, self._watch)
        self.after(METRICS, self._metrics)
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.on_signal(number, self._told)
        self.loop.on_signal(signal.SIGHUP, self.reload)

    def run(self) -> None:
        """Until stop(), SIGTERM or SIGINT."""
        self.loop.run()

    def stop(self) -> None:
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
        for opened in (self._sockets, self._door):
            if opened is not None:
                opened.close()
        self._users.close()
        for s in self._monitors:
            self.loop.forget(s.fileno())
            s.close()
        for ring in self._rings.values():
            ring.close()
        self._monitors, self._rings = [], {}
        back = self._asked or not (self._up or self.net.inherited)
        (self.net.remove if back else self.net.leave)()
        return back

    def _wait_for_rooms(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while any(r.pid for r in self.rooms.values()) and time.monotonic() < deadline:
            self.loop.turn(0.05)

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (_boottime() + seconds, next(self._order), call))

    def _run_timers(self) -> None:
        """One a turn: what a room said during a long one is heard before the next one
        asks whether it is silent."""
        if self._timers and self._timers[0][0] <= _boottime():
            heapq.heappop(self._timers)[2]()

    # what rooms get

    def _give_black(self) -> tuple[dict, dict[str, int]]:
        sockets = zip(("udp4", "udp6"), self.net.sockets.fds())
        return {}, self._ring_ends("black") | {"netns": self.net.open_in("black")} | {
            name: os.dup(fd) for name, fd in sockets if fd >= 0}

    def _give_red(self) -> tuple[dict, dict[str, int]]:
        tun = self.net.tun
        return ({"merge_tcp": tun.merge_tcp, "merge_udp": tun.merge_udp},
                self._ring_ends("red") | {"netns": self.net.open_in("red"), "tun": os.dup(tun.fd)})

    def _give_crypto(self) -> tuple[dict, dict[str, int]]:
        fds = self._ring_ends("crypto") | {"site": _descriptor(self._text)}
        fds |= {name: os.dup(fd) for name, fd in self.credentials.items()} | {"stamps": os.dup(self._stamps)}
        fds |= self._state.give() if self._state else {}
        if self._scribe:
            self._scribe.restarted()
        return {"aead": os.environ.get("WGPY_AEAD"), "queues": queues(), "admin_gid": self._admin_gid,
                "audited": self._state is not None}, fds

    def _ring_ends(self, room: str) -> dict[str, int]:
        fds: dict[str, int] = {}
        for name, (producer, consumer) in _RINGS.items():
            if room in (producer, consumer):
                ring = self._rings[name]
                ends = ring.producer_fds() if room == producer else ring.consumer_fds()
                fds |= dict(zip((f"ring.{name}.{part}" for part in ("own", "theirs", "data", "space")), ends))
        return fds

    # what rooms do

    def _message(self, room: RoomProcess, message: dict, fds: dict[str, int]) -> None:
        for fd in fds.values():
            os.close(fd)
        if "failed" in message:
            self._look_soon()
            room.kill()
        elif "pen" in message and room.name == "crypto" and self._scribe:
            self._write_down(message)
        elif message.get("reload") is True and room.name == "crypto":
            self.reload()
        elif room.name == "crypto" and isinstance(message.get("site"), str):
            self._take_over(clean(message["site"]))
        elif message.get("ready") is True:
            self._ready(room)
        elif "refused" in message:
            self._alarms.heard(room.name, clean(message))

    def _write_down(self, message: dict) -> None:
        self.rooms["crypto"].uncounted()  # the scribe counts them
        try:
            self._scribe.asked(message)
        except WgpyError as e:
            log.error("crypto: %s: killed", e)
            self.rooms["crypto"].kill()

    def _ready(self, room: RoomProcess) -> None:
        if room.name != "red" and self.rooms["crypto"].state == self.rooms["black"].state == "ready":
            self._connect(_SETTLE)
            self._connect(_REVIVE)
        if not self._up and all(r.state == "ready" for r in self.rooms.values()):
            self._up, self._wan_runs = True, self.net.wan_runs()
            self.write_status()
            self.on_ready()

    def _connect(self, seconds: float) -> None:
        """After a moment in which rings attach, or live sessions show that they live."""
        self.after(seconds, lambda: self.rooms["crypto"].send({"connect": True}))

    def _ended(self, room: RoomProcess) -> None:
        if self._stopping:
            return
        if not self._up:
            self.on_failed(room.last_line or f"{room.name} ended")
            self.stop()
            return
        while room.name == "crypto" and self._offered:
            self._take_over("crypto ended before it had read it")
        self.after(room.pause(), lambda: self._start(room))

    def _start(self, room: RoomProcess) -> None:
        if self._stopping or room.pid:
            return
        try:
            room.start()
        except (OSError, WgpyError) as e:
            log.error("cannot start %s: %s", room.name, e)
            self.after(room.pause(), lambda: self._start(room))

    def _reap(self) -> None:
        """Jailed processes whose waiting parent was killed come to us; rooms' own pidfds
        tell of the others."""
        try:
            while orphan := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if orphan.si_pid in [r.pid for r in self.rooms.values()]:
                    break
                os.waitpid(orphan.si_pid, 0)
        except ChildProcessError:  # none at all
            pass

    def _tick(self) -> None:
        self.after(TICK, self._tick)
        self._reap()
        self.write_status()
        for room in self.rooms.values():
            room.tick()

    def _watch(self) -> None:
        self.after(LOOK, self._watch)
        for room in self.rooms.values():
            room.look()
            self._alarms.ask(room)

    def _alarmed(self) -> None:
        """Nobody waits for the next time."""
        self.write_status()
        self._sockets.write_metrics()

    def _metrics(self) -> None:
        self.after(METRICS, self._metrics)
        self._sockets.write_metrics()

    # the network

    def _monitor(self, name: str | None) -> None:
        """Links, addresses and routes of a namespace are followed from outside; of the
        host's own (None) links, for a WAN or LAN that comes later."""
        with inside(name) if name else nullcontext():
            s = links.netlink_socket(_NETWORK if name else _LINKS)
        self._monitors.append(s)
        self.loop.watch(s.fileno(), READ, lambda _: self._network_event(s, name))

    def _network_event(self, s: socket.socket, name: str | None) -> None:
        happened = list(links.events(s))
        if {kind for kind, _ in happened} & {_NEWLINK, _DELLINK, links.LOST} and (name or self.net.missing()):
            self._look_soon()
        if name == self.net.black and self._up:
            ran, self._wan_runs = self._wan_runs, self.net.wan_runs()
            plugged = self._wan_runs and not ran
            moved = any([self._where.moved(*event) for event in happened]) or plugged
            self.rooms["crypto"].send({"network": "moved" if moved else "changed"})
            if plugged:
                self._connect(_REVIVE)

    def _look_soon(self) -> None:
        if not self._looking:
            self._looking = True
            self.after(_SETTLE, self._look)

    def _look(self) -> None:
        self._looking = False
        try:
            if self.net.ensure():
                log.warning("the tunnel interface was made anew")
                self.rooms["red"].kill()
        except (OSError, WgpyError) as e:
            log.error("network: %s", e)
            self.after(TICK, self._look_soon)

    def reload(self) -> None:
        """Takes over a changed site file, once the trail says so; peers that stay keep
        their sessions. Crypto is asked first: it may lack a key, and could not start again
        with such a file."""
        try:
            site, text = self._load()
            self.net.check(site)
            fd = _descriptor(text)
        except (OSError, WgpyError) as e:
            self._reloaded(str(e))
            return
        if refused := self._record("asked", **difference(self.site, site)):
            os.close(fd)
            self._reloaded(f"the audit trail cannot be written ({refused})", told=False)
            return
        self._offered.append((site, text))
        if not self.rooms["crypto"].send({"site": "changed"}, {"site": fd}):
            self._take_over()  # its next start reads it
        os.close(fd)

    def _take_over(self, refused: str = "") -> None:
        """What became of the site file that was offered first."""
        if not self._offered:
            return
        site, text = self._offered.pop(0)
        if not refused:
            self.site, self._text = site, text
            try:
                self.net.reload(site)
            except (OSError, WgpyError) as e:
                refused = str(e)
        self._reloaded(refused)

    def _record(self, result: str, **detail) -> str:
        """Of the site file; why it is not written down."""
        return self._state.trail.add("supervisor", "site file", result, **detail) if self._state else ""

    def _reloaded(self, refused: str, told: bool = True) -> None:
        if told:
            self._record(refused or "ok")
        if refused:
            log.error("the site file is not taken over: %s", refused)
        self._reloads = {"count": self._reloads["count"] + 1, "refused": refused}
        self.write_status()

    # what others see

    def describe(self) -> dict:
        return {"node": self.site.node.name, "mode": self.site.node.mode, "pid": os.getpid(),
                "up": self._up, "missing": self.net.missing(), "reloads": self._reloads,
                "audit": self._state.trail.error if self._state else "", "alarms": self._alarms.facts(),
                "rooms": {r.name: {"state": r.state, "pid": r.pid, "restarts": max(r.restarts, 0),
                                   "status": r.status} for r in self.rooms.values()}}

    def write_status(self) -> None:
        text = json.dumps(self.describe())
        if text == self._written:
            return
        fresh = self._run_dir / "status.json.new"
        try:
            fresh.write_text(text + "\n")
            fresh.replace(self._run_dir / "status.json")
            self._written = text
        except OSError as e:
            log.error("status.json: %s", e.strerror)


def _descriptor(text: bytes) -> int:
    fd = os.memfd_create("site", os.MFD_CLOEXEC)
    os.write(fd, text)
    return fd


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
