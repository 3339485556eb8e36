"""The WAN address, port or interface of either encryptor changes under traffic: at most
one ping is lost beside those of the time without an address, and nothing is negotiated anew (F4)."""

import time

import pytest

from wgpy.lab.encryptors import PORT, Pair
from wgpy.lab.leaks import Heartbeat
from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import one_way, ping, pinging
from wgpy.lab.wire import Capture

pytestmark = pytest.mark.netns
SETTLED = 0.5  # s of traffic before and after a move
INTERVAL = 0.05
HANDSHAKE = (1, 2, 3)
NEW_HANDSHAKE_AFTER_SILENCE = 10 + 5
REBOUND = 40001


@pytest.fixture(params=("a", "b"))
def moving(request, tmp_path):
    """(pair, mover, stayer); the mover's address comes by DHCP, as the lab plays it."""
    pair = Pair(tmp_path)
    mover, stayer = pair.nodes if request.param == "a" else pair.nodes[::-1]
    mover.write_site([stayer], dhcp=True)
    with pair:
        # a lease that comes while the first session is made may cost a packet of it
        wait_until(lambda: ping(mover.host, stayer.address).lost == 0, 20, "traffic")
        yield pair, mover, stayer


# Each gives the new place, and the pings that have none to leave from or come to.

def address(pair, mover):
    without = mover.lease(mover.away)
    return (mover.away.address, PORT), without / INTERVAL


def port(pair, mover):
    pair.internet.rebind(mover.name, mover.wan, PORT, REBOUND)
    return (mover.wan, REBOUND), 0


def interface(pair, mover):
    without = mover.replug()
    return (mover.elsewhere.address, PORT), without / INTERVAL


@pytest.mark.parametrize("move", (address, port, interface))
def test_move_under_traffic(moving, move):
    pair, mover, stayer = moving
    with Heartbeat(pair) as heart, Capture(pair.internet, f"to-{stayer.name}") as wire:
        heart.wait(20)
        with pinging(mover.host, stayer.address, interval=INTERVAL) as there, \
                pinging(stayer.host, mover.address, interval=INTERVAL) as back:
            time.sleep(SETTLED)
            expected, homeless = move(pair, mover)
            moved = time.monotonic()
            time.sleep(SETTLED)
        heart.wait(20)
    assert there[0].sent > 10 and back[0].sent > 10
    assert there[0].lost <= 1 + homeless and back[0].lost <= 1 + homeless
    assert not wire.frames(*HANDSHAKE)
    assert len(wire.indices(outgoing=True)) == len(wire.indices(outgoing=False)) == 1, "one session each way"
    late = [s for s in wire.frames(4) if s.time > moved]
    assert {s.source for s in late if s.outgoing} == {expected}, "the mover speaks from its new place"
    assert {s.destination for s in late[len(late) // 2:] if not s.outgoing} == {expected}, "and is found there"


def heard_before(wire, initiation):
    """Whether its sender had no reason for it: where the machine has stood still for so long that a
    keepalive was not there in 15 s, there is one."""
    return any(initiation.time - (NEW_HANDSHAKE_AFTER_SILENCE - 1) < s.time < initiation.time
               for s in wire.frames(4) if s.outgoing != initiation.outgoing)


@pytest.mark.parametrize("move", (address, interface))
def test_who_only_receives_is_found_after_a_move(moving, move):
    """A keepalive from the new place tells the sender; without it nothing would come for
    10 s, until what was received has to be answered."""
    pair, mover, stayer = moving
    with Capture(pair.internet, f"to-{stayer.name}") as wire, \
            one_way(stayer.host, mover.host, mover.address) as arrived:
        time.sleep(2 * SETTLED)  # what a start asks for again is over
        wait_until(lambda: arrived, 20, "datagrams before the move")
        leaving = time.monotonic()
        expected, _ = move(pair, mover)
        time.sleep(SETTLED / 2)
        before = len(arrived)
        wait_until(lambda: len(arrived) > before, 9, "datagrams after the move")
    told = [s.time for s in wire.frames(4) if s.outgoing and s.source == expected]
    assert {s.source for s in wire.frames(4) if s.outgoing and s.time >= told[0]} == {expected}
    assert not [s for s in wire.frames(1) if s.time > leaving and heard_before(wire, s)]


def test_several_moves_of_both_ends(moving):
    """A NAT gives the other end another port each time, which that end cannot know: it
    talks."""
    pair, mover, stayer = moving
    with Heartbeat(pair), Capture(pair.internet, f"to-{stayer.name}") as wire, \
            pinging(mover.host, stayer.address, interval=INTERVAL) as there:
        homeless = 0.0
        for place, outer in ((mover.away, 40002), (mover.home, 40003), (mover.away, 40004)):
            time.sleep(SETTLED)
            homeless += mover.lease(place) / INTERVAL
            time.sleep(SETTLED)
            pair.internet.rebind(stayer.name, stayer.wan, PORT, outer)
    assert there[0].lost <= 6 + homeless, "six moves"
    assert not wire.frames(*HANDSHAKE)
