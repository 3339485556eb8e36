"""The crypto room: the keys, the protocol core and the plane between four rings. It has
no socket, no interface and no file; what it knows came over its channel."""

import logging
import os
from collections.abc import Callable

from wgpy._fast.plane import Plane
from wgpy._fast.ports import Pump
from wgpy.config import site as site_file
from wgpy.crypto.engine import Engine
from wgpy.crypto.keys import Keys
from wgpy.crypto.sites import request
from wgpy.errors import WgpyError
from wgpy.isolate.control import Channel
from wgpy.isolate.pumproom import PumpRoom, ring_end
from wgpy.loop import READ, Loop
from wgpy.protocol.device import Device
from wgpy.suite import registry

log = logging.getLogger("wgpy")

MAX_PEERS, MAX_PREFIXES = 1024, 131072


class Room(PumpRoom):
    """options: aead. Descriptors: `site`, the site file's text; `key`, see Keys; the rings.

    `requests` maps the first key of a message of the supervisor to what is done with it
    and with its descriptors, by name; what is left of those is closed."""

    def __init__(self, channel: Channel, options: dict, fds: dict[str, int]):
        super().__init__(channel)
        self.options, self.fds = options, fds
        self.site = read_site(fds.pop("site"))
        self.loop, self.engine = Loop(), None
        self.requests: dict[str, Callable[[dict, dict[str, int]], None]] = {
            "ask": self._answer, "site": self._new_site, "network": lambda *_: self.engine.clear_sources(),
            "connect": lambda *_: self.connect()}

    def start(self) -> None:
        """Keys are read here, in the jailed process: its waiting parent never had them."""
        self.keys = Keys(self.fds)
        plane = Plane(max_peers=MAX_PEERS, max_prefixes=MAX_PREFIXES, aead=self.options.get("aead"))
        self.engine = Engine(Device(registry.get("wireguard"), os.urandom), plane,
                             max_peers=MAX_PEERS, max_prefixes=MAX_PREFIXES)
        red = {"datagrams": False}  # packets from red must not choose where datagrams go
        black = {"datagrams": True}
        end = lambda name: ring_end(self.fds, name)
        self.ports = {"from_red": end("red-crypto").consumer(**red), "to_black": end("crypto-black").producer(**black),
                      "from_black": end("black-crypto").consumer(**black), "to_red": end("crypto-red").producer(**red)}
        self.pumps = {
            "seal": Pump(self.ports["from_red"], plane.seal_stage(0, self.site.mtu), self.ports["to_black"]),
            "open": Pump(self.ports["from_black"], plane.open_stage(0), self.ports["to_red"])}
        self.configure(self.site, None)
        self.loop.watch(plane.notice_fd, READ, lambda _: self.engine.on_notices())
        self.loop.watch(self.channel.fileno(), READ, self._message)
        self.loop.next_deadline, self.loop.on_deadline = self.engine.next_deadline, self.engine.on_deadline

    def run(self) -> None:
        self.loop.run()

    def connect(self) -> None:
        """Black is there. Nothing is sent before: an initiation that got lost would keep
        the next one back for 5 s. After a restart of black as of crypto, sessions are
        asked for anew, since either end may have lost them."""
        if not self.engine.device.up:
            self.engine.start()
        self.engine.connect()

    def status(self) -> dict:
        return super().status() | {"engine": self.engine.metrics()}

    def configure(self, site: site_file.Site, before: site_file.Site | None) -> None:
        """WgpyError, with nothing changed, for what cannot be carried out whole."""
        try:
            wanted = request(site, self.keys.psks, before, None if before else self.keys.private_key)
        except KeyError as e:
            raise WgpyError(f"no pre-shared key named {e.args[0]!r} in the key store") from None
        self.engine.check(wanted)
        self.engine.apply(wanted)
        self.site = site

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

    def _answer(self, message: dict, fds: dict[str, int]) -> None:
        if message["ask"] == "status":
            self.channel.send({"status": self.status()})

    def _new_site(self, message: dict, fds: dict[str, int]) -> None:
        if "site" in fds:
            self.configure(read_site(fds.pop("site")), self.site)
            log.info("new site file: %d sites", len(self.site.peers))


def read_site(fd: int) -> site_file.Site:
    """Closes the descriptor. ConfigError with the file's first error."""
    with os.fdopen(fd, "rb") as f:
        f.seek(0)
        site, errors, _ = site_file.parse_bytes(f.read(site_file.MAX_FILE + 1), "site")
    if errors:
        raise errors[0]
    return site
