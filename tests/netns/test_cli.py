"""`wgpy up` and `down` on a real host namespace: default routes, SaveConfig, undo."""

import json
import sys
from pathlib import Path

import pytest

from wgpy.lab.netns import Netns, join, wait_until
from wgpy.lab.traffic import ping
from wgpy.lab.tunnel import PeerConfig, Tunnel, private_key, public_key

pytestmark = pytest.mark.netns
WGPY = str(Path(sys.executable).with_name("wgpy"))
FAR, NEAR = "203.0.113.1", "203.0.113.2"
STATE = (["ip", "rule"], ["ip", "-6", "rule"], ["ip", "route", "show", "table", "all"],
         ["nft", "list", "ruleset"], ["ls", "/run/wireguard"])


class Site:
    """`host` reaches `far`, a tunnel endpoint that also answers as 192.0.2.77."""

    def __init__(self, far, host, directory):
        self.host, self.directory, self.key = host, directory, private_key()
        self.far = Tunnel(far, "wgpyd", addresses=("10.9.0.1/24", "fd09::1/64", "192.0.2.77/32"), peers=(
            PeerConfig(public_key(self.key), ("10.9.0.2/32", "fd09::2/128")),)).start()

    def file(self, interface="", peer="AllowedIPs = 10.9.0.1/32", name="q0"):
        path = self.directory / f"{name}.conf"
        path.write_text(f"[Interface]\nPrivateKey = {self.key}\nAddress = 10.9.0.2/32, fd09::2/128\n{interface}\n"
                        f"[Peer]\nPublicKey = {self.far.public_key}\nEndpoint = {FAR}:51820\n{peer}\n")
        path.chmod(0o600)
        return path

    def wgpy(self, *args, check=True):
        return self.host.run("env", "WG_ENDPOINT_RESOLUTION_RETRIES=1", WGPY, *args, check=check)

    def state(self):
        return [self.host.settle().run(*c).stdout for c in STATE]


@pytest.fixture
def site(tmp_path):
    with Netns("far") as far, Netns("host") as host:
        join(far, host, a_addresses=(f"{FAR}/24",), b_addresses=(f"{NEAR}/24",))
        host.ip("route", "add", "default", "via", FAR)
        yield Site(far, host, tmp_path)


def test_default_route_takes_everything_but_the_tunnel_itself(site):
    before = site.state()
    path = site.file(peer="AllowedIPs = 0.0.0.0/0, ::/0")
    site.wgpy("up", path)
    assert ping(site.host, "192.0.2.77").lost == 0
    assert "dev q0" in site.host.ip("route", "get", "192.0.2.77")
    assert "dev eth0" in site.host.ip("route", "get", FAR), "main has more than a default for it"
    mark = site.host.run("wg", "show", "q0", "fwmark").stdout.strip()
    assert int(mark, 16) == 51820
    assert "dev eth0" in site.host.ip("route", "get", "192.0.2.77", "mark", mark)
    assert "fib saddr type != local drop" in site.host.run("nft", "list", "ruleset").stdout
    site.wgpy("down", path)
    assert site.state() == before


def test_two_default_tunnels_do_not_touch_each_other(site):
    before = site.state()
    one = site.file(peer="AllowedIPs = 0.0.0.0/0")
    site.wgpy("up", one)
    middle = site.state()
    site.key = private_key()
    two = site.file("ListenPort = 7000", "AllowedIPs = 0.0.0.0/0", "q1")
    two.write_text(two.read_text().replace("10.9.0.2/32, fd09::2/128", "10.9.1.2/32"))
    site.wgpy("up", two)
    assert site.state() != middle
    site.wgpy("down", two)
    assert site.state() == middle
    site.wgpy("down", one)
    assert site.state() == before


@pytest.mark.parametrize("table, where", [("off", None), ("1234", "1234")])
def test_table(site, table, where):
    site.wgpy("up", site.file(f"Table = {table}", "AllowedIPs = 10.50.0.0/16, 10.9.0.1/32"))
    main = site.host.ip("route", "show", "dev", "q0")
    assert "10.50.0.0/16" not in main
    if where:
        assert "10.50.0.0/16" in site.host.ip("route", "show", "table", where)


@pytest.mark.parametrize("interface, peer, says", [
    ("PostUp = false", "AllowedIPs = 0.0.0.0/0", "'false' ended with status 1"),
    ("PreUp = exit 3", "", "status 3"), ("Address = 224.0.0.1/4, 999.0.0.1", "", "Address"),
    ("DNS = 1.1.1.1", "", "resolvconf is missing"), ("", "Endpoint = nowhere.invalid:1", "cannot be resolved"),
    ("Table = 5\nAddress = 10.9.0.2/32", "AllowedIPs = 10.0.0.0/8", "address 10.9.0.2/32"),
])
def test_failure_undoes_everything(site, interface, peer, says):
    before = site.state()
    done = site.wgpy("up", site.file(interface, peer), check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("wgpy: ")]
    assert done.returncode == 1 and len(errors) == 1 and says in errors[0]
    assert "Traceback" not in done.stderr and site.state() == before


def test_unresolvable_endpoint_names_file_line_and_key(site):
    path = site.file()
    path.write_text(path.read_text().replace(f"{FAR}:51820", "nowhere.invalid:1"))
    done = site.wgpy("up", path, check=False)
    assert done.returncode == 1 and f"{path}:7: Endpoint: 'nowhere.invalid'" in done.stderr


def test_save_config(site):
    path = site.file("SaveConfig = true\nPostUp = true # not a comment of ours\nMTU = 1300")
    site.wgpy("up", path)
    other = public_key(private_key())
    site.host.run("wg", "set", "q0", "peer", other, "allowed-ips", "10.70.0.0/16")
    site.host.ip("address", "add", "10.9.9.9/32", "dev", "q0")
    site.wgpy("down", path)
    saved = path.read_text()
    for text in (other, "10.70.0.0/16", "10.9.9.9/32", "SaveConfig = true", "PostUp = true", "MTU = 1300"):
        assert text in saved
    assert path.stat().st_mode & 0o777 == 0o600
    site.wgpy("up", path)
    assert other in site.host.run("wg", "show", "q0", "peers").stdout


def test_show_and_json(site):
    path = site.file()
    steps = json.loads(site.wgpy("up", path, "--json").stdout)
    assert steps["interface"] == "q0" and steps["steps"]
    assert ping(site.host, "10.9.0.1").lost == 0
    shown = json.loads(site.wgpy("show", "--json").stdout)["q0"]
    peer = shown["peers"][site.far.public_key]
    assert peer["rx_bytes"] > 0 and peer["latest_handshake"] > 1e9 and shown["drops"]["no_peer"] >= 0
    assert shown["public_key"] == public_key(site.key) and site.key not in json.dumps(shown)
    text = site.wgpy("show", "q0").stdout
    assert "latest handshake" in text and "\x1b" not in text and site.key not in text
    assert site.wgpy("show", "q0", "--conf").stdout == site.host.run("wg", "showconf", "q0").stdout
    again = site.wgpy("up", path, check=False)
    assert again.returncode == 1 and "exists already" in again.stderr
    site.wgpy("down", "q0", check=False)
    site.wgpy("down", path, "--json", check=False)
    wait_until(lambda: site.host.run("ls", "/run/wireguard").stdout == "", 20, "the daemon ends")


def test_doctor(site):
    done = site.wgpy("doctor", "--json", check=False)
    findings = {f["name"]: f for f in json.loads(done.stdout)}
    assert findings["AEAD openssl"]["state"] == "ok" and findings["/dev/net/tun"]["state"] == "ok"
    assert all(f["remedy"] for f in findings.values() if f["state"] != "ok")
    assert (done.returncode == 0) == all(f["state"] != "missing" for f in findings.values())


def test_dns_goes_through_resolvconf_and_is_taken_back(site, tmp_path):
    tool, log = tmp_path / "bin" / "resolvconf", tmp_path / "dns.log"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\necho "$@" >> {log}\n[ "$1" = -a ] && cat >> {log}\nexit 0\n')
    tool.chmod(0o755)
    path = site.file("DNS = 1.1.1.1, fd00::53, corp.example")
    for verb in ("up", "down"):
        site.host.run("env", f"PATH={tool.parent}:/usr/sbin:/usr/bin:/sbin:/bin", WGPY, verb, path)
    assert log.read_text().splitlines() == [
        "-a q0 -m 0 -x", "nameserver 1.1.1.1", "nameserver fd00::53", "search corp.example", "-d q0 -f"]


def test_colours_only_on_a_terminal(site):
    site.wgpy("up", site.file())
    for command in ("show", "doctor"):
        on_terminal = site.host.run("script", "-qec", f"env TERM=xterm {WGPY} {command}", "/dev/null").stdout
        assert "\x1b[" in on_terminal and "Traceback" not in on_terminal
        assert "\x1b[" not in site.wgpy(command, check=False).stdout


def test_without_root_it_says_so(site):
    site.wgpy("up", site.file())
    for args in (("show",), ("show", "q0"), ("up", str(site.file(name="q5"))), ("down", "q0")):
        # may read, so that a checkout in root's own directory will do
        done = site.host.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                             "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", sys.executable, "-I", "-c",
                             "from wgpy.cli import main; main()", *args, check=False)
        said = [line for line in done.stderr.splitlines() if not line.startswith("# ")]  # what `up` did
        assert done.returncode == 1 and len(said) == 1 and said[0].startswith("wgpy: ")
