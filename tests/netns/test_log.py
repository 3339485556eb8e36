"""F3: a tunnel daemon in the background tells the host's log daemon of its alarms, and
whatever that daemon does, the tunnel goes on."""

import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from wgpy.lab import flood
from wgpy.lab.netns import Netns, join, wait_until
from wgpy.lab.tunnel import metrics, preshared_key, private_key, public_key

pytestmark = pytest.mark.netns
WGPYD = str(Path(sys.executable).with_name("wgpyd"))
PATIENCE = 60
VICTIM, PORT = "192.0.2.1", 51820
LINE = re.compile(r"<(\d+)>\w{3} [ \d]\d \d\d:\d\d:\d\d wgpyd\[(\d+)\]: wg7: (.*)")
# a /dev of its own, with what the daemon needs of the host's
OWN_DEV = """set -e
mkdir /run/wireguard/dev
mount -t tmpfs -o mode=755 tmpfs /run/wireguard/dev
cd /run/wireguard/dev
mkdir net
ln -s /proc/self/fd/0 stdin
ln -s /proc/self/fd fd
for f in null zero random urandom net/tun; do : > $f; mount --bind /dev/$f $f; done
mount --rbind /run/wireguard/dev /dev
"""


@pytest.fixture
def host():
    with Netns("logged") as host:
        host.run("sh", "-c", OWN_DEV)
        yield host


class LogDaemon:
    """What is bound to /dev/log, and reads when it is asked to."""

    def __init__(self, host):
        self.path = f"/proc/{host.pid}/root/dev/log"
        self.lines = []
        with host.entered():
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o666)

    def read(self):
        try:
            while True:
                self.lines.append(LINE.fullmatch(self.socket.recv(65536).decode()).groups())
        except BlockingIOError:
            return [text for _, _, text in self.lines]

    def wait(self, *words):
        wait_until(lambda: all(any(w in text for text in self.read()) for w in words), PATIENCE, f"{words} in the log")

    def fill(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s, pytest.raises(BlockingIOError):
            s.setblocking(False)
            while True:
                s.sendto(b"<28>Jan  1 00:00:00 wgpyd[1]: wg7: of another", self.path)

    def close(self):
        self.socket.close()
        os.unlink(self.path)


@contextmanager
def log_daemon(host):
    daemon = LogDaemon(host)
    try:
        yield daemon
    finally:
        daemon.close()


def start(host, key, **environment):
    # with LOG_LEVEL the daemon keeps its stderr, which nobody may wait for then
    said = host.popen("env", *(f"{k}={v}" for k, v in environment.items()), WGPYD, "wg7", stderr=subprocess.DEVNULL)
    assert said.wait(PATIENCE) == 0
    host.run("wg", "set", "wg7", "listen-port", PORT, "private-key", "/dev/stdin", input=key)
    host.ip("link", "set", "wg7", "up")
    wait_until(lambda: host.udp_open(PORT), PATIENCE, "its port")


def facts(host):
    return metrics(host, "wg7", PATIENCE)


@contextmanager
def flooded(host, key):
    with Netns("flooder") as flooder:
        join(host, flooder, names=("eth1", "eth0"), a_addresses=(f"{VICTIM}/24",), b_addresses=("192.0.2.2/24",))
        process = flooder.popen(sys.executable, "-I", "-m", flood.__name__, "initiations", VICTIM, PORT, public_key(key),
                                20_000, 4 * PATIENCE, stdout=subprocess.DEVNULL)
        yield
        process.terminate()
        process.wait(PATIENCE)


def test_each_alarm_is_in_the_log_once_when_it_begins_and_once_when_it_is_over(host):
    key = private_key()
    with log_daemon(host) as log:
        start(host, key)
        with flooded(host, key):
            log.wait("flood: ", "under load: ")
        log.wait("the flood is over: ", "load is over")
        texts = log.read()
        assert sorted(re.match("[a-z ]+", text)[0] for text in texts) == [
            "flood", "load is over", "the flood is over", "under load"]
        assert {(p, n) for p, n, _ in log.lines} == {(str(3 * 8 + 4), log.lines[0][1])}, "LOG_DAEMON, LOG_WARNING"
        number = log.lines[0][1]
        assert "wg7" in host.run("cat", f"/proc/{number}/cmdline").stdout, "the daemon's own, where it runs"
        assert facts(host)["log_lost"] == 0


def test_a_log_daemon_that_hangs_does_not_hold_the_tunnel_up(host):
    key = private_key()
    with log_daemon(host) as log:
        start(host, key)
        log.fill()
        with flooded(host, key):
            wait_until(lambda: {facts(host)[f"alarm_{a}"] for a in ("flood", "under_load")} == {1}, PATIENCE, "alarms")
        lost = facts(host)["log_lost"]
        assert lost >= 2
        assert f"{lost} lines did not reach" in host.run(sys.executable, "-I", "-m", "wgpy.cli", "show", "wg7").stdout
        log.read()
        log.wait(f"(lines lost before this one: {lost})")
        assert facts(host)["log_lost"] == lost


def test_a_log_daemon_may_be_absent_and_come_back_and_sees_no_secret(host):
    key, psk = private_key(), preshared_key()
    peer = public_key(private_key())

    def link(way):
        host.ip("link", "set", "wg7", way)
        wait_until(lambda: facts(host)["up"] == (way == "up"), PATIENCE, f"it is {way}")

    start(host, key, LOG_LEVEL="verbose")
    link("down")
    absent = facts(host)["log_lost"]
    assert absent >= 2, "up and down were said to nobody"
    for life in ("first", "second"):
        with log_daemon(host) as log:
            link("up")
            log.wait("interface is up")
            assert log.read()[0].endswith(f"(lines lost before this one: {absent})"), life
            host.run("wg", "set", "wg7", "peer", peer, "endpoint", "127.0.0.1:9", "persistent-keepalive", "1",
                     "preshared-key", "/dev/stdin", input=psk)
            log.wait("handshake initiation")
            said = "\n".join(log.read())
            assert not [s for s in (key, psk, peer) if s[:20] in said]
        lost = facts(host)["log_lost"]
        link("down")
        absent = facts(host)["log_lost"] - lost
        host.run("wg", "set", "wg7", "peer", peer, "remove")
