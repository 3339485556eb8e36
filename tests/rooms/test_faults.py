"""Fail closed (F10): random sequences of faults under traffic both ways. Nothing of a
protected destination may be seen in clear anywhere in black, no room stays stuck, nothing
is leaked, and traffic is back within 5 s of the last fault, beside those in which the
machine had more to do than processors."""

import os
import random
import signal
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from rooms.nodes import MARKER, ROOMS, WEB, Pair, Watch

from wgpy.lab.netns import wait_until

pytestmark = pytest.mark.netns
SEED = int(os.environ.get("WGPY_FAULT_SEED", "1"))
SEQUENCES = int(os.environ.get("WGPY_FAULT_SEQUENCES", "200"))
BACK_WITHIN = 5.0  # s
NOBODY = {"a": "10.2.0.77", "b": "10.1.0.77"}  # protected, but no host has it


class Traffic:
    """UDP from each host to the other, to a protected address without a host, and in
    clear to the Internet; receivers note when what arrived was sent."""

    def __init__(self, pair):
        self.latest = {"a": 0.0, "b": 0.0}  # node -> time of sending of the newest arrival
        self.arrived = {"a": 0, "b": 0}
        self._stop = False
        for node, other in (pair.nodes, pair.nodes[::-1]):
            with node.host.entered():
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind((node.address, 7777))
            s.settimeout(0.1)
            threading.Thread(target=self._receive, args=(node.name, s), daemon=True).start()
            threading.Thread(target=self._send, args=(s, other.address, NOBODY[node.name]), daemon=True).start()

    def _send(self, s, address, nobody):
        n = 0
        while not self._stop:
            n += 1
            for to in [(address, 7777)] + [(nobody, 7777)] * (n % 8 == 0) + [(WEB, 7777)] * (n % 8 == 4):
                body = (MARKER if to[0] != WEB else b"in clear") + struct.pack("d", time.monotonic())
                try:
                    s.sendto(body * 3, to)
                except OSError:
                    pass
            time.sleep(0.01)

    def _receive(self, name, s):
        while not self._stop:
            try:
                body = s.recv(2048)
            except OSError:
                continue
            self.arrived[name] += 1
            self.latest[name] = struct.unpack("d", body[-8:])[0]

    def stop(self):
        self._stop = True


@contextmanager
def namespace(pid):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    home, away = (os.open(p, os.O_RDONLY) for p in ("/proc/thread-self/ns/net", f"/proc/{pid}/ns/net"))
    assert libc.setns(away, 0x40000000) == 0
    try:
        yield
    finally:
        assert libc.setns(home, 0x40000000) == 0
        os.close(home)
        os.close(away)


# Faults; each leaves the node to mend itself.

def kill(node, rng):
    node.signal(rng.choice(ROOMS), signal.SIGKILL)


def kill_two(node, rng):
    for room in rng.sample(ROOMS, 2):
        node.signal(room, signal.SIGKILL)


def kill_all(node, rng):
    """They come back in an order of their own."""
    for room in rng.sample(ROOMS, 3):
        node.signal(room, signal.SIGKILL)
        time.sleep(rng.choice((0, 0.05)))


def stop(node, rng):
    """Its neighbours fill their rings meanwhile."""
    if pid := node.pid(rng.choice(ROOMS)):
        os.kill(pid, signal.SIGSTOP)
        flood(node, 400)
        time.sleep(rng.uniform(0.02, 0.25))
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass


def stop_and_kill(node, rng):
    if pid := node.pid(rng.choice(ROOMS)):
        os.kill(pid, signal.SIGSTOP)
        node.signal(rng.choice(ROOMS), signal.SIGKILL)


def flood(node, packets=3000):
    """More than a ring or the queue of the TUN holds."""
    with node.host.entered():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setblocking(False)
    for _ in range(packets):
        try:
            s.sendto(MARKER * 50, (NOBODY[node.name], 9))
        except OSError:
            pass
    s.close()


def delete_tun(node, rng):
    node.inside("red", "ip", "link", "del", "secure0", check=False)


def tun_down(node, rng):
    node.inside("red", "ip", "link", "set", "secure0", "down", check=False)


def delete_clear(node, rng):
    node.inside(rng.choice(("red", "black")), "ip", "link", "del", "clear0", check=False)


def wan_down(node, rng):
    node.inside("black", "ip", "link", "set", "wan0", "down", check=False)


def lan_down(node, rng):
    node.inside("red", "ip", "link", "set", "lan0", "down", check=False)


def wan_away(node, rng):
    node.internet.run("ip", "link", "del", f"to-{node.name}", check=False)
    node.attach_wan()


def reload(node, rng):
    node.process.send_signal(signal.SIGHUP)


FAULTS = {kill: 6, kill_two: 2, kill_all: 2, stop: 3, stop_and_kill: 1, lambda n, r: flood(n): 2, delete_tun: 2,
          tun_down: 1, delete_clear: 1, wan_down: 1, lan_down: 1, wan_away: 1, reload: 1}


def sequence(node, seed):
    """One random sequence; returns its faults' names. Stopped rooms go on afterwards."""
    rng = random.Random(seed)
    faults = rng.choices(list(FAULTS), list(FAULTS.values()), k=rng.choice((1, 1, 2, 3)))
    try:
        for fault in faults:
            fault(node, rng)
            time.sleep(rng.choice((0, 0, 0.1)))
    finally:
        for room in ROOMS:
            node.signal(room, signal.SIGCONT)
    return [f.__name__ for f in faults]


def possessions(node):
    """What must not grow: the supervisor's descriptors, processes and namespaces."""
    listed = node.box.run("sh", "-c", "ls -d /proc/[0-9]*; readlink /proc/[0-9]*/ns/*", check=False).stdout.split()
    return {"descriptors": len(os.listdir(f"/proc/{node.process.pid}/fd")),
            "processes": sum(word.startswith("/proc/") for word in listed),
            "namespaces": len({word for word in listed if ":[" in word}),
            "named": node.box.run("ip", "netns", "list").stdout.count("\n")}


def settled(node):
    """possessions() when no helper comes or goes."""
    def same():
        seen = [possessions(node)]
        for _ in range(4):
            time.sleep(0.2)
            seen.append(possessions(node))
        return seen[0] if all(s == seen[0] for s in seen) else None
    return wait_until(same, 60, f"{node.name} is at rest")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    pair = Pair(tmp_path_factory.mktemp("faults"))
    try:
        yield pair.start()
    finally:
        pair.close()


def contended() -> float:
    """Seconds until now in which somebody waited for a processor; 0 where the kernel does not tell."""
    try:
        with open("/proc/pressure/cpu") as f:
            return int(f.readline().rpartition("total=")[2]) / 1e6
    except OSError:
        return 0.0


def all_ready(node):
    rooms = node.status()["rooms"].values()
    return all(r["state"] == "ready" and r["status"] for r in rooms)


def test_no_sequence_of_faults_lets_anything_out(deployment):
    pair = deployment
    traffic, watches = Traffic(pair), [Watch(namespace(n.pid("black"))) for n in pair.nodes]
    try:
        wait_until(lambda: all(traffic.arrived.values()), 60, "traffic both ways")
        wait_until(lambda: all(all_ready(n) for n in pair.nodes), 60, "status of all rooms")
        before = [settled(n) for n in pair.nodes]
        slowest = 0.0
        with ThreadPoolExecutor(2) as pool:
            for round_ in range(SEQUENCES // 2):
                seeds = [f"{SEED}.{round_}.{n.name}" for n in pair.nodes]
                done = list(pool.map(sequence, pair.nodes, seeds))
                last, busy = time.monotonic(), contended()
                while min(traffic.latest.values()) <= last:
                    assert time.monotonic() - last < BACK_WITHIN + contended() - busy, (
                        f"no traffic after {dict(zip(seeds, done))}, missing at "
                        f"{[n for n, at in traffic.latest.items() if at <= last]}")
                    time.sleep(0.005)
                slowest = max(slowest, time.monotonic() - last)
                assert not [leak for w in watches for leak in w.leaks], (seeds, done)
        print(f"{SEQUENCES} sequences, slowest recovery {slowest:.2f} s")
        for node, was in zip(pair.nodes, before):
            wait_until(lambda n=node: all_ready(n), 60, "all rooms are ready")
            wait_until(lambda n=node, w=was: possessions(n) == w, 60, f"{node.name} has what it had: {was}")
    finally:
        traffic.stop()
        for watch in watches:
            watch.stop()
    for watch in watches:
        assert watch.sealed > 1000 and watch.clear > 100 and not watch.leaks
