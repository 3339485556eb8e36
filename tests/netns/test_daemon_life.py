"""Life cycle of the daemon: whatever happens to link, sockets and configuration, it
goes on or ends cleanly, and leaks nothing."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from wgpy.lab.netns import Netns, join, wait_until
from wgpy.lab.traffic import ping, pinging
from wgpy.lab.tunnel import PeerConfig, Tunnel, preshared_key, private_key, public_key
from wgpy.lab.two_sites import INSIDE4, TwoSites

pytestmark = pytest.mark.netns
WGPYD = str(Path(sys.executable).with_name("wgpyd"))


@pytest.fixture
def sites():
    with TwoSites("wgpyd", both_endpoints=True) as sites:
        assert ping(sites.a.host, INSIDE4[1], wait=20).lost == 0
        yield sites


def descriptors(tunnel):
    return len(os.listdir(f"/proc/{tunnel.process.pid}/fd"))


def threads(tunnel):
    return len(os.listdir(f"/proc/{tunnel.process.pid}/task"))


def reaches(sites, wait=20):
    return ping(sites.a.host, INSIDE4[1], wait=wait).lost == 0


def ended(tunnel, timeout=20):
    wait_until(lambda: tunnel.process.poll() is not None, timeout, "the daemon ends")
    return tunnel.process.returncode


def down(tunnel, host=None):
    """Returns when the daemon has heard of it: until then a session goes on."""
    (host or tunnel.host).ip("link", "set", "wg0", "down")
    wait_until(lambda: threads(tunnel) == 1, 20, "the pumps stop")


def restarted(tunnel):
    """The link down and up: sessions end, configuration stays."""
    before = threads(tunnel)
    down(tunnel)
    tunnel.host.ip("link", "set", "wg0", "up")
    wait_until(lambda: threads(tunnel) == before, 20, "the pumps start")


def test_down_and_up_again(sites):
    before = descriptors(sites.a), threads(sites.a)
    for _ in range(5):
        down(sites.a)
        wait_until(lambda: str(sites.a.port) not in sites.a.host.run("ss", "-uln").stdout, 20, "the port closes")
        sites.a.host.ip("link", "set", "wg0", "up")
        wait_until(lambda: threads(sites.a) == before[1], 20, "the pumps start")
    sites.a.host.ip("route", "replace", f"{INSIDE4[1]}/32", "dev", "wg0")
    assert reaches(sites) and (descriptors(sites.a), threads(sites.a)) == before


def test_link_deleted_from_outside_ends_it(sites):
    sites.a.host.ip("link", "del", "wg0")
    assert ended(sites.a) == 0
    assert sites.a.host.run("ls", "/run/wireguard").stdout == ""


def test_link_deleted_while_down_ends_it(sites):
    sites.a.host.ip("link", "set", "wg0", "down")
    sites.a.host.ip("link", "del", "wg0")
    assert ended(sites.a) == 0


@pytest.mark.parametrize("how", ["rm -f", "mv -t /tmp"])
def test_socket_file_deleted_ends_it(sites, how):
    sites.a.host.run("touch", "/run/wireguard/other.sock")
    sites.a.host.run("rm", "/run/wireguard/other.sock")
    assert sites.a.running
    sites.a.host.run("sh", "-c", f"{how} /run/wireguard/wg0.sock")
    assert ended(sites.a) == 0
    assert "wg0" not in sites.a.host.ip("link")
    Path("/tmp/wg0.sock").unlink(missing_ok=True)


def test_mtu_change_is_followed(sites):
    for mtu in (1280, 1420):
        for tunnel in (sites.a, sites.b):
            tunnel.host.ip("link", "set", "wg0", "mtu", str(mtu))
        whole = ["ping", "-c", "1", "-W", "2", "-M", "do", "-s", str(mtu - 28), INSIDE4[1]]
        wait_until(lambda: sites.a.host.run(*whole, check=False).returncode == 0, 20, f"{mtu} bytes pass")  # noqa: B023


def move(host, other, name="wg0"):
    subprocess.run(["nsenter", f"--net=/proc/{host.pid}/ns/net", "ip", "link", "set", name, "netns",
                    str(other.pid)], check=True)


def settle(host):
    host.batch(f"address add {INSIDE4[0]}/24 dev wg0", "link set wg0 up")


def test_tun_moved_into_another_namespace(sites):
    """The UDP socket stays where it was; the TUN is followed for link state and MTU."""
    with Netns("inner") as inner:
        move(sites.a.host, inner)
        settle(inner)
        assert ping(inner, INSIDE4[1], wait=20).lost == 0
        assert "wg0" not in sites.a.host.ip("link")
        assert str(sites.a.port) in sites.a.host.run("ss", "-uln").stdout
        assert "51820" not in inner.run("ss", "-uln").stdout
        sites.a.wg("set", "listen-port", "5555")
        assert "5555" in sites.a.host.run("ss", "-uln").stdout
        assert ping(inner, INSIDE4[1], wait=20).lost == 0
        down(sites.a, inner)
        inner.ip("link", "set", "wg0", "up")
        wait_until(lambda: threads(sites.a) > 1, 20, "up is noticed from afar")
        with Netns("innermost") as innermost:
            move(inner, innermost)
            settle(innermost)
            assert ping(innermost, INSIDE4[1], wait=20).lost == 0
            move(innermost, sites.a.host)
        settle(sites.a.host)
        assert reaches(sites)


@pytest.mark.parametrize("up", [True, False])
def test_death_of_the_other_namespace_ends_it(sites, up):
    """We must not keep a namespace alive, nor survive our interface."""
    inner = Netns("inner")
    move(sites.a.host, inner)
    if up:
        settle(inner)
        assert ping(inner, INSIDE4[1], wait=20).lost == 0
    inner.close()
    assert ended(sites.a) == 0


def test_private_key_changed_live(sites):
    key = private_key()
    sites.a.wg("set", "private-key", "/dev/stdin", input=key)
    assert sites.a.wg("show", "public-key").strip() == public_key(key)
    assert not reaches(sites, wait=1)
    sites.b.wg("set", "peer", sites.a.public_key, "remove", "peer", public_key(key),
               "allowed-ips", f"{INSIDE4[0]}/32", "endpoint", f"{sites.outside[0]}:{sites.a.port}")
    assert reaches(sites, wait=20)


def test_psk_changed_live_reaches_the_next_handshake(sites):
    psk = preshared_key()
    for tunnel, other in ((sites.a, sites.b), (sites.b, sites.a)):
        tunnel.wg("set", "peer", other.public_key, "preshared-key", "/dev/stdin", input=psk)
    assert reaches(sites), "the session goes on"
    for side in (sites.a, sites.b):
        restarted(side)
    assert reaches(sites, wait=20)
    sites.b.wg("set", "peer", sites.a.public_key, "preshared-key", "/dev/null")
    restarted(sites.b)
    assert not reaches(sites, wait=2), "a wrong PSK gets silence"


def test_peers_come_and_go_under_traffic(sites):
    before = descriptors(sites.a)
    with pinging(sites.a.host, INSIDE4[1], interval=0.01) as result:
        for round in range(120):
            peers = [public_key(private_key()) for _ in range(20)]
            text = [w for i, p in enumerate(peers) for w in (
                "peer", p, "allowed-ips", f"10.200.{round}.{i}/32", "endpoint", "192.0.2.1:9",
                "persistent-keepalive", "1")]
            sites.a.wg("set", *text)
            sites.a.wg("set", *[w for p in peers for w in ("peer", p, "remove")])
    assert result[0].lost == 0 and result[0].sent > 10
    assert sites.a.wg("show", "peers").split() == [sites.b.public_key]
    wait_until(lambda: descriptors(sites.a) == before, 20, "the last client's connection closes")


def test_peer_removed_and_added_again(sites):
    sites.a.wg("set", "peer", sites.b.public_key, "remove")
    assert not reaches(sites, wait=1)
    sites.a.apply()
    assert reaches(sites, wait=20)


def test_port_changes_under_traffic(sites):
    before = descriptors(sites.a), threads(sites.a)
    for port in range(6000, 6020):
        sites.a.wg("set", "listen-port", str(port))
        assert reaches(sites)
    sites.a.wg("set", "fwmark", "7")
    assert reaches(sites) and (descriptors(sites.a), threads(sites.a)) == before


def test_sigterm_and_restart(sites):
    """A restarted node is heard again: its timestamps are newer."""
    for _ in range(3):
        assert sites.a.stop() == 0
        assert sites.a.host.run("ls", "/run/wireguard").stdout == ""
        sites.a.start()
        assert reaches(sites, wait=20)


def test_killed_daemon_leaves_a_socket_that_the_next_replaces(sites):
    sites.a.process.kill()
    sites.a.process.wait()
    assert sites.a.host.run("ls", "/run/wireguard").stdout.strip() == "wg0.sock"
    sites.a.start()
    assert reaches(sites, wait=20)


def test_host_without_ipv6():
    with Netns("a") as a, Netns("b") as b:
        for host in (a, b):
            host.sysctl(net__ipv6__conf__all__disable_ipv6=1, net__ipv6__conf__default__disable_ipv6=1)
        join(a, b, a_addresses=("198.51.100.1/24",), b_addresses=("198.51.100.2/24",))
        one, two = (Tunnel(h, "wgpyd", addresses=(f"{i}/24",)) for h, i in zip((a, b), INSIDE4))
        one.peers = (PeerConfig(two.public_key, (f"{INSIDE4[1]}/32",), "198.51.100.2:51820"),)
        two.peers = (PeerConfig(one.public_key, (f"{INSIDE4[0]}/32",)),)
        one.start(), two.start()
        assert ping(a, INSIDE4[1], wait=20).lost == 0


def test_several_threads_a_direction():
    """P1: one peer's packets on several cores, through one TUN queue and one socket."""
    with TwoSites("wgpyd", env={"WGPY_QUEUES": "3"}) as sites:
        assert reaches(sites)
        assert threads(sites.a) == 7
        sites.a.wg("set", "listen-port", "6001")
        restarted(sites.a)
        assert reaches(sites) and threads(sites.a) == 7
        with Netns("inner") as inner:
            move(sites.a.host, inner)
            settle(inner)
            assert ping(inner, INSIDE4[1], wait=20).lost == 0


def test_hostile_uapi_client_does_not_stop_traffic(sites):
    """F2, I1: whoever may open the socket may still not stall the tunnel."""
    path = f"/proc/{sites.a.host.pid}/root/run/wireguard/wg0.sock"
    crowd = []
    for _ in range(100):
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        s.sendall(b"set=1\npublic_key=")
        crowd.append(s)
    assert reaches(sites) and sites.a.wg("show", "peers").strip() == sites.b.public_key
    for s in crowd:
        s.close()


def run_daemon(host, *args, **env):
    return host.run("env", *[f"{k}={v}" for k, v in env.items()], WGPYD, *args, check=False)


def test_background_answers_when_it_returns():
    with Netns("bg") as host:
        began = time.monotonic()
        assert run_daemon(host, "wg7").returncode == 0
        assert time.monotonic() - began < 20, "it does not stay in the foreground"
        assert host.run("wg", "show", "wg7", "listen-port").stdout.strip() == "0"
        again = run_daemon(host, "wg7")
        assert again.returncode == 1 and re.fullmatch(r"wgpyd: .*in use.*\n", again.stderr)
        host.ip("link", "del", "wg7")
        wait_until(lambda: host.run("ls", "/run/wireguard").stdout == "", 20, "it ends")


@pytest.mark.parametrize("args, env, says", [
    (["bad/name"], {}, "no interface name"), (["x" * 16], {}, "no interface name"), ([], {}, "usage"),
    (["lo"], {}, "another kind of interface"),
    (["wg9"], {"WG_TUN_FD": "99"}, "WG_TUN_FD"), (["wg9"], {"WG_TUN_FD": "x"}, "WG_TUN_FD"),
    (["wg9"], {"WG_UAPI_FD": "99"}, "WG_UAPI_FD"),
    (["wg9"], {"WGPY_QUEUES": "0"}, "WGPY_QUEUES"), (["wg9"], {"WGPY_AEAD": "rot13"}, "WGPY_AEAD"),
])
@pytest.mark.parametrize("foreground", [True, False])
def test_bad_start_is_one_line_and_a_status(args, env, says, foreground):
    with Netns("bad") as host:
        done = run_daemon(host, *(["-f"] if foreground else []), *args, **env)
        assert done.returncode in (1, 2) and says in done.stderr
        assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
        assert host.run("ls", "/run/wireguard").stdout == ""
        assert "wg9" not in host.ip("link")


@pytest.mark.parametrize("word", ["info", "warn", "WARNING", "trace", "3", "silent"])
def test_a_log_level_of_another_program_is_no_reason_to_refuse(word):
    """As wireguard-go: what it does not know logs errors."""
    with Netns("loud") as host:
        with tempfile.TemporaryFile("w+") as said:  # the daemon keeps it, for its log
            started = host.popen("env", f"LOG_LEVEL={word}", WGPYD, "wg8", stdin=subprocess.DEVNULL, stderr=said)
            assert started.wait(60) == 0
            said.seek(0)
            assert "ERROR" not in said.read()
        assert host.run("wg", "show", "wg8", "listen-port").stdout.strip() == "0"
        host.ip("link", "del", "wg8")
    code = "from wgpy.daemon import process; process.log_to_stderr('q0'); import logging; print(logging.root.level)"
    level = subprocess.run([sys.executable, "-I", "-c", code], env={"LOG_LEVEL": word}, text=True, stdout=subprocess.PIPE)
    assert int(level.stdout) == {"info": 20, "silent": 51}.get(word, 40)


def test_adopted_descriptors(sites):
    """WG_TUN_FD and WG_UAPI_FD, as a supervisor passes them."""
    import pytun
    with sites.a.host.entered():
        tun = pytun.TunTapDevice("wg5", pytun.IFF_TUN | pytun.IFF_NO_PI | pytun.IFF_VNET_HDR)
    path = f"/proc/{sites.a.host.pid}/root/run/wireguard/wg5.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        fds = (tun.fileno(), listener.fileno())
        for fd in fds:
            os.set_inheritable(fd, True)
        process = sites.a.host.popen("env", f"WG_TUN_FD={fds[0]}", f"WG_UAPI_FD={fds[1]}", WGPYD, "-f", "wg5",
                                     pass_fds=fds)
        tun.close()
    assert sites.a.host.run("wg", "show", "wg5", "listen-port").stdout.strip() == "0"
    sites.a.host.ip("link", "set", "wg5", "up")
    wait_until(lambda: sites.a.host.run("wg", "show", "wg5", "listen-port").stdout.strip() != "0", 20, "up")
    sites.a.host.ip("link", "del", "wg5")
    wait_until(lambda: process.poll() == 0, 20, "the daemon ends")


def test_of_roots_rights_only_three_stay(sites):
    """CAP_NET_BIND_SERVICE, CAP_NET_BROADCAST and CAP_NET_ADMIN (10 to 12), in every thread; its
    memory is locked. They are enough for all that `wg set` can ask."""
    pid = sites.a.process.pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        status = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
        assert {k: int(status[k], 16) for k in ("CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh")} == {
            "CapEff": 7 << 10, "CapPrm": 7 << 10, "CapBnd": 7 << 10, "CapAmb": 0, "CapInh": 0}
        assert status["NoNewPrivs"].strip() == "1"
    assert int(dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())["VmLck"].split()[0]) > 1000
    sites.a.wg("set", "listen-port", "81", "fwmark", "0x80000001")
    assert sites.a.host.udp_open(81) and reaches(sites)


def test_no_core_dumps_and_not_dumpable(sites):
    limits = Path(f"/proc/{sites.a.process.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)
    status = Path(f"/proc/{sites.a.process.pid}/environ").stat()
    assert status.st_uid == 0


def test_ready_soon_and_small(sites):
    """Ready in under 0.5 s on an idle machine, judged by the processor's time; under 45 MB resident
    with one peer."""
    assert sites.a.resident_bytes() < 45 << 20
    assert sites.a.cpu_seconds() < 2


def test_logs_have_no_secrets():
    psk = preshared_key()
    with TwoSites("wgpyd", env={"LOG_LEVEL": "verbose"}) as sites:
        sites.a.wg("set", "peer", sites.b.public_key, "preshared-key", "/dev/stdin", input=psk)
        reaches(sites)
        log = sites.a.log()
    assert "handshake" in log
    for secret in (sites.a.key, psk, sites.b.public_key):
        assert secret not in log and secret[:20] not in log
