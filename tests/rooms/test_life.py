"""A node comes up, goes down, crashes and comes up again; nothing is left behind and
nothing leaks meanwhile (F10)."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from rooms.nodes import MARKER, ROOMS, Watch

from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import ping

pytestmark = pytest.mark.netns


def links(node):
    return {link["ifname"]: link for link in json.loads(node.box.ip("-j", "link"))}


def namespaces(node):
    return [line.split()[0] for line in node.box.run("ip", "netns", "list").stdout.splitlines()]


def marked(host, address):
    """A process that keeps sending what must not be seen in clear."""
    with host.entered():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send():
        try:
            s.sendto(MARKER, (address, 7777))
        except OSError:
            pass
    return send


def test_down_gives_everything_back_and_up_works_again(pair):
    a = pair.a
    pair.start()
    assert set(links(a)) == {"lo"} and len(namespaces(a)) == 2
    for _ in range(2):
        a.stop()
        assert {"wan0", "lan0"} < set(links(a)) and not namespaces(a)
        assert "UP" not in links(a)["wan0"]["flags"] and not a.status()
        assert not [room for room in ROOMS if a.pid(room)]
        a.start()
        assert ping(a.host, pair.b.address, wait=60).lost == 0


def test_commands(pair):
    a = pair.a
    a.start()
    assert json.loads(a.command("status", "a", "--json").stdout)["a"]["up"]
    again = a.command("up", a.file, check=False)
    assert again.returncode == 1 and "up already" in again.stderr and "Traceback" not in again.stderr
    assert ping(a.host, a.inner, wait=0.3).lost == 3  # silence, and the first one was not disturbed
    a.command("down", "a")
    assert a.process.wait(60) == 0 and not namespaces(a)
    gone = a.command("status", "a", check=False)
    assert gone.returncode == 1 and "no such node" in gone.stderr
    a.command("down", a.file)  # idempotent
    nobody = a.command("down", "nobody", check=False)
    assert nobody.returncode == 1 and "no such node" in nobody.stderr


def test_a_supervisor_that_crashes_leaves_nothing_open(pair):
    """Rooms end with it, the firewalls stay; the next one, or down, cleans up."""
    pair.start()
    a = pair.a
    assert ping(a.host, pair.b.address, wait=60).lost == 0
    send = marked(a.host, pair.b.address)
    outside = Watch(pair.internet.entered())
    os.kill(a.process.pid, signal.SIGKILL)
    a.process.wait()
    for _ in range(50):
        send()
        time.sleep(0.01)
    assert len(namespaces(a)) == 2
    a.start()
    for _ in range(50):
        send()
        time.sleep(0.01)
    wait_until(lambda: ping(a.host, pair.b.address, wait=0.5).lost == 0, 60, "traffic")
    outside.stop()
    assert outside.sealed >= 3 and not outside.leaks  # the last ping at least
    os.kill(a.process.pid, signal.SIGKILL)
    a.process.wait()
    a.command("down", "a")
    assert not namespaces(a) and {"wan0", "lan0"} < set(links(a))


def test_after_a_crash_wan_and_lan_stay_inside_until_somebody_says_down(pair):
    """Neither the next start nor one that fails lets them out on the way."""
    a = pair.a
    pair.b.start()
    with a.box.entered():
        seen = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    a.start()
    wait_until(lambda: ping(a.host, pair.b.address, wait=1).lost == 0, 60, "traffic")
    seen.bind((0, 1))  # RTMGRP_LINK: of the host's own links there is nothing more to say
    seen.setblocking(False)
    for _ in range(2):
        os.kill(a.process.pid, signal.SIGKILL)
        a.process.wait()
        assert set(links(a)) == {"lo"} and not a.command("status", "a", check=False).returncode == 0
        a.start()
        wait_until(lambda: ping(a.host, pair.b.address, wait=1).lost == 0, 60, "traffic")
    os.kill(a.process.pid, signal.SIGKILL)
    a.process.wait()
    code, said = background(a, b"too short")
    assert code == 1 and "the private key has not 32 bytes" in said
    assert set(links(a)) == {"lo"} and len(namespaces(a)) == 2
    assert not _named(seen, b"wan0", b"lan0")
    a.command("down", "a")
    assert not namespaces(a) and {"wan0", "lan0"} < set(links(a))
    assert "UP" not in links(a)["wan0"]["flags"] and _named(seen, b"wan0", b"lan0")


def _named(s, *names: bytes) -> bool:
    """Whether the kernel has said anything about one of these links."""
    found = False
    while True:
        try:
            data = s.recv(1 << 16)
        except BlockingIOError:
            return found
        found |= any(name in data for name in names)


def background(node, key):
    fd = os.memfd_create("key")
    os.write(fd, key)
    process = node.box.popen(sys.executable, "-I", "-m", "wgpy.cli", "node", "up", node.file, "--key-fd", fd,
                             env=node.environment(), pass_fds=(fd,), stderr=subprocess.PIPE, text=True)
    os.close(fd)
    return process.wait(60), process.stderr.read()


def test_what_cannot_start_leaves_nothing(pair):
    code, said = background(pair.a, b"too short")
    assert code == 1 and "crypto: the private key has not 32 bytes" in said
    assert "Traceback" not in said + (pair.a.run_dir / "a" / "log").read_text()
    assert not namespaces(pair.a) and {"wan0", "lan0"} < set(links(pair.a)) and not pair.a.status()


def test_in_the_background(pair):
    a = pair.a
    code, said = background(a, a.private + b"ab".ljust(32, b"\0") + a.psk)
    assert code == 0, said
    assert a.status()["up"] and all(r["state"] == "ready" for r in a.status()["rooms"].values())
    a.command("down", a.file)
    assert not namespaces(a)


def test_a_wan_that_comes_later_is_taken(pair):
    a, b = pair.nodes
    b.start()
    a.box.ip("link", "del", "wan0")
    a.start()
    assert a.status()["missing"] == ["wan0"]
    a.attach_wan()
    wait_until(lambda: ping(a.host, b.address, wait=0.5).lost == 0, 60, "traffic")
