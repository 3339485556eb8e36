"""F3: a flood is an alarm within a second, and one alarm however it swells and ebbs."""

import logging

import pytest

from wgpy import drops
from wgpy.admin import alarm
from wgpy.node.alarms import Alarms

SECOND = 10**9
RESTING = {"bad_mac1": 12, "no_peer": 3}


class Sampled:
    """A flood sampled every half second from `now` on."""

    def __init__(self, source=""):
        self.flood, self.counts, self.now, self.source = alarm.Flood(), dict(RESTING), 1000 * SECOND, source
        self.look()

    def look(self):
        return self.flood.sample(self.counts, self.now, self.source)

    def pass_time(self, seconds, rate=0, reason="bad_mac1"):
        """Returns after which times something changed."""
        changes = []
        for n in range(1, int(2 * seconds) + 1):
            self.now += SECOND // 2
            self.counts[reason] = self.counts.get(reason, 0) + rate // 2
            if self.look():
                changes.append(n / 2)
        return changes


@pytest.mark.parametrize("rate, after", [(1000, 1.0), (2000, 0.5), (300_000, 0.5)])
def test_begins_within_a_second_and_is_over_5_seconds_after_the_last(rate, after):
    s = Sampled()
    assert s.pass_time(10) == []
    assert s.pass_time(10, rate) == [after] and s.flood.active
    assert s.pass_time(60) == [5.5 if rate > 1000 else 5.0], "half a second after it a second may be half full"
    assert (s.flood.begun, s.flood.over, s.flood.active) == (1, 1, False)


def test_the_sample_may_come_at_any_moment_of_the_flood():
    """2,000 a second that begin shortly before a sample are seen in the next."""
    s = Sampled()
    s.counts["bad_mac1"] += 20
    s.now += SECOND // 2
    assert not s.look()
    assert s.pass_time(1, 2000) == [0.5]


def test_below_the_threshold_there_is_no_alarm():
    s = Sampled()
    assert s.pass_time(100, 998) == []


def test_it_does_not_flap():
    s = Sampled()
    changes = [s.pass_time(2, 20_000) + s.pass_time(4) for _ in range(10)]
    assert changes == [[0.5]] + [[]] * 9 and s.flood.begun == 1 and s.flood.over == 0


def test_reasons_add_up():
    s = Sampled()
    for reason in ("bad_mac1", "malformed_message"):
        s.counts[reason] = s.counts.get(reason, 0) + 600
    s.now += SECOND // 2
    assert s.look() and s.flood.reasons == {"bad_mac1": 600, "malformed_message": 600}


def test_each_reason_of_a_stranger_counts_and_no_other():
    for reason in drops.REASONS:
        assert bool(Sampled().pass_time(2, 5000, reason)) == (reason in alarm.REFUSED), reason
    assert alarm.REFUSED < set(drops.REASONS)
    assert not alarm.REFUSED & {"no_peer", "queue_full", "ring_detached", "peer_share", "tun_write", "udp_send", "wrong_source"}


def test_what_came_before_the_first_sample_is_no_flood_nor_is_a_restart():
    flood = alarm.Flood()
    assert not flood.sample({"bad_mac1": 10**6}, SECOND, "black")
    assert not flood.sample({"bad_mac1": 3, "not_wireguard": 10}, 2 * SECOND, "black")
    assert not flood.sample({"bad_mac1": 900}, 2 * SECOND, "crypto"), "of a room that was not heard before"


def test_a_late_sample_is_judged_by_its_rate():
    s = Sampled()
    s.counts["bad_mac1"] += 9000
    s.now += 10 * SECOND
    assert not s.look()
    s.counts["bad_mac1"] += 11_000
    s.now += 10 * SECOND
    assert s.look()


def test_begin_and_end_are_warnings_with_reasons_duration_and_total(caplog):
    caplog.set_level(logging.WARNING, "wgpy")
    s = Sampled()
    s.pass_time(3, 4000, "unknown_index")
    s.pass_time(20)
    begin, end = (r.getMessage() for r in caplog.records)
    assert {r.levelno for r in caplog.records} == {logging.WARNING}
    assert "2000 datagrams" in begin and "unknown_index 2000" in begin
    assert "over" in end and "12000 datagrams" in end and "3 s" in end


class Room:
    def __init__(self, name):
        self.name, self.state, self.asked = name, "ready", []

    def send(self, message):
        self.asked.append(message)
        return True


def test_rooms_of_a_node_are_asked_and_believed_once_each_time():
    changes, black, crypto, red = [], Room("black"), Room("crypto"), Room("red")
    alarms = Alarms(lambda: changes.append(alarms.facts()))
    for room in (black, crypto, red):
        alarms.ask(room)
    quiet = {"flood": {"active": False, "count": 0, "refused": 0, "reasons": {}}, "under_load": {"active": False, "count": 0}}
    assert black.asked == [{"ask": "refused"}] and not red.asked
    assert crypto.asked == [{"ask": "refused"}, {"alarms": quiet}], "who answers administrators is told"
    alarms.heard("crypto", {"refused": {}, "under_load": [1, 0]})
    assert changes[-1]["under_load"] == {"active": True, "count": 1}
    for n in range(2, 50):
        alarms.heard("crypto", {"refused": {}, "under_load": [n, n]})
        alarms.heard("red", {"refused": {}, "under_load": [n, n]})
    assert len(changes) == 1
    alarms.ask(crypto)
    alarms.heard("crypto", {"refused": {}, "under_load": [1, 1]})
    assert changes[-1]["under_load"] == {"active": False, "count": 1} and len(changes) == 2


def test_crypto_that_starts_is_told_once_it_listens():
    crypto = Room("crypto")
    alarms = Alarms(lambda: None)
    crypto.state = "starting"
    alarms.ask(crypto)
    alarms.tell(crypto)
    assert not crypto.asked
    crypto.state = "ready"
    alarms.tell(crypto)
    assert crypto.asked == [{"alarms": alarms.facts()}]


@pytest.mark.parametrize("said", [{}, {"refused": 3}, {"refused": {"bad_mac1": "x", "new": 9}, "under_load": [True, 0]},
                                  {"refused": {"bad_mac1": -5}, "under_load": [1]}, {"refused": None, "under_load": {}}])
def test_a_room_that_was_taken_over_says_anything(said):
    changes, crypto = [], Room("crypto")
    alarms = Alarms(lambda: changes.append(1))
    for _ in range(3):
        alarms.ask(crypto)
        alarms.heard("crypto", said)
    assert not changes and not alarms.facts()["flood"]["active"]
