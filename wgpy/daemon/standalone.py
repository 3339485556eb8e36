"""One tunnel in one process: TUN, engine and sockets wired together, following the
state of the interface. None of what happens to link, sockets or configuration ends
the process, except the deletion of the interface.

Whoever asks for a socket that cannot be had gets its errno, and what served before goes
on. Where nobody asked (the link came up, a port failed) the reason stands in metrics()
as `not_listening`, and it is tried again every RETRY and with every `set`.
"""

import logging
import os
import time
from collections.abc import Callable

from wgpy._fast.plane import Plane
from wgpy.admin import alarm
from wgpy.black.udp import UdpSockets
from wgpy.config.model import DeviceState, KeySizes, SetRequest
from wgpy.constants import PLANE_PREFIXES, SECOND
from wgpy.crypto.engine import Engine
from wgpy.daemon.pumps import Pumps
from wgpy.environment import MAX_PEERS
from wgpy.errors import HostError, WgpyError
from wgpy.loop import READ, READ_EDGE, Loop
from wgpy.protocol.device import Device
from wgpy.red.links import LinkMonitor, LinkState, RouteMonitor
from wgpy.red.tun import Tun
from wgpy.suite import Suite, registry

log = logging.getLogger(__name__)

RETRY = 5 * SECOND
_RESTART_PAUSE = 1.0  # s; a pump that ends twice within it waits for RETRY


class Standalone:
    """The handler of the UAPI server. All methods run in the loop's thread."""

    def __init__(self, loop: Loop, tun: Tun, queues: int = 1, aead: str | None = None,
                 discover: bool = False, max_peers: int = MAX_PEERS, suite: Suite | None = None):
        """`suite`: None for WireGuard's. Raises WgpyError."""
        suite = suite or registry.get()
        max_prefixes = PLANE_PREFIXES + 8 * max_peers
        try:
            self.plane = Plane(max_peers=max_peers, max_prefixes=max_prefixes, queues=queues, aead=aead,
                               suite=suite.table)
        except ValueError as e:
            raise HostError(f"WGPY_AEAD: {e}") from None
        self.engine = Engine(Device(suite, os.urandom), self.plane,
                             max_peers=max_peers, max_prefixes=max_prefixes)
        self._loop, self._tun = loop, tun
        self._sockets: UdpSockets | None = None
        self._port = self._mark = 0
        self._discover = discover  # the path's MTU is the kernel's to learn
        self._mtu = self._index = 0
        self._restarted = 0.0
        self._link_up = False
        self.lines_lost: Callable[[], int] = lambda: 0  # of the log
        self._not_listening = ""  # why there are no sockets though the link is up
        self._retry_at: int | None = None
        self._pumps = Pumps(self.plane, queues, tun, self._pump_ended)
        self._links = LinkMonitor(tun)
        self._routes = RouteMonitor()
        loop.watch(self.plane.notice_fd, READ, lambda _: self.engine.on_notices())
        loop.watch(self._links.fileno(), READ, self._link_event)
        loop.watch(self._routes.fileno(), READ, self._route_event)
        self._flood, self._sample_at = alarm.Flood(), 0
        loop.next_deadline, loop.on_deadline = self._next_deadline, self._on_deadline
        self._watch_idle_tun()
        self._follow(self._links.state())

    # UAPI

    def apply(self, request: SetRequest) -> None:
        """Checks, then binds, then applies: what can fail comes first. WgpyError, OSError;
        nothing has changed then."""
        self.engine.check(request)
        self._configure_sockets(request)
        self.engine.apply(request)

    @property
    def key_sizes(self) -> KeySizes:
        """As of the engine."""
        return self.engine.key_sizes

    def describe(self) -> DeviceState:
        """With the port and the mark that are in use."""
        return self.engine.describe(self._port, self._mark)

    def metrics(self) -> dict[str, int | str]:
        """Those of the engine, of both pumps since the daemon's start, and the tunnel's own."""
        out = self.engine.metrics()
        began, over = self.engine.loads()
        out |= {"event_flood": self._flood.begun, "event_flood_over": self._flood.over,
                "alarm_flood": int(self._flood.active), "alarm_under_load": int(began > over)}
        counted = self._pumps.counters()
        counted.update({name: n for name, n in out.items() if name in counted and isinstance(n, int)})
        out |= counted
        reason = {"not_listening": self._not_listening} if self._not_listening else {}
        return out | {"queues": self._pumps.queues, "up": int(self._sockets is not None),
                      "mtu": self._mtu, "log_lost": self.lines_lost()} | reason

    def close(self) -> None:
        """The interface goes with its last descriptor."""
        self._down()
        for monitor in (self._links, self._routes):
            self._loop.forget(monitor.fileno())
            monitor.close()
        self._loop.forget(self.plane.notice_fd)
        self._loop.forget(self._tun.fd)
        self._tun.close()

    # sockets

    def _configure_sockets(self, request: SetRequest) -> None:
        port = self._port if request.listen_port is None else request.listen_port
        mark = self._mark if request.fwmark is None else request.fwmark
        asked = request.listen_port is not None or request.fwmark is not None
        if self._sockets is None:
            self._configure_absent(port, mark, asked)
        elif port != self._port or request.listen_port == 0:
            self._replace_sockets(self._bind(port, mark))
        elif mark != self._mark:
            self._sockets.set_mark(mark)
        self._mark = mark

    def _configure_absent(self, port: int, mark: int, asked: bool) -> None:
        """With the link down: could they be opened? With it up they are, and only who
        asked for port or mark is told of a failure."""
        if self._link_up:
            try:
                self._open(port, mark)
            except (OSError, WgpyError) as e:
                if asked:
                    raise
                self._listening_failed(port, e)
        elif asked:
            self._bind(port, mark).close()
            self._port = port

    def _bind(self, port: int, mark: int) -> UdpSockets:
        return UdpSockets(port, mark, self._discover)

    def _open(self, port: int, mark: int) -> None:
        """Raises OSError, WgpyError."""
        self._loop.forget(self._tun.fd)
        try:
            self._replace_sockets(self._bind(port, mark))
        except (OSError, WgpyError):
            self._watch_idle_tun()
            raise
        self._not_listening, self._retry_at = "", None
        self.engine.start()
        log.info("interface is up, UDP port %d", self._port)

    def _replace_sockets(self, sockets: UdpSockets) -> None:
        """The old ones serve on when the pumps of the new ones cannot be started."""
        old = self._sockets
        self._pumps.stop()
        try:
            self._pumps.start(sockets.fds(), self._mtu)
        except (OSError, WgpyError):
            sockets.close()
            if old is not None:
                self._pumps.start(old.fds(), self._mtu)
            raise
        self._sockets, self._port = sockets, sockets.port
        if old is not None:
            old.close()
            self.engine.network_changed(moved=True)

    def _listening_failed(self, port: int, error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        reason = f"UDP port {port}: {reason}" if port else f"UDP: {reason}"
        if reason != self._not_listening:
            log.error("not listening: %s", reason)
        self._not_listening = reason
        self._retry_at = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + RETRY

    def _next_deadline(self) -> int | None:
        """CLOCK_BOOTTIME, ns."""
        sampled = self._sockets is not None or self._flood.active
        times = (self._retry_at, self._sample_at if sampled else None, self.engine.next_deadline())
        return min((t for t in times if t is not None), default=None)

    def _on_deadline(self) -> None:
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if self._retry_at is not None and self._retry_at <= now:
            self._retry_at = None
            self._follow(self._links.state())
        self.engine.on_deadline()
        if self._sample_at <= now:
            self._sample_at = now + alarm.PERIOD
            self._flood.sample({k.removeprefix("drop_"): n for k, n in self._pumps.counters().items()}, now)

    # interface

    def _link_event(self, _events: int) -> None:
        if self._links.read():
            self._follow(self._links.state())

    def _follow(self, link: LinkState | None) -> None:
        if link is None:
            log.info("the interface was deleted")
            self._loop.stop()
            return
        self._index = 0 if link.foreign else link.index
        if link.mtu != self._mtu:
            self._mtu = link.mtu
            self._pumps.set_mtu(link.mtu)
            log.debug("MTU is %d", link.mtu)
        self._link_up = link.up
        if not link.up:
            self._down()
        elif self._sockets is None:
            self._up()

    def _up(self) -> None:
        try:
            self._open(self._port, self._mark)
        except (OSError, WgpyError) as e:
            self._listening_failed(self._port, e)

    def _down(self) -> None:
        self._not_listening, self._retry_at = "", None
        if self._sockets is None:
            return
        self._pumps.stop()
        self._sockets.close()
        self._sockets = None
        self.engine.stop()
        self._watch_idle_tun()
        log.info("interface is down")

    def _watch_idle_tun(self) -> None:
        """Without pumps nobody reads the TUN; an interface that dies with its network
        namespace sends no link event, but wakes its descriptor."""
        self._loop.watch(self._tun.fd, READ_EDGE, self._idle_tun_event)

    def _idle_tun_event(self, _events: int) -> None:
        if self._tun.name() is None:
            self._follow(None)

    def _route_event(self, _events: int) -> None:
        self.engine.network_changed(self._routes.read(self._index))

    def _pump_ended(self, source: str, code: int) -> None:
        self._loop.call_soon(lambda: self._recover(source, code))

    def _recover(self, source: str, code: int) -> None:
        if self._sockets is None:
            return
        link = self._links.state()
        if link is not None:
            log.error("the %s port failed: %s", source, os.strerror(code))
            last, self._restarted = self._restarted, time.monotonic()
            self._down()
            if self._restarted - last < _RESTART_PAUSE:
                self._link_up = link.up
                self._listening_failed(0, OSError(code, f"the {source} port failed: {os.strerror(code)}"))
                return
        self._follow(link)
