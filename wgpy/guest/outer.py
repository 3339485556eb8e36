"""What a guest of black or red does to its own kernel, before its room starts and while it runs:
firewall first, then routes that refuse, then links; nothing of the room has a say in it."""

import logging
import os
from pathlib import Path

from wgpy import netlink
from wgpy.admin.faults import Fault
from wgpy.config.links import CLEAR, SECURE
from wgpy.config.site_model import Site
from wgpy.errors import HostError, WgpyError
from wgpy.firewall import rules
from wgpy.guest.roomfile import RoomFile
from wgpy.guest.side import Given, Side
from wgpy.isolate import kernel
from wgpy.loop import READ, Loop
from wgpy.node import here, ip_lines, links
from wgpy.node.timers import Timers

log = logging.getLogger(__name__)

KEPT = "kept"   # a file on red's disk
_SETTLE = 0.05  # s from a change of a link to acting on it
_RETRY = 5.0    # s between attempts at what is not configured


class Outer(Side):
    """Of black or red, from its first firewall rule to its end."""

    def __init__(self, file: RoomFile, site: Site, loop: Loop, timers: Timers):
        """HostError, OSError; what was done stays, and lets nothing through."""
        self._file, self._site, self._timers = file, site, timers
        self._not_configured: list[Fault] = []
        self._looking = False
        here.sysctls(forward=file.room == "red" or site.small)
        made = rules.black_rules(site) if file.room == "black" else rules.red_rules(site)
        here.run("nft", "-f", "-", text=made)
        for line, reason in ip_lines.failures(links.refusing(site)).items():
            raise HostError(f"{line}: {reason}")
        self._news = netlink.netlink_socket(netlink.LINKS)
        self._make_end()
        self._keep()
        ip_lines.refuse(self._not_configured)
        loop.watch(self._news.fileno(), READ, lambda _: self._happened())
        timers.every(_RETRY, lambda: self._keep() if self._not_configured else None)

    def _happened(self) -> None:
        """A link came, went or changed: one look for all that change meanwhile."""
        if list(netlink.events(self._news)) and not self._looking:
            self._looking = True
            self._timers.after(_SETTLE, self._keep)

    def _keep(self) -> None:
        """Brings links, addresses and routes to what the site file says."""
        self._looking = False
        try:
            found = self._bring()
        except (OSError, WgpyError) as e:
            found = [Fault(self._file.room, "links", str(e), True)]
        ip_lines.tell(self._not_configured, found)
        self._not_configured = found

    def give(self) -> Given:
        """Options and new descriptors for a start of the room."""
        netns = {"netns": os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)}
        if self._file.room == "black":
            return {"wan": self._site.wan.interface}, netns | self._sockets.copies()
        options, fds = self._tun.copies()
        return options, netns | fds | ({} if self._kept is None else {"kept": os.dup(self._kept)})

    def _make_end(self) -> None:
        """What outlives the room, so that nothing is lost while it starts anew."""
        if self._file.room == "black":
            from wgpy.black.udp import UdpSockets  # neither guest has the other's room
            self._sockets = here.patiently(
                lambda: UdpSockets(self._site.node.listen_port, discover=self._site.wan.discovery))
        else:
            from wgpy.red import shelf, tun
            self._tun = here.patiently(lambda: tun.create(SECURE, self._site.mtu))
            self._kept = None if self._file.state is None else _kept(self._file.state, shelf.BYTES)

    def _bring(self) -> list[Fault]:
        room, site = self._file.room, self._site
        main = site.wan.interface if room == "black" else site.lan.interface
        for kind, name in (("wan" if room == "black" else "lan", main), ("clear", CLEAR)):
            device = self._file.links.get(kind)
            if device and device != name and here.is_here(device) and not here.is_here(name):
                here.run("ip", "link", "set", device, "down")
                here.run("ip", "link", "set", device, "name", name)
        return here.bring(room, site)


def _kept(directory: Path, size: int) -> int | None:
    """The file in which red keeps what crypto gives to it; None, and said so, where it cannot be."""
    try:
        return kernel.whole_file(directory / KEPT, size)
    except OSError as e:
        log.error("nothing is kept for crypto: %s: %s", directory / KEPT, e.strerror)
        return None
