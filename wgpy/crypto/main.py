"""The crypto room: the keys, the protocol core and the plane between four rings. It has
no socket, no interface and no file; what it knows came over its channel."""

import logging
import os
import socket
from collections.abc import Callable

from wgpy._fast.plane import Plane
from wgpy._fast.ports import Pump
from wgpy.admin.gate import Gate, Who
from wgpy.admin.pen import Pen
from wgpy.config import site as site_file
from wgpy.config.model import SetRequest
from wgpy.config.site_model import Site
from wgpy.crypto import report
from wgpy.crypto.clock import now
from wgpy.crypto.commands import Administration
from wgpy.crypto.engine import Engine
from wgpy.crypto.keys import Keys
from wgpy.crypto.sites import request
from wgpy.crypto.stamps import Stamps
from wgpy.crypto.unlock import Kept
from wgpy.errors import WgpyError
from wgpy.isolate.control import Channel
from wgpy.isolate.pumproom import PumpRoom, ring_end
from wgpy.loop import READ, Loop
from wgpy.protocol.device import Device
from wgpy.suite import registry

log = logging.getLogger("wgpy")

MAX_PEERS, MAX_PREFIXES = 1024, 131072


class Room(PumpRoom):
    """options: aead, queues; admin_gid, the administrators' group, and `audited`, whether there is
    administration at all. Descriptors: `site`, the site file's text; the rings; those of Keys.

    `requests` maps the first key of a message of the supervisor to what is done with it
    and with its descriptors, by name; what is left of those is closed."""

    OUTSIDE = "open"

    def __init__(self, channel: Channel, options: dict, fds: dict[str, int]):
        super().__init__(channel)
        self.options, self.fds = options, fds
        self.site = read_site(fds.pop("site"))
        self.loop, self.engine = Loop(), None
        self.requests: dict[str, Callable[[dict, dict[str, int]], None]] = {
            "ask": lambda message, _: self.answer(message["ask"]), "site": self._new_site,
            "network": lambda message, _: self.engine.network_changed(message["network"] == "moved"),
            "connect": lambda *_: self.connect(), "admin": self._admit,
            "pen": lambda message, _: self.pen.answered(message)}
        self.pen = Pen(channel.send)
        self.gate: Gate | None = None

    def as_root(self) -> None:
        """Locked memory is limited for others."""
        self._kept = Kept(self.fds.pop("unlocked", None))
        self._stamps = Stamps(self.fds.pop("stamps", None))

    def start(self) -> None:
        """Keys are read here, in the jailed process: its waiting parent never had them."""
        if "tty" in self.fds and self._kept.empty:
            self.channel.send({"asking": True})
        self.keys = Keys(self.fds, self._kept, self.site.node.name)
        queues = range(self.options.get("queues", 1))
        plane = Plane(max_peers=MAX_PEERS, max_prefixes=MAX_PREFIXES, queues=len(queues), aead=self.options.get("aead"))
        self.engine = Engine(Device(registry.get("wireguard"), os.urandom), plane,
                             max_peers=MAX_PEERS, max_prefixes=MAX_PREFIXES)
        red = {"datagrams": False}  # packets from red must not choose where datagrams go
        black = {"datagrams": True}
        end = lambda name: ring_end(self.fds, name)
        self.ports = {"from_red": end("red-crypto").consumer(**red), "to_black": end("crypto-black").producer(**black),
                      "from_black": end("black-crypto").consumer(**black), "to_red": end("crypto-red").producer(**red)}
        self.pumps = {
            "seal": Pump(self.ports["from_red"], [plane.seal_stage(q, self.site.mtu) for q in queues], self.ports["to_black"]),
            "open": Pump(self.ports["from_black"], [plane.open_stage(q) for q in queues], self.ports["to_red"])}
        self.engine.device.timestamp_floor = self.keys.floor
        if self.keys.store:
            self.engine.before_initiation(self._raise_floor)
        self.engine.before_response(self._stamps.keep)
        self.configure(self.site, None)
        self._open_gate()
        self.loop.watch(plane.notice_fd, READ, lambda _: self.engine.on_notices())
        self.loop.watch(self.channel.fileno(), READ, self._message)
        self.loop.next_deadline, self.loop.on_deadline = self.engine.next_deadline, self.engine.on_deadline

    def writable(self) -> tuple[int, ...]:
        return self.keys.descriptors

    def run(self) -> None:
        self.loop.run()

    def connect(self) -> None:
        """Black is there, or there again, or has its link back. Nothing is sent before:
        an initiation that got lost would keep the next one back for 5 s."""
        if self.engine.device.up:
            self.engine.revive()
        else:
            self.engine.start()
            self.engine.connect()

    def status(self) -> dict:
        return super().status() | {"engine": self.engine.metrics()}

    def peers(self) -> list[dict]:
        return report.peers(self.engine, self.site, now())

    def configure(self, site: Site, before: Site | None) -> None:
        """WgpyError, with nothing changed, for what cannot be carried out whole."""
        self.engine.apply(self.wanted(site, before))
        self._stamps.restore(self.engine.device.peers)
        self.site = site

    def wanted(self, site: Site, before: Site | None) -> SetRequest:
        """What configure() would apply; WgpyError as from there."""
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
        if what == "status":
            for part in report.parts(self.peers()):
                self.channel.send({"peers": part})
        super().answer(what)

    def refused(self) -> dict:
        """And how often load began and was over."""
        return super().refused() | {"under_load": self.engine.loads()}

    def _new_site(self, message: dict, fds: dict[str, int]) -> None:
        if "site" not in fds:
            return
        refused = ""
        try:
            self.configure(read_site(fds.pop("site")), self.site)
            log.info("new site file: %d sites", len(self.site.peers))
        except WgpyError as e:
            refused = str(e)
        self.channel.send({"site": refused})

    def _raise_floor(self, greatest_stamp: int) -> None:
        try:
            self.keys.sealed().raise_floor(greatest_stamp)
        except WgpyError as e:
            log.error("the floor of time stamps is not saved: %s", e)

    # administration

    def _open_gate(self) -> None:
        if not self.options.get("audited"):
            return
        administration = Administration(self)
        self.gate = Gate(self.loop, self.pen, self.options.get("admin_gid"), administration,
                         administration.commands, administration.changing)
        healed = self.keys.store is not None and self.keys.store.healed
        self.gate.record("wgpy", "start", "ok", **({"key store": "an interrupted write was made good"} if healed else {}))

    def _admit(self, message: dict, fds: dict[str, int]) -> None:
        who = Who.parse(message["admin"])
        if self.gate is not None and "connection" in fds:
            self.gate.connect(who, socket.socket(fileno=fds.pop("connection")))


def read_site(fd: int) -> Site:
    """Closes the descriptor. ConfigError with the file's first error."""
    with os.fdopen(fd, "rb") as f:
        f.seek(0)
        site, errors, _ = site_file.parse_bytes(f.read(site_file.MAX_FILE + 1), "site")
    if errors:
        raise errors[0]
    return site
