"""The two outer network namespaces of a node: firewalls first, then routes that refuse,
then links. The supervisor does all of it from outside; the rooms have no say in it.

No step leaves a moment in which a protected destination could be reached in clear: the
firewalls are loaded while a namespace has no interface, routes that blackhole protected
networks stay when everything else goes, and WAN and LAN come last.

A node does not come up without what its site file asks of the host. What fails later, and
what it can do without, is in `not_configured` until it is there.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

from wgpy.admin.faults import Fault
from wgpy.black.udp import UdpSockets
from wgpy.config.links import CLEAR, SECURE
from wgpy.config.site_changes import fixed
from wgpy.config.site_model import Site
from wgpy.errors import HostError, WgpyError
from wgpy.firewall import rules
from wgpy.isolate import kernel
from wgpy.node import here, ip_lines, links
from wgpy.red import tun

log = logging.getLogger(__name__)

_NETNS = Path("/run/netns")
_RETRY = 5.0   # s between attempts at what is not configured


@contextmanager
def entered(namespace: int) -> Iterator[None]:
    """The calling thread, and what it starts, in the network namespace of a descriptor. OSError."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        kernel.setns(namespace, kernel.CLONE_NEWNET)
        try:
            yield
        finally:
            kernel.setns(home, kernel.CLONE_NEWNET)
    finally:
        os.close(home)


@contextmanager
def inside(name: str) -> Iterator[None]:
    """The same in a named network namespace. OSError."""
    away = os.open(_NETNS / name, os.O_RDONLY)
    try:
        with entered(away):
            yield
    finally:
        os.close(away)


class Namespaces:
    """black, red: names of the namespaces; `tun`: the interface of the tunnel, in red;
    `sockets`: the tunnel's in black. Both are kept here, so that they outlive the rooms."""

    def __init__(self, site: Site):
        self.site = site
        self.black, self.red = (f"wgpy-{site.node.name}-{room}" for room in ("black", "red"))
        self.tun: tun.Tun | None = None
        self.sockets: UdpSockets | None = None
        self.inherited = False  # from a predecessor that crashed
        self.not_configured: list[Fault] = []
        self._renewed, self._looked = False, 0.0
        self._wanted = site  # and not yet in force, while a reload is refused
        self._refusing = set(site.protected)

    def build(self) -> None:
        """Everything but WAN and LAN. What a predecessor that crashed left is taken over,
        its interfaces without having been outside. HostError, OSError."""
        for name, mine in ((self.black, self.site.wan.interface), (self.red, self.site.lan.interface)):
            if os.path.ismount(_NETNS / name):
                self.inherited = True
                self._clear(name, mine)
            else:
                (_NETNS / name).unlink(missing_ok=True)  # a name whose mount is gone
                here.run("ip", "netns", "add", name)
        with inside(self.black):
            here.sysctls(forward=self.site.small)
            here.run("nft", "-f", "-", text=rules.black_rules(self.site))
            self.sockets = here.patiently(lambda: UdpSockets(self.site.node.listen_port, discover=self.site.wan.discovery))
        with inside(self.red):
            here.sysctls(forward=True)
            here.run("nft", "-f", "-", text=rules.red_rules(self.site))
        for name in (self.black, self.red):
            self._must(name, links.refusing(self.site))

    def check(self, site: Site) -> None:
        """HostError when reload(site) could not be carried out."""
        if fixed(self.site) != fixed(site):
            raise HostError("mode, interfaces, MTU, port and wan.discovery change only with down and up")
        for name, text in ((self.red, rules.red_rules(site)), (self.black, rules.black_rules(site))):
            with inside(name):
                here.run("nft", "-c", "-f", "-", text=text)

    def reload(self, site: Site) -> None:
        """A new site file under traffic, with the next keep(): what the host refuses of it is
        in `not_configured`, what was there serves on, and each keep() tries again."""
        self._wanted = site

    def _change(self, site: Site) -> None:
        """Each rule set is replaced in one transaction, and refusing routes come before
        others go. WAN, LAN and mode stay as they are. HostError, OSError."""
        removed = set(self.site.remote) - set(site.remote)
        self._refusing |= set(site.protected)
        for name in (self.black, self.red):
            self._must(name, links.refusing(site))
        with inside(self.red):
            here.run("nft", "-f", "-", text=rules.red_rules(site))
        with inside(self.black):
            here.run("nft", "-f", "-", text=rules.black_rules(site))
        self.site = site
        self._tidy(self.red, [f"route del {n} dev {SECURE}" for n in removed])
        stale = [f"route del blackhole {n} metric {links.BLACKHOLE_METRIC}" for n in self._refusing - set(site.protected)]
        for name in (self.black, self.red):
            self._tidy(name, stale)
        self._refusing = set(site.protected)

    def ensure(self) -> None:
        """Brings links, addresses and routes to what the site file says, whatever has
        been deleted. HostError when the host refuses what is needed, OSError."""
        self._note(self._bring())
        ip_lines.refuse(self.not_configured)

    def keep(self) -> bool:
        """The same while the node is up, where a failure ends nothing: it is logged and in
        `not_configured` until it has healed. True when `tun` is a new one since ensure()
        or the last time."""
        found = []
        for what, call in (("firewalls and routes of the new site file", self._renew), ("links", self._bring)):
            try:
                found += call()
            except (OSError, WgpyError) as e:
                found.append(Fault("host", what, str(e), True))
        self._note(found)
        renewed = self._renewed and self.tun is not None
        self._renewed &= not renewed
        return renewed

    def the_tun(self) -> tun.Tun:
        """HostError when it was deleted and could not be made anew."""
        if self.tun is None:
            raise HostError(f"{SECURE} could not be made anew")
        return self.tun

    def the_sockets(self) -> UdpSockets:
        """HostError before build() and after leave()."""
        if self.sockets is None:
            raise HostError("no UDP sockets are open")
        return self.sockets

    def due(self) -> bool:
        """Whether it is time to try again what is not configured."""
        return bool(self.not_configured) and time.monotonic() - self._looked > _RETRY

    def _renew(self) -> list[Fault]:
        if self._wanted is not self.site:
            self._change(self._wanted)
        return []

    def _bring(self) -> list[Fault]:
        site = self.site
        if self.tun is None or self.tun.name() is None:
            self._make_tun()
        if site.small and not self._has(self.black, CLEAR):
            self._must(self.black, [f"link add {CLEAR} type veth peer name {CLEAR} netns {self.red}"])
        self._fetch(site.wan.interface, self.black)
        self._fetch(site.lan.interface, self.red)
        found = self._sockets_missing()
        for room, name in (("red", self.red), ("black", self.black)):
            with inside(name):
                found += here.bring(room, site)
        gone = set(self.missing()) if found else set()
        return [fault for fault in found if not gone & set(fault.line.split())]

    def _sockets_missing(self) -> list[Fault]:
        """Of IP versions that this host lacks, where the site file needs them."""
        own = {a.version for a in self.site.wan.addresses}
        others = {ip_address(e.host).version for p in self.site.peers for e in p.endpoints}
        return [Fault("black", f"UDP socket for IPv{version}", f"this host has no IPv{version}", version in own)
                for version, fd in zip((4, 6), self.the_sockets().fds()) if fd < 0 and version in own | others]

    def _note(self, found: list[Fault]) -> None:
        ip_lines.tell(self.not_configured, found)
        self.not_configured, self._looked = found, time.monotonic()

    def missing(self) -> list[str]:
        """Interfaces of the site file that are not there."""
        wanted = ((self.site.wan.interface, self.black), (self.site.lan.interface, self.red))
        return [link for link, name in wanted if not self._has(name, link)]

    def leave(self) -> None:
        """WAN and LAN stay inside, behind firewalls and routes that refuse."""
        for mine in (self.tun, self.sockets):
            if mine is not None:
                mine.close()
        self.tun = self.sockets = None

    def remove(self) -> list[str]:
        """Gives WAN and LAN back, down and without addresses, and deletes the rest. Works
        on what a crashed predecessor left, too. Idempotent. Says what stays, as when the
        host has another link of that name: with its namespace it would be lost."""
        self.leave()
        stays = []
        for link, name in ((self.site.wan.interface, self.black), (self.site.lan.interface, self.red)):
            if os.path.ismount(_NETNS / name):
                if left := self._give_back(name, link):
                    stays.append(f"{link} cannot be given back and stays in {name}: {left[link]}")
                    log.error("%s", stays[-1])
                    continue
                here.run("ip", "netns", "del", name)
            (_NETNS / name).unlink(missing_ok=True)
        return stays

    def _give_back(self, name: str, *wanted: str) -> dict[str, str]:
        """Those that stay where they are, with the reason."""
        mine = [link for link in wanted if self._has(name, link)]
        self._tidy(name, [f"link set {link} down" for link in mine])
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            moves = {f"link set {link} netns /proc/{os.getpid()}/fd/{home}": link for link in mine}
            with inside(name):
                return {moves[line]: reason for line, reason in ip_lines.failures(list(moves)).items()}
        finally:
            os.close(home)

    def _clear(self, name: str, mine: str) -> None:
        """What a predecessor left in a namespace, but for the interface that stays, which
        goes down: with that its addresses and routes go, too."""
        with inside(name):
            inside_now = set(here.links_here())
            for version in ("-4", "-6"):
                ip_lines.run("ip", version, "route", "flush", "type", "blackhole")
        self._tidy(name, [f"link set {mine} down", f"link del {CLEAR}", f"link del {SECURE}", f"address flush dev {mine}"])
        for link, reason in self._give_back(name, *(inside_now - {"lo", mine, CLEAR, SECURE})).items():
            log.warning("%s stays in %s: %s", link, name, reason)

    def open_in(self, room: str) -> int:
        """A descriptor of black's or red's network namespace."""
        return os.open(_NETNS / getattr(self, room), os.O_RDONLY)

    def _make_tun(self) -> None:
        if self.tun is not None:
            self.tun.close()
            self.tun, self._renewed = None, True
        with inside(self.red):
            self.tun = here.patiently(lambda: tun.create(SECURE, self.site.mtu))

    def _fetch(self, link: str, name: str) -> None:
        """Moves an interface of this host into a room."""
        if not self._has(name, link) and here.is_here(link):
            here.run("ip", "link", "set", link, "down")
            here.run("ip", "link", "set", link, "netns", name)

    def _has(self, name: str, link: str) -> bool:
        with inside(name):
            return here.is_here(link)

    def _must(self, name: str, lines: list[str]) -> None:
        """HostError at the first that fails."""
        with inside(name):
            for line, reason in ip_lines.failures(lines).items():
                raise HostError(f"{name}: {line}: {reason}")

    def _tidy(self, name: str, lines: list[str]) -> None:
        """What is gone already may fail."""
        with inside(name):
            for line, reason in ip_lines.failures(lines).items():
                log.debug("%s: %s: %s", name, line, reason)
