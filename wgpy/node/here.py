"""What is done in the network namespace of the calling thread, for a room that lives there."""

import errno
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from wgpy.admin.faults import Fault
from wgpy.config.links import CLEAR
from wgpy.config.site_model import Site
from wgpy.errors import HostError
from wgpy.node import ip_lines, links
from wgpy.node.ip_lines import Line

_PATIENCE = 30  # seconds
# in every namespace: no redirects, no router advertisements, no answers for another link
_SYSCTLS = """ipv4/conf/{}/send_redirects=0 ipv4/conf/{}/accept_redirects=0 ipv4/conf/{}/arp_ignore=1
 ipv4/conf/{}/arp_announce=2 ipv6/conf/{}/accept_ra=0 ipv6/conf/{}/accept_redirects=0""".split()
# where connections are tracked: one that is silent may not stay for days (RFC 5382: 7440 s)
_TRACKING = {"nf_conntrack_tcp_timeout_established": 7440, "nf_conntrack_generic_timeout": 120,
             "nf_conntrack_tcp_timeout_max_retrans": 120, "nf_conntrack_tcp_timeout_unacknowledged": 120}

_Made = TypeVar("_Made")


def run(*command: str, text: str | None = None) -> None:
    """HostError with what it said when it fails."""
    done = ip_lines.run(*command, text=text)
    if done.returncode:
        raise HostError(f"{' '.join(command[:4])}: {done.stderr.strip()[:400]}")


def sysctls(forward: bool) -> None:
    """Whether packets are forwarded here, and what no namespace of ours does. OSError."""
    values = [v.format(scope) for v in _SYSCTLS for scope in ("all", "default")]
    values = [f"ipv4/ip_forward={forward:d}", f"ipv6/conf/all/forwarding={forward:d}", *values]
    for name, _, value in (v.partition("=") for v in values):
        try:
            Path("/proc/sys/net", name).write_text(value)
        except FileNotFoundError:  # a kernel without IPv6
            pass


def bring(room: str, site: Site) -> list[Fault]:
    """Brings links, addresses, routes and neighbours of black or red to what the site file says,
    as far as they can be; what cannot. HostError."""
    asked, main = (links.black, site.wan.interface) if room == "black" else (links.red, site.lan.interface)
    needed = versions(CLEAR) if site.small else set()
    lines = list(map(Line, links.refusing(site))) + asked(site, is_here(main), needed)
    lines.sort(key=lambda line: line.text.startswith("neigh "))  # ip ends at one that it cannot have
    return _forget_sooner(room) + ip_lines.faults(room, lines)


def _forget_sooner(room: str) -> list[Fault]:
    """After the rules: the kernel's part that tracks connections may only now be there.
    Without it connections in clear stay for longer."""
    found: list[Fault] = []
    for name, seconds in _TRACKING.items():
        try:
            Path("/proc/sys/net/netfilter", name).write_text(str(seconds))
        except OSError as e:
            found.append(Fault(room, f"{name} = {seconds}", e.strerror or str(e), False))
    return found


def links_here() -> list[str]:
    """Names of interfaces."""
    return re.findall(r"^\s*([^\s:]+):", Path("/proc/thread-self/net/dev").read_text(), re.MULTILINE)


def is_here(link: str) -> bool:
    """Whether there is an interface of that name."""
    return link in links_here()


def patiently(make: Callable[[], _Made]) -> _Made:
    """Rooms of a predecessor end with it, but perhaps not before its successor begins."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return make()
        except OSError as e:
            if e.errno not in (errno.EADDRINUSE, errno.EBUSY) or time.monotonic() > until:
                raise
            time.sleep(0.05)


def versions(link: str) -> set[int]:
    """IP versions that the link between the rooms needs here: of IPv6 there, the site file says
    nothing, so a host may have none."""
    try:
        off = Path(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6").read_text().strip() != "0"
    except FileNotFoundError:
        off = True
    return {4} if off else {4, 6}
