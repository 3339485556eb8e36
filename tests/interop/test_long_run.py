"""Rekey in real time. The pairs of `long_run` (conftest) run beside the rest of the suite
for 130 s, with traffic both ways, and are judged at its end."""

import time

import pytest

from wgpy.lab.traffic import ping

pytestmark = [pytest.mark.netns, pytest.mark.interop, pytest.mark.slow]
REKEY_AFTER_TIME = 120
NEW_HANDSHAKE_AFTER_SILENCE = 10 + 5


def test_new_session_every_120_seconds_under_traffic(long_run):
    """F1: one handshake, then another 120 s later and no sooner; both transport indices
    change; no ping is lost over it."""
    long_run.wait()
    for pair in long_run.pairs:
        first, second = pair.handshakes
        assert REKEY_AFTER_TIME - 1 <= second - first <= REKEY_AFTER_TIME + 5, pair.name
        for before, after in zip(*pair.indices):
            assert len(before) == len(after) == 1 and before != after, pair.name
        assert pair.ping.sent > 500 and pair.ping.lost <= 2, (pair.name, pair.ping.lost)


def test_silence_after_sending_starts_a_handshake(long_run):
    """The far side of every pair restarts and says nothing: the near side's own data,
    unanswered for 15 s, must bring a new session."""
    long_run.wait()
    for pair in long_run.pairs:  # a young session, whatever the suite did since
        assert ping(pair.near.host, pair.address, count=1, wait=20).times, pair.name
        pair.far.restart()
    began = time.monotonic()
    answered = [p.name for p in long_run.pairs
                if p.near_initiates and ping(p.near.host, p.address, count=1, wait=0.2).times]
    assert not answered, f"the far side had forgotten the session and yet answered: {answered}"
    waiting = {p.name: p for p in long_run.pairs if p.near_initiates}
    while waiting and time.monotonic() - began < NEW_HANDSHAKE_AFTER_SILENCE + 15:
        for name, pair in list(waiting.items()):
            if ping(pair.near.host, pair.address, count=1, wait=0.2).times:
                del waiting[name]
    assert not waiting, f"no new session within 30 s: {list(waiting)}"
    assert time.monotonic() - began > NEW_HANDSHAKE_AFTER_SILENCE - 1
