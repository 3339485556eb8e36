"""wg(8) and wg-quick(8) of wireguard-tools, which we did not write, on our daemon."""

import re
import socket
import sys
from pathlib import Path

import pytest

from wgpy.lab.netns import Netns, join, wait_until
from wgpy.lab.traffic import ping
from wgpy.lab.tunnel import Tunnel, preshared_key, private_key, public_key
from wgpy.lab.two_sites import INSIDE4, TwoSites

pytestmark = pytest.mark.netns
WGPYD = str(Path(sys.executable).with_name("wgpyd"))
PEER, OTHER, PSK = public_key(private_key()), public_key(private_key()), preshared_key()


@pytest.fixture(scope="module")
def host():
    with Netns("tools") as host:
        yield host


@pytest.fixture
def tunnel(host):
    tunnel = Tunnel(host, "wgpyd", iface="wg0").start()
    yield tunnel
    tunnel.stop()


def conf(*peers, key=None, port=5000):
    return "\n".join([f"[Interface]\nListenPort = {port}", f"PrivateKey = {key}" if key else "",
                      *(f"[Peer]\n{p}" for p in peers)]) + "\n"


def test_show_in_every_form(host, tunnel):
    tunnel.wg("set", "fwmark", "0x10", "peer", PEER, "preshared-key", "/dev/stdin", "endpoint",
              "[2001:db8::7]:7", "persistent-keepalive", "25", "allowed-ips", "10.1.0.0/16,fd00::/64", input=PSK)
    assert host.run("wg", "show", "interfaces").stdout.split() == ["wg0"]
    assert tunnel.wg("show", "public-key").strip() == tunnel.public_key
    assert len(tunnel.wg("show", "private-key").strip()) == 44
    assert tunnel.wg("show", "listen-port").strip() == "51820"
    assert tunnel.wg("show", "fwmark").strip() == "0x10"
    assert tunnel.wg("show", "peers").split() == [PEER]
    assert tunnel.wg("show", "preshared-keys").split() == [PEER, PSK]
    assert tunnel.wg("show", "endpoints").split() == [PEER, "[2001:db8::7]:7"]
    assert tunnel.wg("show", "allowed-ips").split() == [PEER, "10.1.0.0/16", "fd00::/64"]
    assert tunnel.wg("show", "latest-handshakes").split() == [PEER, "0"]
    assert tunnel.wg("show", "persistent-keepalive").split() == [PEER, "25"]
    assert tunnel.wg("show", "transfer").split()[0] == PEER
    assert len(tunnel.wg("show", "dump").splitlines()) == 2
    assert "every 25 seconds" in host.run("wg").stdout
    assert host.run("wg", "show", "all", "dump").stdout.startswith("wg0\t")


def test_showconf_setconf_addconf_syncconf(host, tunnel):
    first = f"PublicKey = {PEER}\nAllowedIPs = 10.1.0.0/16\nEndpoint = 192.0.2.1:7"
    second = f"PublicKey = {OTHER}\nAllowedIPs = 10.2.0.0/16\nPersistentKeepalive = 9"
    host.run("wg", "setconf", "wg0", "/dev/stdin", input=conf(first, key=private_key()))
    shown = tunnel.wg("showconf")
    host.run("wg", "setconf", "wg0", "/dev/stdin", input=shown)
    assert tunnel.wg("showconf") == shown and "ListenPort = 5000" in shown
    host.run("wg", "addconf", "wg0", "/dev/stdin", input=f"[Peer]\n{second}\n")
    assert set(tunnel.wg("show", "peers").split()) == {PEER, OTHER}
    host.run("wg", "syncconf", "wg0", "/dev/stdin", input=conf(second, key=private_key(), port=5001))
    assert tunnel.wg("show", "peers").split() == [OTHER]
    assert tunnel.wg("show", "listen-port").strip() == "5001"
    host.run("wg", "setconf", "wg0", "/dev/stdin", input="[Interface]\n")
    assert tunnel.wg("show", "peers") == "" and tunnel.wg("show", "private-key").strip() == "(none)"


def test_set_removes(host, tunnel):
    tunnel.wg("set", "peer", PEER, "allowed-ips", "10.1.0.0/16")
    tunnel.wg("set", "peer", OTHER, "allowed-ips", "10.1.0.0/16")
    assert tunnel.wg("show", "allowed-ips").split() == [PEER, "(none)", OTHER, "10.1.0.0/16"]
    tunnel.wg("set", "peer", PEER, "remove")
    tunnel.wg("set", "peer", OTHER, "allowed-ips", "")
    assert tunnel.wg("show", "allowed-ips").split() == [OTHER, "(none)"]
    tunnel.wg("set", "private-key", "/dev/null", "fwmark", "0")
    assert tunnel.wg("show", "private-key").strip() == "(none)"
    assert tunnel.wg("show", "fwmark").strip() == "off"


def test_port_in_use_is_refused_and_changes_nothing(host, tunnel):
    with host.entered():
        taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        taken.bind(("0.0.0.0", 7777))
    with taken:
        before = tunnel.wg("showconf")
        bad = host.run("wg", "set", "wg0", "listen-port", "7777", "peer", PEER, "allowed-ips", "10.0.0.0/8",
                       check=False)
        assert bad.returncode != 0 and "in use" in bad.stderr
        assert tunnel.wg("showconf") == before
    tunnel.wg("set", "listen-port", "7777")
    assert tunnel.wg("show", "listen-port").strip() == "7777"


def quick_file(directory, name, text):
    path = Path(directory) / f"{name}.conf"
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("tool", ["wg-quick", "wgpy"])
def test_up_and_down(tmp_path, tool):
    """wg-quick with our daemon and `wgpy up` leave the same addresses, routes and MTU,
    and nothing behind."""
    command = ["wg-quick"] if tool == "wg-quick" else [str(Path(sys.executable).with_name("wgpy"))]
    with TwoSites("wgpyd") as sites:
        far = sites.b
        with Netns("quick") as host:
            join(far.host, host, names=("eth1", "eth0"), mtu=1400,
                 a_addresses=("203.0.113.1/24",), b_addresses=("203.0.113.2/24",))
            key = private_key()
            far.wg("set", "peer", public_key(key), "allowed-ips", "10.9.0.2/32,0.0.0.0/0")
            far.host.ip("route", "add", "10.9.0.0/24", "dev", "wg0")
            path = quick_file(tmp_path, "wgq0", f"""
                [Interface]
                PrivateKey = {key}
                Address = 10.9.0.2/24, fd09::2/64
                PostUp = echo %i > {tmp_path}/up
                PostDown = echo %i > {tmp_path}/down
                [Peer]
                PublicKey = {far.public_key}
                AllowedIPs = {INSIDE4[1]}/32, 10.9.0.1/32, fd77::/64
                Endpoint = 203.0.113.1:{far.port}
            """)
            before = [host.settle().run(*c).stdout for c in (["ip", "rule"], ["ip", "route"], ["ip", "-6", "route"])]
            with_daemon = ["env", f"WG_QUICK_USERSPACE_IMPLEMENTATION={WGPYD}",
                           f"PATH={Path(WGPYD).parent}:/usr/sbin:/usr/bin:/sbin:/bin"]
            host.run(*with_daemon, *command, "up", path)
            assert (tmp_path / "up").read_text().strip() == "wgq0"
            assert ping(host, INSIDE4[1]).lost == 0
            link = host.ip("-o", "link", "show", "wgq0")
            assert re.search(r"mtu (\d+)", link)[1] == "1320"
            addresses = host.ip("-o", "addr", "show", "wgq0")
            assert "10.9.0.2/24" in addresses and "fd09::2/64" in addresses
            routed = host.ip("route", "show", "dev", "wgq0")
            assert INSIDE4[1] in routed and "10.9.0.1" not in routed
            assert "fd77::/64" in host.ip("-6", "route", "show", "dev", "wgq0")
            host.run(*with_daemon, *command, "down", path)
            assert (tmp_path / "down").read_text().strip() == "wgq0"
            wait_until(lambda: host.run("wg", "show", "interfaces").stdout.strip() == "", 20, "daemon ends")
            assert before == [host.run(*c).stdout for c in (["ip", "rule"], ["ip", "route"], ["ip", "-6", "route"])]
            assert host.run("ls", "/run/wireguard").stdout == ""


def test_one_daemon_two_names(host):
    """Several daemons on one host."""
    tunnels = [Tunnel(host, "wgpyd", iface=f"wg{i}", port=6000 + i).start() for i in range(5)]
    assert sorted(host.run("wg", "show", "interfaces").stdout.split()) == [f"wg{i}" for i in range(5)]
    for tunnel in tunnels:
        assert tunnel.stop() == 0
    assert host.run("wg", "show", "interfaces").stdout.strip() == ""
