"""Model 1: sites joined by standalone tunnels, with direct Internet beside them. Each
site has a router, which runs one daemon and hides its LAN behind the WAN's address, and
a host that knows nothing but a default route."""

from contextlib import ExitStack
from itertools import combinations

from wgpy.lab.internet import Internet, lan_host, make_router, uplink
from wgpy.lab.netns import Netns, need
from wgpy.lab.tunnel import Implementation, PeerConfig, Tunnel, preshared_key
from wgpy.lab.two_sites import endpoint

MAX_SITES = 26


class Site:
    """`lan` is the site's network, `address` its host's, `tunnel` runs on `router`."""

    def __init__(self, name: str, number: int, internet: Internet, impl: str | Implementation, env: dict | None):
        self.name, self.lan = name, f"10.{number}.0.0/24"
        self.address, self.inner = f"10.{number}.0.2", f"10.{number}.0.1"
        self.home = uplink(number)
        with ExitStack() as stack:
            self.router = stack.enter_context(Netns(f"{name}-router"))
            internet.attach(self.router, name, self.home)
            self.host = stack.enter_context(lan_host(f"{name}-host", self.router, self.address, self.inner))
            make_router(self.router, self.inner, self.home)
            self.router.ip("route", "add", "blackhole", "10.0.0.0/8")
            self.tunnel = Tunnel(self.router, impl, env=env)
            self._stack = stack.pop_all()

    def close(self) -> None:
        self._stack.close()


class Sites:
    """`count` sites, a full mesh of tunnels between them and an Internet around them, up
    when the block is entered."""

    def __init__(self, count: int = 2, impl: str | Implementation = "wgpyd", *, env: dict | None = None):
        if not 2 <= count <= MAX_SITES:
            raise ValueError(f"2 to {MAX_SITES} sites, not {count}")
        need("ip", "nsenter", "unshare", "wg", "ping", "nft")
        with ExitStack() as stack:
            self.internet = stack.enter_context(Internet())
            self.sites: list[Site] = []
            for number in range(1, count + 1):
                self.sites.append(Site(chr(ord("a") + number - 1), number, self.internet, impl, env))
                stack.callback(self.sites[-1].close)
            for one, other in combinations(self.sites, 2):
                psk = preshared_key()
                for here, there in ((one, other), (other, one)):
                    here.tunnel.peers += (PeerConfig(there.tunnel.public_key, (there.lan,),
                                                     endpoint(there.home.address, there.tunnel.port), psk),)
            self._stack = stack.pop_all()

    def __enter__(self) -> "Sites":
        try:
            for site in self.sites:
                site.tunnel.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()
