"""What happens to a node's links, addresses and routes, followed over netlink from outside:
what somebody deleted is made anew. What peers have to learn of it, black sees for itself."""

import logging
import socket
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

from wgpy import netlink
from wgpy.loop import READ, Loop
from wgpy.node.namespaces import Namespaces, inside
from wgpy.node.timers import Timers

log = logging.getLogger(__name__)

_SETTLE = 0.05       # s from a change of a link to acting on it
_OF_LINKS = {netlink.RTM_NEWLINK, netlink.RTM_DELLINK, netlink.LOST}


class Network:
    """`renewed()` is called when the tunnel's interface is another one, `changed()` when what
    is not configured is."""

    def __init__(self, loop: Loop, timers: Timers, net: Namespaces, renewed: Callable[[], None], changed: Callable[[], None]):
        self._loop, self._timers, self._net = loop, timers, net
        self._renewed, self._changed = renewed, changed
        self._monitors: list[socket.socket] = []
        self._looking = False

    def watch(self) -> None:
        """Of the host's own namespace (None) too, for a WAN or LAN that comes later. OSError."""
        for name in (self._net.black, self._net.red, None):
            with inside(name) if name else nullcontext():
                s = netlink.netlink_socket(netlink.LINKS)
            self._monitors.append(s)
            self._loop.watch(s.fileno(), READ, partial(self._happened, s, name))

    def close(self) -> None:
        """Idempotent."""
        for s in self._monitors:
            self._loop.forget(s.fileno())
            s.close()
        self._monitors = []

    def look_soon(self) -> None:
        """After a moment, once for all that changes meanwhile."""
        if not self._looking:
            self._looking = True
            self._timers.after(_SETTLE, self.look)

    def look(self) -> None:
        """Brings everything to what the site file says."""
        self._looking, before = False, self._net.not_configured
        if self._net.keep():
            log.warning("the tunnel interface was made anew")
            self._renewed()
        if self._net.not_configured != before:
            self._changed()

    def tick(self) -> None:
        """To be called every second or two: tries again what failed."""
        if self._net.due():
            self.look_soon()

    def _happened(self, s: socket.socket, name: str | None, _events: int) -> None:
        happened = {kind for kind, _ in netlink.events(s)}
        if happened & _OF_LINKS and (name or self._net.missing()):
            self.look_soon()
