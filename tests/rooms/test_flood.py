"""An encryptor that is flooded in its peer's name (F3)."""

import os
import signal
import time

import pytest

from wgpy.lab.attack_arena import Arena
from wgpy.lab.internet import WAN
from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import ping
from wgpy.lab.wire import Capture

pytestmark = pytest.mark.netns
INITIATION, RESPONSE, COOKIE_REPLY = 1, 2, 3
HELPED_AFTER = 4  # s
PATIENCE = 60  # s, for what comes on a busy machine, too


def loaded(target, began):
    """A fast machine may answer 20,000 a second: crypto that stood still has them waiting. A slow
    one needs no such help, and could hold it for so long that it counts as stopped."""
    if target.facts().get("event_under_load"):
        return True
    if time.monotonic() - began < HELPED_AFTER:
        return False
    if crypto := target.node.pid("crypto"):
        os.kill(crypto, signal.SIGSTOP)
        time.sleep(0.2)
        os.kill(crypto, signal.SIGCONT)
    return False


def test_a_flood_in_a_peers_name_costs_its_first_handshake_one_retry_at_most():
    """Garbage from the peer's address and port, every other datagram of an initiation's size and
    type, from before the peer has said anything. Judged by what the peer has to send."""
    with Arena("encryptor") as arena:
        with arena.flooding(arena.order("forged", 5000, 4 * PATIENCE)) as counts:
            with Capture(arena.peer.host, WAN) as wire:
                wait_until(lambda: arena.target.facts().get("event_flood"), PATIENCE, "the flood is noticed")
                assert wire.frames(INITIATION) == []
                wait_until(lambda: ping(arena.peer.host, arena.inner, count=1).lost == 0, PATIENCE, "a session")
            kinds = [f.kind for f in wire.frames(INITIATION, RESPONSE)]
            assert kinds in ([INITIATION, RESPONSE], [INITIATION, INITIATION, RESPONSE])
        assert counts[0]["sent"] > 1000 and arena.target.crashes() == 0
        assert arena.target.node.status()["alarms"]["flood"]["reasons"].keys() & {"bad_mac1", "malformed_message", "not_wireguard"}


def test_a_flood_from_many_sources_costs_a_peer_that_is_not_known_its_cookie_and_no_more():
    """Each with a valid MAC1, more than replies can wait: the peer's first initiation has its reply,
    and its second is answered; then the first packet is, too."""
    with Arena("encryptor") as arena:
        with arena.flooding(arena.order("sources", 20_000, 4 * PATIENCE)) as counts, Capture(arena.peer.host, WAN) as wire:
            began = time.monotonic()
            wait_until(lambda: loaded(arena.target, began), PATIENCE, "load begins", 1)
            assert ping(arena.peer.host, arena.inner, count=1, interval=1, wait=PATIENCE).lost == 0
        kinds = [f.kind for f in wire.frames(INITIATION, RESPONSE, COOKIE_REPLY)]
        assert kinds == [INITIATION, COOKIE_REPLY, INITIATION, RESPONSE]
        assert counts[0]["sent"] > 1000 and arena.target.crashes() == 0
