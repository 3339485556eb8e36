"""The two outer network namespaces of a node: firewalls first, then routes that refuse,
then links. The supervisor does all of it from outside; the rooms have no say in it.

No step leaves a moment in which a protected destination could be reached in clear: the
firewalls are loaded while a namespace has no interface, routes that blackhole protected
networks stay when everything else goes, and WAN and LAN come last.
"""

import errno
import logging
import os
import re
import subprocess
import time
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

from wgpy.black.udp import UdpSockets
from wgpy.config.links import CLEAR, CLEAR_BLACK, CLEAR_RED, SECURE
from wgpy.config.site_model import Site
from wgpy.errors import HostError
from wgpy.isolate import kernel, nft
from wgpy.red import rtnl, tun

log = logging.getLogger("wgpy")

_NETNS = Path("/run/netns")
_BLACKHOLE_METRIC = 9000
_PATIENCE = 5  # seconds
_RUNNING = 0x1 | 0x40  # IFF_UP, IFF_RUNNING
# in every namespace: no redirects, no router advertisements, no answers for another link
_SYSCTLS = """ipv4/conf/{}/send_redirects=0 ipv4/conf/{}/accept_redirects=0 ipv4/conf/{}/arp_ignore=1
 ipv4/conf/{}/arp_announce=2 ipv6/conf/{}/accept_ra=0 ipv6/conf/{}/accept_redirects=0""".split()
# where connections are tracked: one that is silent may not stay for days (RFC 5382: 7440 s)
_TRACKING = {"nf_conntrack_tcp_timeout_established": 7440, "nf_conntrack_generic_timeout": 120,
             "nf_conntrack_tcp_timeout_max_retrans": 120, "nf_conntrack_tcp_timeout_unacknowledged": 120}


@contextmanager
def inside(name: str):
    """The calling thread, and what it starts, in a named network namespace. OSError."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        away = os.open(_NETNS / name, os.O_RDONLY)
        try:
            kernel.setns(away, kernel.CLONE_NEWNET)
        finally:
            os.close(away)
        try:
            yield
        finally:
            kernel.setns(home, kernel.CLONE_NEWNET)
    finally:
        os.close(home)


def _run(*command: str, text: str | None = None) -> None:
    try:
        done = subprocess.run(command, input=text, text=True, capture_output=True, timeout=30)
    except FileNotFoundError:
        raise HostError(f"{command[0]} is missing: apt-get install iproute2 nftables") from None
    except subprocess.TimeoutExpired:
        raise HostError(f"{command[0]} does not end") from None
    if done.returncode:
        raise HostError(f"{' '.join(command[:4])}: {done.stderr.strip()[:400]}")


class Namespaces:
    """black, red: names of the namespaces; `tun`: the interface of the tunnel, in red;
    `sockets`: the tunnel's in black. Both are kept here, so that they outlive the rooms."""

    def __init__(self, site: Site):
        self.site = site
        self.black, self.red = (f"wgpy-{site.node.name}-{room}" for room in ("black", "red"))
        self.tun: tun.Tun | None = None
        self.sockets: UdpSockets | None = None
        self.inherited = False  # from a predecessor that crashed

    def build(self) -> None:
        """Everything but WAN and LAN. What a predecessor that crashed left is taken over,
        its interfaces without having been outside. HostError, OSError."""
        for name, mine in ((self.black, self.site.wan.interface), (self.red, self.site.lan.interface)):
            if os.path.ismount(_NETNS / name):
                self.inherited = True
                self._clear(name, mine)
            else:
                (_NETNS / name).unlink(missing_ok=True)  # a name whose mount is gone
                _run("ip", "netns", "add", name)
        with inside(self.black):
            self._sysctls(forward=self.site.small)
            _run("nft", "-f", "-", text=nft.black_rules(self.site))
            self._forget_sooner()
            self.sockets = _patiently(lambda: UdpSockets(self.site.node.listen_port, discover=self.site.wan.discovery))
        with inside(self.red):
            self._sysctls(forward=True)
            _run("nft", "-f", "-", text=nft.red_rules(self.site))
            self._forget_sooner()
        self._ip(self.black, _refusing(self.site))
        self._ip(self.red, _refusing(self.site))

    def check(self, site: Site) -> None:
        """HostError when reload(site) could not be carried out."""
        old = self.site
        if (old.node.mode, old.wan.interface, old.lan.interface, old.mtu, old.node.listen_port, old.wan.discovery) != (
                site.node.mode, site.wan.interface, site.lan.interface, site.mtu, site.node.listen_port, site.wan.discovery):
            raise HostError("mode, interfaces, MTU, port and wan.discovery change only with down and up")
        for name, rules in ((self.red, nft.red_rules(site)), (self.black, nft.black_rules(site))):
            with inside(name):
                _run("nft", "-c", "-f", "-", text=rules)

    def reload(self, site: Site) -> None:
        """A new site file under traffic: each rule set is replaced in one transaction,
        and refusing routes come before others go. WAN, LAN and mode stay as they are.
        HostError."""
        old, removed = self.site, set(self.site.remote) - set(site.remote)
        for name in (self.black, self.red):
            self._ip(name, _refusing(site))
        with inside(self.red):
            _run("nft", "-f", "-", text=nft.red_rules(site))
        with inside(self.black):
            _run("nft", "-f", "-", text=nft.black_rules(site))
        self.site = site
        self._ip(self.red, [f"route del {n} dev {SECURE}" for n in removed], force=True)
        stale = [f"route del blackhole {n} metric {_BLACKHOLE_METRIC}" for n in set(old.protected) - set(site.protected)]
        for name in (self.black, self.red):
            self._ip(name, stale, force=True)
        self.ensure()

    def ensure(self) -> bool:
        """Brings links, addresses and routes to what the site file says, whatever has
        been deleted; True when `tun` is a new one."""
        site, fresh = self.site, False
        if self.tun is None or self.tun.name() is None:
            fresh = True
            self._make_tun()
        if site.small and not self._has(self.black, CLEAR):
            self._ip(self.black, [f"link add {CLEAR} type veth peer name {CLEAR} netns {self.red}"])
        self._fetch(site.wan.interface, self.black)
        self._fetch(site.lan.interface, self.red)
        self._ip(self.red, _refusing(site) + self._red_links(), force=True)
        self._ip(self.black, _refusing(site) + self._black_links(), force=True)
        return fresh

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

    def remove(self) -> None:
        """Gives WAN and LAN back, down and without addresses, and deletes the rest.
        Works on what a crashed predecessor left, too. Idempotent."""
        self.leave()
        for link, name in ((self.site.wan.interface, self.black), (self.site.lan.interface, self.red)):
            if os.path.ismount(_NETNS / name):
                self._give_back(name, link)
                _run("ip", "netns", "del", name)
            (_NETNS / name).unlink(missing_ok=True)

    def _give_back(self, name: str, *links: str) -> None:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            for link in links:
                if self._has(name, link):
                    self._ip(name, [f"link set {link} down",
                                    f"link set {link} netns /proc/{os.getpid()}/fd/{home}"], force=True)
        finally:
            os.close(home)

    def _clear(self, name: str, mine: str) -> None:
        """What a predecessor left in a namespace, but for the interface that stays, which
        goes down: with that its addresses and routes go, too."""
        with inside(name):
            links = set(_links_here())
        self._ip(name, [f"link set {mine} down", f"link del {CLEAR}", f"link del {SECURE}", f"address flush dev {mine}",
                        "-4 route flush type blackhole", "-6 route flush type blackhole"], force=True)
        self._give_back(name, *(links - {"lo", mine, CLEAR, SECURE}))

    def wan_runs(self) -> bool:
        """Whether the WAN interface is there, up and has a carrier."""
        with inside(self.black):
            try:
                return rtnl.link(self.site.wan.interface)["flags"] & _RUNNING == _RUNNING
            except OSError:
                return False

    def open_in(self, room: str) -> int:
        """A descriptor of black's or red's network namespace."""
        return os.open(_NETNS / getattr(self, room), os.O_RDONLY)

    def _make_tun(self) -> None:
        if self.tun is not None:
            self.tun.close()
        with inside(self.red):
            self.tun = _patiently(lambda: tun.create(SECURE, self.site.mtu))

    def _fetch(self, link: str, name: str) -> None:
        """Moves an interface of this host into a room."""
        if not self._has(name, link) and _is_here(link):
            _run("ip", "link", "set", link, "down")
            _run("ip", "link", "set", link, "netns", name)

    def _has(self, name: str, link: str) -> bool:
        with inside(name):
            return _is_here(link)

    def _black_links(self) -> list[str]:
        site, wan = self.site, self.site.wan
        lines = []
        if self._has(self.black, wan.interface):
            lines += [f"link set {wan.interface} mtu {wan.mtu} up"]
            lines += [_address(a, wan.interface) for a in wan.addresses]
            lines += [f"route replace default via {g} dev {wan.interface}" + " onlink" * wan.off_link(g)
                      for g in wan.gateways]
            lines += [_pinned(g, wan.interface, mac) for g, mac in site.gateways]
            near = {ip_address(e.host) for p in site.peers for e in p.endpoints}
            lines += [_pinned(a, wan.interface) for a in near if any(a in w.network for w in wan.addresses)]
        if site.small:
            lines += [f"link set {CLEAR} up"] + [_address(a, CLEAR) for a in CLEAR_BLACK]
            lines += [f"route replace {n} via {_end(CLEAR_RED, n.version)} dev {CLEAR}" for n in site.lan.networks]
            lines += [_pinned(a.ip, CLEAR) for a in CLEAR_RED]
        return lines

    def _red_links(self) -> list[str]:
        site, lan = self.site, self.site.lan
        lines = [f"link set {SECURE} up"]
        here = self._has(self.red, lan.interface)
        if here:
            lines += [f"link set {lan.interface} up"] + [_address(a, lan.interface) for a in lan.addresses]
            on_link = {a.network for a in lan.addresses}
            lines += [f"route replace {n} via {g} dev {lan.interface}" for n in lan.networks for g in lan.gateways
                      if n.version == g.version and not any(
                          n.version == o.version and n.subnet_of(o) for o in on_link)]
            lines += [_pinned(g, lan.interface) for g in lan.gateways]
        for n in site.remote:
            source = next((f" src {a.ip}" for a in lan.addresses if here and a.version == n.version), "")
            lines.append(f"route replace {n} dev {SECURE}{source}")
        if site.small:
            lines += [f"link set {CLEAR} up"] + [_address(a, CLEAR) for a in CLEAR_RED]
            lines += [f"route replace default via {a.ip} dev {CLEAR}" for a in CLEAR_BLACK]
            lines += [_pinned(a.ip, CLEAR) for a in CLEAR_BLACK]
        return lines

    def _ip(self, name: str, lines: list[str], force: bool = False) -> None:
        """`force`: goes on after a line that fails (a link that is gone, an IPv6 address
        where there is no IPv6) and logs it."""
        if not lines:
            return
        with inside(name):
            try:
                _run("ip", *(["-force"] if force else []), "-batch", "-", text="\n".join(lines) + "\n")
            except HostError as e:
                if not force:
                    raise
                log.debug("%s: %s", name, e)

    @staticmethod
    def _forget_sooner() -> None:
        """After the rules: the kernel's part that tracks connections may only now be there."""
        for name, seconds in _TRACKING.items():
            try:
                Path("/proc/sys/net/netfilter", name).write_text(str(seconds))
            except OSError as e:
                log.warning("%s is not set, and connections in clear stay for longer: %s", name, e)

    @staticmethod
    def _sysctls(forward: bool) -> None:
        values = [v.format(scope) for v in _SYSCTLS for scope in ("all", "default")]
        values = [f"ipv4/ip_forward={forward:d}", f"ipv6/conf/all/forwarding={forward:d}", *values]
        for name, _, value in (v.partition("=") for v in values):
            try:
                Path("/proc/sys/net", name).write_text(value)
            except FileNotFoundError:  # a kernel without IPv6
                pass


def _links_here() -> list[str]:
    return re.findall(r"^\s*([^\s:]+):", Path("/proc/thread-self/net/dev").read_text(), re.MULTILINE)


def _is_here(link: str) -> bool:
    return link in _links_here()


def _patiently(make):
    """Rooms of a predecessor end with it, but perhaps not before its successor begins."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return make()
        except OSError as e:
            if e.errno not in (errno.EADDRINUSE, errno.EBUSY) or time.monotonic() > until:
                raise
            time.sleep(0.05)


def _refusing(site: Site) -> list[str]:
    return [f"route replace blackhole {n} metric {_BLACKHOLE_METRIC}" for n in site.protected]


def _address(address, link: str) -> str:
    return f"address replace {address} dev {link}{' nodad' if address.version == 6 else ''}"


def _pinned(address, link: str, mac: str | None = None) -> str:
    """A neighbour that the host's table, which every link's neighbours can fill, never
    throws out: as the site file says, else kept up to date by the kernel (Linux 5.16)."""
    how = f"lladdr {mac} nud permanent" if mac else "managed extern_learn"
    return f"neigh replace {address} dev {link} {how}"


def _end(addresses: tuple, version: int):
    return next(a.ip for a in addresses if a.version == version)
