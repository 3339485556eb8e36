"""Two sites joined by a tunnel over a veth: the topology of demo, tests and benchmarks."""

from wgpy.lab.netns import Netns, join, need
from wgpy.lab.tunnel import Implementation, PeerConfig, Tunnel, preshared_key

OUTSIDE4 = ("198.51.100.1", "198.51.100.2")
OUTSIDE6 = ("2001:db8:51::1", "2001:db8:51::2")
INSIDE4 = ("10.77.0.1", "10.77.0.2")
INSIDE6 = ("fd77::1", "fd77::2")


def endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class TwoSites:
    """Tunnels `a` and `b` in namespaces of their own, configured and up when the block is
    entered; only `a` knows an endpoint unless `both_endpoints`. `outside` is 4 or 6."""

    def __init__(self, left: str | Implementation = "wgpyd",
                 right: str | Implementation | None = None, *, mtu: int = 1420,
                 link_mtu: int = 1500, outside: int = 4, psk: bool = False,
                 both_endpoints: bool = False, env: dict | None = None):
        need("ip", "nsenter", "unshare", "wg", "ping")
        self.outside = OUTSIDE4 if outside == 4 else OUTSIDE6
        self._closing: list[Netns] = []
        try:
            hosts = [self._namespace(n) for n in "ab"]
            join(*hosts, mtu=link_mtu,
                 a_addresses=(f"{OUTSIDE4[0]}/24", f"{OUTSIDE6[0]}/64"),
                 b_addresses=(f"{OUTSIDE4[1]}/24", f"{OUTSIDE6[1]}/64"))
            self.a, self.b = (
                Tunnel(host, impl, mtu=mtu, env=env,
                       addresses=(f"{INSIDE4[i]}/24", f"{INSIDE6[i]}/64"))
                for i, (host, impl) in enumerate(zip(hosts, (left, right or left))))
            pair(self.a, self.b, self.outside, psk=preshared_key() if psk else None,
                 both_endpoints=both_endpoints)
        except BaseException:
            self.close()
            raise

    def _namespace(self, name: str) -> Netns:
        self._closing.append(Netns(name))
        return self._closing[-1]

    def __enter__(self) -> "TwoSites":
        try:
            self.a.start()
            self.b.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def close(self) -> None:
        for ns in self._closing:
            ns.close()


def pair(a: Tunnel, b: Tunnel, outside: tuple[str, str], *, psk: str | None = None,
         both_endpoints: bool = False) -> None:
    """Makes two tunnels each other's only peer; takes effect at start() or apply()."""
    a.peers = (PeerConfig(b.public_key, _inside(b), endpoint(outside[1], b.port), psk),)
    b.peers = (PeerConfig(a.public_key, _inside(a),
                          endpoint(outside[0], a.port) if both_endpoints else None, psk),)


def _inside(tunnel: Tunnel) -> tuple[str, ...]:
    return tuple(address.partition("/")[0] + ("/128" if ":" in address else "/32")
                 for address in tunnel.addresses)
