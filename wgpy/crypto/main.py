"""The crypto room: the keys, the protocol core and the plane between four rings. It has
no socket, no interface and no file; what it knows came over its channel."""

import logging
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from wgpy._fast.plane import Plane
from wgpy._fast.ports import Pump
from wgpy.admin.gate import Gate, Who
from wgpy.admin.pen import Pen
from wgpy.config import site as site_file
from wgpy.config.model import SetRequest
from wgpy.config.site_changes import stays
from wgpy.config.site_model import Site, SuiteSizes
from wgpy.constants import PLANE_PEERS, PLANE_PREFIXES
from wgpy.crypto import report
from wgpy.crypto.clock import now
from wgpy.crypto.commands import Administration, Reloads
from wgpy.crypto.deposit import Deposit
from wgpy.crypto.engine import Engine
from wgpy.crypto.keys import Keys
from wgpy.crypto.library import load
from wgpy.crypto.neighbours import Neighbours
from wgpy.crypto.pieces import Sealer
from wgpy.crypto.sites import request
from wgpy.crypto.stamps import Stamps
from wgpy.crypto.unlock import Kept
from wgpy.errors import WgpyError
from wgpy.isolate import jail
from wgpy.loop import READ, Loop
from wgpy.protocol.device import Device
from wgpy.protocol.messages import Layout
from wgpy.ring.backing import Doorbell
from wgpy.ring.lane import Listener, Speaker
from wgpy.rooms.control import Channel
from wgpy.rooms.pumproom import PumpRoom, joined
from wgpy.suite import registry

log = logging.getLogger(__name__)


class Room(PumpRoom):
    """options: aead, queues; admin_gid, the administrators' group, and `audited`, whether there is
    administration at all. Descriptors: `site`, the site file's text; `suite`, its
    library, if it names one; the rings and lanes; those of Keys. Where it has no disk: life, of its guest,
    a random number, and the descriptor `trail`, of the trail, to be read.

    `requests` maps the first key of a message of the supervisor to what is done with it
    and with its descriptors, by name; what is left of those is closed. `keys`, `device` and
    `engine` are there when start() has returned."""

    OUTSIDE = "open"

    def __init__(self, channel: Channel, options: dict[str, Any], fds: dict[str, int]):
        super().__init__(channel)
        self.options, self.fds = options, fds
        self._text, self.library = fds.pop("site"), fds.pop("suite", None)
        self._black, self._red = (joined("crypto", other, options, fds) for other in ("black", "red"))
        self.loop = Loop()
        self.requests: dict[str, Callable[[dict[str, Any], dict[str, int]], None]] = {
            "ask": lambda message, _: self.answer(message["ask"]), "site": self._new_site,
            "admin": self._admit, "pen": lambda message, _: self.pen.answered(message), "alarms": self._alarmed,
            "reloaded": lambda message, _: self.reloads.answered(message)}
        self.alarms: dict[str, Any] = {}  # of the node, as the supervisor judges
        self.pen, self.reloads = Pen(channel.send), Reloads(channel.send)
        self.gate: Gate | None = None
        self._trail: int | None = fds.pop("trail", None)
        self.deposit: Deposit | None = None

    def as_root(self) -> None:
        """Locked memory is limited for others."""
        self._kept = Kept(self.fds.pop("unlocked", None))
        self._stamps = Stamps(self.fds.pop("stamps", None))

    def load(self) -> None:
        """The suite, without which nothing else can be read: a library that is refused is the
        room's end, never another suite's beginning."""
        suite = None
        if self.library is not None:
            jail.before_foreign_code()
            suite = load(self.library)
        self.suite = suite or registry.get()
        self.sizes = SuiteSizes(self.suite.public_size, Layout(self.suite).overhead)
        self.site = self.read(self._text)
        if (self.site.suite is None) != (suite is None):
            raise WgpyError("suite: the site file and what the room was given are not of one mind")

    def read(self, fd: int) -> Site:
        """The site file in `fd`, which is closed. ConfigError with its first error."""
        with os.fdopen(fd, "rb") as f:
            f.seek(0)
            return self.parsed(f.read(site_file.MAX_FILE + 1))[0]

    def parsed(self, text: bytes) -> tuple[Site, list[str]]:
        """With its warnings. ConfigError with the first error."""
        site, errors, warnings = site_file.parse_bytes(text, "site", self.sizes)
        return site_file.good(site, errors, "site"), warnings

    def start(self) -> None:
        """Keys are read here, in the jailed process: its waiting parent never had them."""
        if self._kept.empty and {"tty", "relay"} & self.fds.keys():
            self.channel.send({"asking": True})
        self.keys = Keys(self.fds, self._kept, self.site.node.name, self.suite.private_size)
        queues = range(self.options.get("queues", 1))
        plane = Plane(max_peers=PLANE_PEERS, max_prefixes=PLANE_PREFIXES, queues=len(queues), aead=self.options.get("aead"),
                      suite=self.suite.table)
        self.device = Device(self.suite, os.urandom)
        self.device.timestamp_floor = self.keys.floor
        self.engine = Engine(self.device, plane, max_peers=PLANE_PEERS, max_prefixes=PLANE_PREFIXES)
        red = {"datagrams": False}  # packets from red must not choose where datagrams go
        black = {"datagrams": True}
        self.ports = {"from_red": self._red.incoming.consumer(**red), "to_black": self._black.outgoing.producer(**black),
                      "from_black": self._black.incoming.consumer(**black), "to_red": self._red.outgoing.producer(**red)}
        self.pumps = {
            "seal": Pump(self.ports["from_red"], [plane.seal_stage(q, self.site.mtu) for q in queues], self.ports["to_black"]),
            "open": Pump(self.ports["from_black"], [plane.open_stage(q) for q in queues], self.ports["to_red"])}
        if self.keys.descriptors:
            self.engine.before_initiation(self._raise_floor)
        self.engine.before_response(self._stamped)
        lanes = {name: with_it.hears for name, with_it in (("black", self._black), ("red", self._red)) if with_it.hears}
        self._bells = [lane.bell for lane in lanes.values() if lane.bell.fd >= 0]
        self.neighbours = Neighbours({name: Listener(lane.area) for name, lane in lanes.items()}, len(self._bells) == len(lanes),
                                     self.engine.network_changed, self.connect)
        self._listen()
        self._recall()
        self.configure(self.site, None)
        self._open_gate()
        self.loop.watch(plane.notice_fd, READ, lambda _: self.engine.on_notices())
        self.loop.watch(self.channel.fileno(), READ, self._message)
        self.loop.next_deadline, self.loop.on_deadline = self._next_deadline, self._on_deadline

    def _recall(self) -> None:
        """What red keeps for a guest that has no disk, before the first peer is there."""
        if "life" not in self.options or self._red.says is None or self._red.hears is None:
            return
        self.deposit = Deposit(Speaker(self._red.says.area), Listener(self._red.hears.area), Sealer(self.keys.private_key),
                               self._stamps, self.options["life"], self._trail)
        self.engine.before_initiation(self.deposit.raise_floor)
        self.deposit.recall(lambda: now().mono)
        self.device.timestamp_floor = max(self.device.timestamp_floor, self.deposit.floor)

    def _recalled_late(self, deposit: Deposit) -> None:
        self.device.timestamp_floor = max(self.device.timestamp_floor, deposit.floor)
        self._stamps.restore(self.device.peers)

    def writable(self) -> tuple[int, ...]:
        """Of the key store, which is written whenever the floor of stamps rises."""
        return self.keys.descriptors

    def run(self) -> None:
        """Answers the supervisor, the plane's notices, deadlines and administrators in one
        loop."""
        self.loop.run()

    def _listen(self) -> None:
        """To bells, each until it has rung: a neighbour may ring without end."""
        for bell in self._bells:
            self.loop.watch(bell.fd, READ, partial(self._rung, bell))

    def _rung(self, bell: Doorbell, _events: int) -> None:
        bell.wait(0)
        self.loop.forget(bell.fd)
        self.neighbours.rung()

    def _next_deadline(self) -> int:
        times = [self.engine.next_deadline(), self.neighbours.next_deadline(), self.deposit.next_deadline() if self.deposit else None]
        return min(t for t in times if t is not None)

    def _on_deadline(self) -> None:
        at = now().mono
        if at >= self.neighbours.next_deadline() and self.neighbours.on_deadline(at):
            self._listen()
        if self.deposit is not None and at >= self.deposit.next_deadline() and self.deposit.on_deadline(at):
            self._recalled_late(self.deposit)
        if (due := self.engine.next_deadline()) is not None and due <= at:
            self.engine.on_deadline()

    def connect(self) -> None:
        """Black is there, or there again, or has its link back. Nothing is sent before:
        an initiation that got lost would keep the next one back for 5 s."""
        if self.device.up:
            self.engine.revive()
        else:
            self.engine.start()
            self.engine.connect()

    def status(self) -> dict[str, Any]:
        """With the engine's counts. The peers go ahead of it, in messages of their own."""
        said = super().status() | {"engine": self.engine.metrics(), "lanes": self.neighbours.status()}
        return said if self.deposit is None else said | {"deposit": self.deposit.status()}

    def peers(self) -> list[dict[str, Any]]:
        """As `wgpy node status` shows them: wgpy.crypto.report."""
        return report.peers(self.engine, self.site, now())

    def configure(self, site: Site, before: Site | None) -> None:
        """WgpyError, with nothing changed, for what cannot be carried out whole."""
        self.engine.apply(self.wanted(site, before))
        self._stamps.restore(self.device.peers)
        self.site = site

    def wanted(self, site: Site, before: Site | None) -> SetRequest:
        """What configure() would apply; WgpyError as from there."""
        if before is not None and (refused := stays(before, site)):
            raise WgpyError(refused)
        try:
            wanted = request(site, self.keys.psks, before, None if before else self.keys.private_key)
        except KeyError as e:
            raise WgpyError(f"no pre-shared key named {e.args[0]!r} in the key store") from None
        self.engine.check(wanted)
        return wanted

    def _message(self, _events: int) -> None:
        try:
            received = self.channel.receive()
        except WgpyError as e:
            log.error("%s", e)
            return
        message, fds = received or ({"stop": True}, {})
        if message.get("stop"):
            self.loop.stop()
        name = next(iter(message), None)
        try:
            if name in self.requests:
                self.requests[name](message, fds)
        except WgpyError as e:
            log.error("%s", e)
        finally:
            for fd in fds.values():
                os.close(fd)

    def answer(self, what: str | None) -> None:
        """The peers in parts, for a message holds so much; then what every room says."""
        if what == "status":
            for part in report.parts(self.peers()):
                self.channel.send({"peers": part})
        super().answer(what)

    def refused(self) -> dict[str, Any]:
        """And how often load began and was over."""
        return super().refused() | {"under_load": self.engine.loads()}

    def _new_site(self, message: dict[str, Any], fds: dict[str, int]) -> None:
        if "site" not in fds:
            return
        refused = ""
        try:
            self.configure(self.read(fds.pop("site")), self.site)
            log.info("new site file: %d sites", len(self.site.peers))
        except WgpyError as e:
            refused = str(e)
        self.channel.send({"site": refused})

    def _stamped(self, key: bytes, stamp: bytes) -> None:
        page = self._stamps.keep(key, stamp)
        if self.deposit is not None:
            self.deposit.stamped(page)

    def _raise_floor(self, greatest_stamp: int) -> None:
        try:
            self.keys.sealed().raise_floor(greatest_stamp)
        except WgpyError as e:
            log.error("the floor of time stamps is not saved: %s", e)

    def _alarmed(self, message: dict[str, Any], _fds: dict[str, int]) -> None:
        self.alarms = message["alarms"]

    # administration

    def _open_gate(self) -> None:
        if not self.options.get("audited"):
            return
        administration = Administration(self)
        self.gate = Gate(self.loop, self.pen, self.options.get("admin_gid"), administration,
                         administration.commands, administration.changing)
        healed = self.keys.store is not None and self.keys.store.healed
        self.gate.record("wgpy", "start", "ok", **({"key store": "an interrupted write was made good"} if healed else {}))

    def _admit(self, message: dict[str, Any], fds: dict[str, int]) -> None:
        who = Who.parse(message["admin"])
        if self.gate is not None and "connection" in fds:
            self.gate.connect(who, socket.socket(fileno=fds.pop("connection")))
