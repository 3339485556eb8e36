"""When a room is found stuck (F10): by what it could have done, not by the clock, so that
a machine under load kills no room, and a stopped one is noticed at once."""

import os
import signal
import subprocess
import sys
import time

import pytest

from wgpy.node import liveness
from wgpy.node.liveness import Judge, Seen

IDLE, HALTED = Seen("S", False, 1.0), Seen("T", False, 1.0)


def ready():
    judge = Judge(0.0)
    judge.heard(True)
    return judge


def verdict(judge, seen, seconds, start=0.0, step=0.5):
    """The first one, and when, of looks at `seen(time)`."""
    now = start
    while now < start + seconds:
        now += step
        if reason := judge.seen(seen(now), now):
            return reason, now - start
    return "", seconds


def test_a_room_that_is_not_asked_need_not_say_anything():
    assert verdict(ready(), lambda now: IDLE, 1000)[0] == ""


def test_one_that_sleeps_instead_of_answering_is_stuck():
    judge = ready()
    judge.asked(0.0)
    reason, after = verdict(judge, lambda now: IDLE, 60)
    assert reason == "does not answer" and 4 < after <= 6


def test_one_that_computes_instead_of_answering_is_stuck():
    judge = ready()
    judge.asked(0.0)
    reason, after = verdict(judge, lambda now: Seen("R", True, now), 60)
    assert reason == "does not answer" and 4 < after <= 6


@pytest.mark.parametrize("state", ["R", "D"])
def test_one_that_waits_for_the_processor_or_a_disk_is_not(state):
    """A fiftieth of a processor for two minutes."""
    judge = ready()
    judge.asked(0.0)
    assert verdict(judge, lambda now: Seen(state, True, now / 50), 120)[0] == ""
    judge.heard(True)
    judge.asked(120.0)
    assert verdict(judge, lambda now: Seen(state, True, 9.0), 200, 120.0)[0] == ""
    assert verdict(judge, lambda now: Seen(state, True, 9.0), 200, 320.0)[0] == "does not answer", "not for ever"


def test_asking_again_does_not_start_anew_and_an_answer_does():
    judge = ready()
    for turn in range(20):
        judge.asked(turn * 2.0)
        reason, _ = verdict(judge, lambda now: IDLE, 2.0, turn * 2.0)
        if reason:
            break
    assert turn == 2
    judge = ready()
    for turn in range(20):
        judge.asked(turn * 2.0)
        assert verdict(judge, lambda now: IDLE, 2.0, turn * 2.0)[0] == ""
        judge.heard(True)


def test_looks_that_come_late_are_the_supervisors_silence():
    judge = ready()
    judge.asked(0.0)
    assert verdict(judge, lambda now: IDLE, 30.0, step=10.0)[0] == ""


def test_a_stopped_room_is_noticed_at_the_second_look_whether_asked_or_not():
    assert verdict(ready(), lambda now: HALTED, 60) == ("is stopped", 1.0)
    judge = ready()
    assert not judge.seen(HALTED, 0.5) and not judge.seen(IDLE, 1.0) and not judge.seen(HALTED, 1.5)
    assert verdict(Judge(0.0), lambda now: HALTED, 59)[0] == "", "what is seen of a start need not be the room"


def test_a_start_has_its_own_limit_and_what_it_says_is_progress():
    assert verdict(Judge(0.0), lambda now: Seen("R", True, now), 59)[0] == ""
    assert verdict(Judge(0.0), lambda now: Seen("R", True, now), 70)[0] == "does not answer"
    judge = Judge(0.0)
    for turn in range(5):
        assert verdict(judge, lambda now: Seen("R", True, now), 50, turn * 50.0)[0] == ""
        judge.heard(False)
    assert verdict(judge, lambda now: Seen("R", True, now), 59, 250.0)[0] == "does not answer", "five minutes in all"


def process(code):
    p = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE)
    p.stdout.readline()
    return p


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_is_seen_of_real_processes():
    sleeper = process("import time; print(flush=True); time.sleep(600)")
    spinner = process("import threading, time\nthreading.Thread(target=lambda: time.sleep(600), daemon=True).start()\n"
                      "print(flush=True)\nend = time.monotonic() + 600\nwhile time.monotonic() < end: pass")
    try:
        until(lambda: liveness.look(sleeper.pid).state == "S" and not liveness.look(sleeper.pid).wanting)
        until(lambda: liveness.look(spinner.pid).wanting and liveness.look(spinner.pid).state == "R")
        before = liveness.look(spinner.pid)
        until(lambda: liveness.look(spinner.pid).used >= before.used + 0.05)
        assert liveness.look(sleeper.pid).used < 5
        for p in (sleeper, spinner):
            os.kill(p.pid, signal.SIGSTOP)
            until(lambda p=p: liveness.look(p.pid).state == "T")
    finally:
        for p in (sleeper, spinner):
            p.kill()
            p.wait()
            p.stdout.close()
    assert liveness.look(sleeper.pid).state == "X"


def test_the_room_is_the_child_of_the_process_that_waits_for_it():
    parent = process("import os, time\nif os.fork() == 0:\n    print(flush=True)\ntime.sleep(600)")
    try:
        child = liveness.jailed(parent.pid)
        assert child != parent.pid and liveness.look(child).state in "SR" and liveness.jailed(child) == child
        os.kill(child, signal.SIGKILL)
        until(lambda: liveness.look(child).state == "Z")
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
