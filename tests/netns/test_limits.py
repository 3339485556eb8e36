"""Hubs with thousands of peers, and TUN devices that others opened."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wgpy.lab.netns import Netns, resident_bytes, wait_until
from wgpy.lab.traffic import fetch, file_server, ping
from wgpy.lab.tunnel import private_key
from wgpy.lab.two_sites import INSIDE4, TwoSites

pytestmark = pytest.mark.netns
WGPYD = str(Path(sys.executable).with_name("wgpyd"))


def hub(tmp_path, peers: int) -> Path:
    path = tmp_path / f"{peers}.conf"
    text = [f"[Interface]\nPrivateKey = {private_key()}\nListenPort = 51821\n"]
    text += [f"[Peer]\nPublicKey = {base64.b64encode(os.urandom(31) + bytes(1)).decode()}\n"
             f"AllowedIPs = 10.{i >> 8}.{i & 255}.0/24, fd00:{i:x}::/64\n" for i in range(peers)]
    path.write_text("".join(text))
    return path


@pytest.fixture
def daemon():
    """start(**environment) -> (namespace, the daemon); the interface is q0."""
    with Netns("hub") as host:
        def start(**environment):
            process = host.popen("env", *[f"{k}={v}" for k, v in environment.items()], WGPYD, "-f", "q0",
                                 stderr=subprocess.PIPE, text=True)
            wait_until(lambda: host.run("wg", "show", "q0", check=False).returncode == 0, 60, "it answers")
            return host, process
        yield start


def shown(host) -> tuple[int, int]:
    """(peers, prefixes) as wg(8) counts them."""
    rows = host.run("wg", "show", "q0", "allowed-ips").stdout.splitlines()
    return len(rows), sum(len(row.split()) - 1 for row in rows)


def test_thousands_of_peers_by_every_way_of_wg(daemon, tmp_path):
    host, process = daemon()
    before = resident_bytes(process.pid)
    many, fewer = hub(tmp_path, 5000), hub(tmp_path, 3)
    host.run("wg", "setconf", "q0", many, timeout=120)
    assert shown(host) == (5000, 10000)
    host.run("wg", "syncconf", "q0", many, timeout=120)
    assert shown(host) == (5000, 10000), "the same again changes nothing"
    host.run("wg", "setconf", "q0", fewer, timeout=120)
    assert shown(host) == (3, 6)
    host.run("wg", "setconf", "q0", many, timeout=120)
    assert shown(host) == (5000, 10000)
    assert before < 40e6, "the limit itself costs no memory"


def test_one_peer_more_than_the_limit_changes_nothing_and_says_why(daemon, tmp_path):
    host, process = daemon(WGPY_MAX_PEERS=100)
    host.run("wg", "setconf", "q0", hub(tmp_path, 100))
    done = host.run("wg", "setconf", "q0", hub(tmp_path, 101), check=False)
    assert "No space left on device" in done.stderr and shown(host) == (100, 200)
    host.ip("link", "del", "q0")
    assert "more than 100 peers" in process.communicate(timeout=60)[1]


def test_prefixes_move_with_a_set_of_many_peers(daemon):
    """syncconf replaces the prefixes of several present peers in one set; what moved from one
    to another, or was given up, is where the last word put it."""
    host, _ = daemon()
    a, b, c = (base64.b64encode(bytes([i]) * 31 + bytes(1)).decode() for i in (1, 2, 3))
    def sync(*peers):
        text = "".join(f"[Peer]\nPublicKey = {key}\nAllowedIPs = {ips}\n" for key, ips in peers)
        host.run("wg", "syncconf", "q0", "/dev/stdin", input=text)
        rows = (row.split() for row in host.run("wg", "show", "q0", "allowed-ips").stdout.splitlines())
        return {key: set(ips) - {"(none)"} for key, *ips in rows}
    sync((a, "10.1.0.0/16, 10.2.0.0/16"), (b, "10.3.0.0/16"), (c, "10.4.0.0/16"))
    assert sync((a, "10.2.0.0/16"), (b, "10.1.0.0/16, 10.3.0.0/16"), (c, "10.5.0.0/16")) == {
        a: {"10.2.0.0/16"}, b: {"10.1.0.0/16", "10.3.0.0/16"}, c: {"10.5.0.0/16"}}
    assert sync((b, "10.2.0.0/16"), (a, "10.3.0.0/16")) == {b: {"10.2.0.0/16"}, a: {"10.3.0.0/16"}}


def test_a_tun_without_a_virtio_header_carries_packets_both_ways(tmp_path):
    """As wireguard-go takes one: slower, one packet a call."""
    import pytun
    (tmp_path / "file").write_bytes(os.urandom(300_000))
    with TwoSites("wgpyd") as sites:
        host = sites.a.host
        with host.entered():
            tun = pytun.TunTapDevice("bare0", pytun.IFF_TUN | pytun.IFF_NO_PI)
        fd = tun.fileno()
        os.set_inheritable(fd, True)
        process = host.popen("env", f"WG_TUN_FD={fd}", WGPYD, "-f", "bare0", pass_fds=(fd,))
        tun.close()
        wait_until(lambda: host.run("wg", "show", "bare0", check=False).returncode == 0, 60, "it answers")
        take_over(sites, "bare0")
        assert ping(host, INSIDE4[1]).lost == 0
        with file_server(sites.b.host, tmp_path, INSIDE4[1]) as netloc:
            assert fetch(host, netloc, "/file").size == 300_000
        with file_server(host, tmp_path, INSIDE4[0]) as netloc:
            assert fetch(sites.b.host, netloc, "/file").size == 300_000
        host.ip("link", "del", "bare0")
        assert process.wait(60) == 0


def take_over(sites, iface: str) -> None:
    """The configuration and addresses of site a's tunnel go to another interface of it."""
    host = sites.a.host
    text = host.run("wg", "showconf", "wg0").stdout
    sites.a.stop()
    host.run("wg", "setconf", iface, "/dev/stdin", input=text)
    host.ip("address", "add", f"{INSIDE4[0]}/24", "dev", iface)
    host.ip("link", "set", iface, "mtu", "1420", "up")
