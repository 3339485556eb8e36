"""`wgpy up` where IPv6 is disabled: what needs none comes up and works, what needs it fails
in words that say so, and leaves nothing behind."""

import json
import sys
from pathlib import Path

import pytest

from wgpy.lab.netns import Netns, join
from wgpy.lab.traffic import ping
from wgpy.lab.tunnel import PeerConfig, Tunnel, private_key, public_key

pytestmark = pytest.mark.netns
WGPY = str(Path(sys.executable).with_name("wgpy"))
FAR, NEAR = "203.0.113.1", "203.0.113.2"
ADDRESS = "Address = 10.9.0.2/24"
STATE = (["ip", "rule"], ["ip", "-6", "rule"], ["ip", "-br", "link"], ["ip", "route", "show", "table", "all"],
         ["ip", "-6", "route", "show", "table", "all"], ["nft", "list", "ruleset"], ["ls", "-A", "/run/wireguard"])
DISABLED = "Permission denied (IPv6 is disabled here: sysctl net.ipv6.conf.*.disable_ipv6)"
RESOLVCONF = '#!/bin/sh\necho "$@" >> {0}\n[ "$1" = -d ] || cat >> {0}\n'

NEED_NONE = {  # lines of [Interface], lines of [Peer]
    "plain": (ADDRESS, "AllowedIPs = 10.9.0.1/32, 192.0.2.0/24"),
    "default": (ADDRESS, "AllowedIPs = 0.0.0.0/0"),
    "a table": (f"{ADDRESS}\nTable = 1234", "AllowedIPs = 10.9.0.1/32, 10.0.0.0/8"),
    "routes of others": (f"{ADDRESS}\nTable = off", "AllowedIPs = 0.0.0.0/0, ::/0"),
    "a name server by IPv6": (f"{ADDRESS}\nDNS = fd00::53", "AllowedIPs = 10.9.0.1/32"),
}
NEED_IT = {  # the same, and the step that fails
    "an address": ("Address = fd09::2/64", "", "address fd09::2/64"),
    "an address of two": (f"{ADDRESS}, fd09::2/64", "AllowedIPs = 10.9.0.1/32", "address fd09::2/64"),
    "a route": (ADDRESS, "AllowedIPs = 10.9.0.1/32, fd01::/32", "route fd01::/32"),
    "a default route": (ADDRESS, "AllowedIPs = ::/0", "route ::/0"),
    "a default route of two": (ADDRESS, "AllowedIPs = 0.0.0.0/0, ::/0", "route ::/0"),
    "a route in a table": (f"{ADDRESS}\nTable = 1234", "AllowedIPs = ::/0, 10.0.0.0/8", "route ::/0"),
    "a route and DNS": (f"{ADDRESS}\nDNS = 10.9.0.1", "AllowedIPs = fd01::/32", "route fd01::/32"),
}


class Site:
    def __init__(self, far, host, directory):
        self.host, self.path, self.key = host, directory / "q0.conf", private_key()
        self.asked = directory / "asked"
        tool = directory / "bin" / "resolvconf"
        tool.parent.mkdir()
        tool.write_text(RESOLVCONF.format(self.asked))
        tool.chmod(0o755)
        self.programs = f"PATH={tool.parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        self.far = Tunnel(far, "wgpyd", addresses=("10.9.0.1/24",), peers=(
            PeerConfig(public_key(self.key), ("10.9.0.2/32",)),)).start()

    def up(self, interface, peer, endpoint=f"{FAR}:51820"):
        self.path.write_text(f"[Interface]\nPrivateKey = {self.key}\n{interface}\n[Peer]\n"
                             f"PublicKey = {self.far.public_key}\nEndpoint = {endpoint}\n{peer}\n")
        self.path.chmod(0o600)
        return self.wgpy("up")

    def wgpy(self, what):
        return self.host.run("env", self.programs, WGPY, what, self.path, check=False)

    def state(self):
        return [self.host.settle().run(*c).stdout for c in STATE]


@pytest.fixture(scope="module", params=["all", "default"])
def site(request, tmp_path_factory):
    """`default` counts for interfaces that are made later, as that of the tunnel is."""
    with Netns("far") as far, Netns("host") as host:
        join(far, host, a_addresses=(f"{FAR}/24",), b_addresses=(f"{NEAR}/24",))
        host.sysctl(**{f"net__ipv6__conf__{request.param}__disable_ipv6": 1})
        host.ip("route", "add", "default", "via", FAR)
        yield Site(far, host, tmp_path_factory.mktemp("site"))


@pytest.mark.parametrize("form", NEED_NONE)
def test_what_needs_no_ipv6_works(site, form):
    before = site.state()
    done = site.up(*NEED_NONE[form])
    assert (done.returncode, done.stdout) == (0, "") and "denied" not in done.stderr, done.stderr
    assert ping(site.host, "10.9.0.1").lost == 0
    assert json.loads(site.host.run(WGPY, "show", "q0", "--json").stdout)["q0"]["up"]
    done = site.wgpy("down")
    assert done.returncode == 0, done.stderr
    assert site.state() == before


def test_an_endpoint_out_of_reach_does_not_keep_a_tunnel_down(site):
    """As in wg-quick(8): the peer may roam to where it can be reached."""
    before = site.state()
    done = site.up(ADDRESS, "AllowedIPs = 10.9.0.1/32", "[2001:db8::9]:51820")
    assert done.returncode == 0, done.stderr
    assert ping(site.host, "10.9.0.1", count=1, wait=0).lost == 1
    site.host.run("wg", "set", "q0", "peer", site.far.public_key, "endpoint", f"{FAR}:51820")
    assert ping(site.host, "10.9.0.1", wait=12).lost == 0
    assert site.wgpy("down").returncode == 0 and site.state() == before


@pytest.mark.parametrize("form", NEED_IT)
def test_what_needs_ipv6_fails_and_says_why(site, form):
    interface, peer, step = NEED_IT[form]
    site.asked.unlink(missing_ok=True)
    before = site.state()
    done = site.up(interface, peer)
    errors = [line for line in done.stderr.splitlines() if line.startswith("wgpy: ")]
    assert done.returncode == 1 and errors == [f"wgpy: {step}: {DISABLED}"], done.stderr
    assert site.state() == before
    asked = site.asked.read_text().splitlines() if site.asked.exists() else []
    assert [a.split()[0] for a in asked if a[0] == "-"] == (["-a", "-d"] if "DNS" in interface else [])
    down = site.wgpy("down")
    assert down.returncode == 1 and "no such tunnel is up" in down.stderr


def test_doctor_knows(site):
    said = site.host.run(WGPY, "doctor", check=False).stdout
    (line,) = [x for x in said.splitlines() if "IPv6" in x]
    assert "not available to new interfaces" in line, line
