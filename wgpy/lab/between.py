"""From LAN host to LAN host, for benchmarks: the same two hosts, routers' places and
Internet, with encryptors or with standalone daemons between them."""

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wgpy.lab.encryptors import ROOMS, Node, Pair
from wgpy.lab.netns import Netns, cpu_seconds, wait_until
from wgpy.lab.sites import Sites
from wgpy.lab.suites import loaded
from wgpy.lab.traffic import ping
from wgpy.lab.tunnel import Implementation


@dataclass
class Between:
    """`address` is b's as seen from a, `back` a's as seen from b; `ends` are the process
    numbers of what carries the traffic."""
    a: Netns
    b: Netns
    address: str
    back: str
    ends: tuple[int, ...]

    def cpu(self) -> float:
        """CPU seconds of all ends so far."""
        return sum(map(cpu_seconds, self.ends))

    def wait(self) -> "Between":
        wait_until(lambda: ping(self.a, self.address, count=1).times, 60, "a ping from host to host")
        return self


@contextmanager
def encryptors(mode: str = "small", mtu: int = 1500, suite: str | None = None, kind: type[Node] = Node):
    """Two encryptors of three rooms each, WAN and LAN of `mtu` bytes, with the library `suite`'s
    functions or WireGuard's, of processes or of guests; yields a `Between` through which pings go."""
    with tempfile.TemporaryDirectory() as directory, loaded(suite) as library, Pair(
            Path(directory), mode, routers=mode == "large", mtu=mtu, library=library, kinds=(kind, kind)) as pair:
        a, b = pair.nodes
        pids = tuple(node.pid_here(room) for node in pair.nodes for room in ROOMS)
        yield Between(a.host, b.host, b.address, a.address, pids).wait()


@contextmanager
def standalone(impl: str | Implementation = "wgpyd", env: dict | None = None):
    """The same with one daemon a site."""
    with Sites(2, impl, env=env) as made:
        a, b = made.sites
        pids = tuple(s.tunnel.process.pid for s in made.sites if s.tunnel.process)
        yield Between(a.host, b.host, b.address, a.address, pids).wait()
