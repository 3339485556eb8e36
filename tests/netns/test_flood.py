"""A legitimate peer under floods from a third network (F3)."""

import itertools
import json
import socket
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from wgpy.config import uapi
from wgpy.lab.attack_arena import Arena
from wgpy.lab import flood
from wgpy.lab.netns import Netns, join
from wgpy.lab.traffic import iperf3, ping, pinging
from wgpy.lab.two_sites import INSIDE4, TwoSites

pytestmark = pytest.mark.netns
VICTIM = "192.0.2.1"
COOKIE_RETRY = 5 + 0.334  # the cookie is used by the next initiation, REKEY_TIMEOUT later


@pytest.fixture
def sites():
    with TwoSites("wgpyd", psk=True) as sites, Netns("flooder") as flooder:
        join(sites.b.host, flooder, names=("eth1", "eth0"),
             a_addresses=(f"{VICTIM}/24",), b_addresses=("192.0.2.2/24",))
        sites.flooder = flooder
        assert ping(sites.a.host, INSIDE4[1], wait=3).lost == 0
        yield sites
        print(sites.b.log()[-6000:])


class Alarms:
    """What metrics=1 says of the alarms during a block and until they are over."""

    def __init__(self, sites):
        self._sites, self.seen, self._stop = sites, [], threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self.seen.append(self._now())
        self._thread.start()
        return self

    def _watch(self):
        while not self._stop.wait(0.1):
            if (now := self._now()) != self.seen[-1]:
                self.seen.append(now)

    def _now(self):
        facts = self.facts()
        return {name for name in ("flood", "under_load") if facts[f"alarm_{name}"]}

    def facts(self):
        host, iface = self._sites.b.host, self._sites.b.iface
        return uapi.parse_metrics(asked(f"/proc/{host.pid}/root/run/wireguard/{iface}.sock", uapi.METRICS))

    def __exit__(self, *failure):
        deadline = time.monotonic() + 20
        while not failure[0] and self.seen[-1:] != [set()] and time.monotonic() < deadline:
            time.sleep(0.1)
        self._stop.set()
        self._thread.join()

    def counts(self, name):
        """Times that it began, was over, and changes of what was seen of it."""
        facts, seen = self.facts(), [name in now for now in self.seen]
        over = "event_flood_over" if name == "flood" else "event_load_over"
        return facts[f"event_{name}"], facts[over], sum(a != b for a, b in itertools.pairwise(seen))


def asked(path, what):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(path)
        s.sendall(f"{what}\n\n".encode())
        answer = b""
        while not answer.endswith(b"\n\n") and (more := s.recv(65536)):
            answer += more
    return answer.decode()


@contextmanager
def flooding(sites, kind: str, rate: int, seconds: float):
    """Yields a list that holds the flooder's own counts afterwards."""
    process = sites.flooder.popen(
        sys.executable, "-I", "-m", flood.__name__, kind, VICTIM, sites.b.port, sites.b.public_key, rate,
        seconds, stdout=-1, text=True)
    time.sleep(0.5)
    counts = []
    yield counts
    counts.append(json.loads(process.communicate(timeout=seconds + 10)[0]))


def test_flood_of_valid_mac1_initiations(sites):
    before = sites.b.resident_bytes()
    old = sites.b.peer().handshake
    with Alarms(sites) as alarms, flooding(sites, "initiations", rate=20_000, seconds=14) as counts:
        with pinging(sites.a.host, INSIDE4[1]) as seen:
            time.sleep(2)
        assert seen[0].sent > 30 and seen[0].lost <= seen[0].sent // 20, "the session goes on"
        began = time.monotonic()
        sites.a.forget_and_relearn()
        again = ping(sites.a.host, INSIDE4[1], count=1, wait=2 * COOKIE_RETRY)
        assert again.lost == 0, "a new handshake while the flood goes on"
        assert time.monotonic() - began < 2 * COOKIE_RETRY + 1
    assert sites.b.peer().handshake > old
    assert counts[0]["sent"] > 100_000
    assert counts[0]["cookies"] > 0, "load was noticed and answered with cookies"
    assert counts[0]["responses"] == 0
    assert alarms.counts("under_load") == alarms.counts("flood") == (1, 1, 2), "each is raised once and cleared once"
    assert sites.b.resident_bytes() - before < 8e6
    assert sites.b.stop() == 0


def test_flood_of_garbage(sites):
    before = sites.b.resident_bytes()
    handshake = sites.b.peer().handshake
    with Alarms(sites) as alarms, flooding(sites, "garbage", rate=50_000, seconds=4) as counts:
        with pinging(sites.a.host, INSIDE4[1]) as seen:
            time.sleep(2)
        assert seen[0].sent > 30 and seen[0].lost <= seen[0].sent // 20
    assert counts[0]["sent"] > 50_000
    assert counts[0]["cookies"] == counts[0]["responses"] == 0, "silence to strangers"
    assert alarms.counts("flood") == (1, 1, 2) and alarms.counts("under_load") == (0, 0, 0)
    assert sites.b.peer().handshake == handshake
    assert sites.b.resident_bytes() - before < 8e6
    assert sites.b.stop() == 0


@pytest.mark.parametrize("kind", ("datagrams", "packets"))
def test_greedy_peer_leaves_the_other_its_share(kind):
    """Both send as fast as they can, and one of them does not mind losses. Judged by what
    the daemon let in of each while both sent."""
    with Arena("wgpyd") as arena:
        arena.session()
        target = arena.target.tunnel
        with arena.flooding(arena.order(kind, 0, 30)):
            time.sleep(1)
            before = [target.peer(t.public_key).rx_bytes for t in (arena.peer, arena.greedy)]
            assert iperf3(arena.target.host, arena.peer.host, arena.inner, seconds=4).bits_per_second > 0
            other, greedy = (target.peer(t.public_key).rx_bytes - was
                             for t, was in zip((arena.peer, arena.greedy), before, strict=True))
            with pinging(arena.peer.host, arena.inner) as seen:
                time.sleep(1)
        facts = arena.target.facts()
        print(kind, other, greedy, facts, seen)
        assert facts["drop_peer_share"] > 0, "whose packets were dropped has a name"
        assert other > greedy / 4, "without shares it is a thirtieth"
        assert seen[0].sent > 5 and seen[0].lost <= seen[0].sent // 5
        assert target.stop() == 0
