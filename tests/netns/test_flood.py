"""A legitimate peer under floods from a third network (F3)."""

import itertools
import json
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from wgpy.lab import flood
from wgpy.lab.attack_arena import Arena
from wgpy.lab.netns import Netns, join, wait_until
from wgpy.lab.traffic import iperf3, ping, pinging
from wgpy.lab.tunnel import metrics
from wgpy.lab.two_sites import INSIDE4, TwoSites
from wgpy.lab.wire import Capture

pytestmark = pytest.mark.netns
VICTIM = "192.0.2.1"
INITIATION, RESPONSE, COOKIE_REPLY = 1, 2, 3
PATIENCE = 60  # s, for what comes on a busy machine, too


@pytest.fixture
def sites():
    with TwoSites("wgpyd", psk=True) as sites, Netns("flooder") as flooder:
        join(sites.b.host, flooder, names=("eth1", "eth0"),
             a_addresses=(f"{VICTIM}/24",), b_addresses=("192.0.2.2/24",))
        sites.flooder = flooder
        assert ping(sites.a.host, INSIDE4[1], wait=20).lost == 0
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
        return metrics(host, iface, PATIENCE)

    def wait(self, *names):
        wait_until(lambda: self.seen[-1] == set(names), PATIENCE, f"alarms {names}")

    def __exit__(self, *failure):
        deadline = time.monotonic() + PATIENCE
        while not failure[0] and self.seen[-1:] != [set()] and time.monotonic() < deadline:
            time.sleep(0.1)
        self._stop.set()
        self._thread.join()

    def counts(self, name):
        """Times that it began, was over, and changes of what was seen of it."""
        facts, seen = self.facts(), [name in now for now in self.seen]
        over = "event_flood_over" if name == "flood" else "event_load_over"
        return facts[f"event_{name}"], facts[over], sum(a != b for a, b in itertools.pairwise(seen))


@contextmanager
def flooding(sites, kind: str, rate: int):
    """Until the block ends; yields a list that holds the flooder's own counts afterwards."""
    process = sites.flooder.popen(
        sys.executable, "-I", "-m", flood.__name__, kind, VICTIM, sites.b.port, sites.b.public_key, rate,
        4 * PATIENCE, stdout=-1, text=True)
    counts = []
    try:
        yield counts
    finally:
        process.terminate()
        counts.append(json.loads(process.communicate(timeout=PATIENCE)[0] or "{}"))


def session_goes_on(sites):
    with pinging(sites.a.host, INSIDE4[1]) as seen:
        time.sleep(2)
    assert seen[0].sent > 5 and seen[0].lost <= seen[0].sent // 20, seen


def test_flood_of_valid_mac1_initiations(sites):
    """A new handshake takes one initiation that is answered with a cookie and one that bears it."""
    before = sites.b.resident_bytes()
    old = sites.b.peer().handshake
    with Alarms(sites) as alarms, flooding(sites, "initiations", rate=20_000) as counts:
        alarms.wait("under_load", "flood")
        session_goes_on(sites)
        with Capture(sites.a.host) as wire:
            sites.a.forget_and_relearn()
            again = ping(sites.a.host, INSIDE4[1], count=1, wait=PATIENCE)
    assert again.lost == 0, "a new handshake while the flood goes on"
    between = [(s.kind, s.outgoing) for s in wire.frames(INITIATION, RESPONSE, COOKIE_REPLY)]
    assert between == [(INITIATION, True), (COOKIE_REPLY, False), (INITIATION, True), (RESPONSE, False)]
    assert sites.b.peer().handshake > old
    assert counts[0]["cookies"] > 0, "load was noticed and answered with cookies"
    assert counts[0]["responses"] == 0
    assert alarms.counts("under_load") == alarms.counts("flood") == (1, 1, 2), "each is raised once and cleared once"
    assert sites.b.resident_bytes() - before < 8e6
    assert sites.b.stop() == 0


def test_flood_of_garbage(sites):
    before = sites.b.resident_bytes()
    handshake = sites.b.peer().handshake
    with Alarms(sites) as alarms, flooding(sites, "garbage", rate=50_000) as counts:
        alarms.wait("flood")
        session_goes_on(sites)
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
