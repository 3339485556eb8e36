"""What crypto does about what black and red say on their lanes, and what it costs (A6, F2, F4)."""

import random

import pytest

from wgpy.crypto.neighbours import Neighbours
from wgpy.ring.lane import AREA, Kind, Listener, Speaker

SECOND = 10**9


class Crypto:
    """Neighbours over lanes that the test writes, at a time of its own."""

    def __init__(self, rings=False):
        self.areas = {name: memoryview(bytearray(AREA)) for name in ("black", "red")}
        self.now, self.did = 1000 * SECOND, []
        self.neighbours = Neighbours({name: Listener(area) for name, area in self.areas.items()}, rings,
                                     lambda moved: self.did.append("moved" if moved else "changed"),
                                     lambda: self.did.append("connect"))

    def run(self, seconds: float) -> list[str]:
        """What it did meanwhile."""
        self.did, end = [], self.now + int(seconds * SECOND)
        while (at := self.neighbours.next_deadline()) <= end:
            self.now = max(self.now, at)
            self.neighbours.on_deadline(self.now)
        self.now = end
        return self.did


@pytest.fixture
def crypto():
    return Crypto()


def test_nothing_said_nothing_done(crypto):
    assert crypto.run(10) == []
    assert crypto.neighbours.status()["black"] == {"up": False, "refused": {}, "counters": []}


def test_black_is_up_asks_peers_when_rings_have_attached_and_once_more(crypto):
    speaker = Speaker(crypto.areas["black"])
    speaker.say(Kind.UP, 1)
    assert crypto.run(0.04) == ["moved"] and crypto.run(0.1) == ["connect"] and crypto.run(5) == ["connect"]
    speaker.say(Kind.UP, 2)
    assert crypto.run(5) == []


def test_another_black_is_asked_through_anew(crypto):
    for _ in range(3):
        Speaker(crypto.areas["black"]).say(Kind.UP, 1)
        assert crypto.run(5) == ["moved", "connect", "connect"]


@pytest.mark.parametrize("said, done", [
    ((1, 1, 0), ["moved"]), ((0, 1, 0), ["changed"]), ((1, 1, 1), ["moved", "connect"]), ((0, 0, 0), []),
    ((7, 9, 3), ["moved", "connect"])])
def test_black_tells_of_its_network(crypto, said, done):
    speaker = Speaker(crypto.areas["black"])
    speaker.say(Kind.UP, 1)
    crypto.run(5)
    speaker.say(Kind.NETWORK, *said)
    assert crypto.run(5) == done
    speaker.say(Kind.NETWORK, *said)
    assert crypto.run(5) == []
    speaker.say(Kind.NETWORK, said[0], said[1] + 1, said[2])
    assert crypto.run(5) == ["changed"]


def test_counts_of_another_life_begin_anew(crypto):
    for _ in range(2):
        speaker = Speaker(crypto.areas["black"])
        speaker.say(Kind.UP, 1)
        crypto.run(5)
        speaker.say(Kind.NETWORK, 1, 1, 0)
        assert crypto.run(5) == ["moved"]


def test_red_is_shown_and_moves_nothing(crypto):
    speaker = Speaker(crypto.areas["red"])
    speaker.say(Kind.UP, 1)
    speaker.say(Kind.NETWORK, 5, 5, 5)
    speaker.say(Kind.COUNTERS, 1, 2, 3, 4, 5)
    assert crypto.run(1) == []
    assert crypto.neighbours.status()["red"] == {"up": True, "refused": {}, "counters": [1, 2, 3, 4, 5]}
    crypto.run(6)
    assert not crypto.neighbours.status()["red"]["up"]


def test_a_hostile_black_causes_as_much_as_is_allowed(crypto):
    """For a minute, at each look, another life and a link that came back, and rubbish."""
    chance, done, area = random.Random(1), [], crypto.areas["black"]
    for _ in range(600):
        speaker = Speaker(area)
        speaker.say(Kind.UP, chance.getrandbits(64))
        speaker.say(Kind.NETWORK, *(chance.getrandbits(64) for _ in range(3)))
        area[4 * 64:] = chance.randbytes(AREA - 4 * 64)
        done += crypto.run(0.1)
    assert 60 <= done.count("connect") <= 8 + 60 + 1
    assert done.count("moved") <= 2 * 601 and set(done) <= {"connect", "moved"}
    assert crypto.neighbours.status()["black"]["refused"]["lane_torn"] > 1000
    assert len(crypto.neighbours._due) <= 4


def test_with_bells_there_is_a_look_a_second_and_one_when_it_rings_but_not_without_end():
    crypto = Crypto(rings=True)
    crypto.run(0.001)
    speaker = Speaker(crypto.areas["black"])
    speaker.say(Kind.NETWORK, 1, 1, 0)
    assert crypto.run(0.9) == [] and crypto.run(0.2) == ["moved"]
    speaker.say(Kind.NETWORK, 2, 2, 0)
    crypto.neighbours.rung()
    assert crypto.run(0.001) == ["moved"]
    looks = 0
    for _ in range(1000):  # it rings every millisecond
        crypto.neighbours.rung()
        if crypto.neighbours.next_deadline() <= crypto.now:
            looks += crypto.neighbours.on_deadline(crypto.now)
        crypto.now += 10**6
    assert 45 + 30 <= looks <= 50 + 32


def test_an_allowance_that_was_used_up_is_there_again_later(crypto):
    for _ in range(100):
        Speaker(crypto.areas["black"]).say(Kind.UP, 1)
        crypto.run(0.1)
    crypto.run(20)
    Speaker(crypto.areas["black"]).say(Kind.UP, 1)
    assert crypto.run(2) == ["moved", "connect", "connect"]
