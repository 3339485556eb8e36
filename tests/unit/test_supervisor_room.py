"""A room's process as the supervisor sees it, where starting it fails."""

import os

import pytest

from wgpy.daemon import supervisor_room
from wgpy.daemon.supervisor_room import RoomProcess
from wgpy.loop import Loop


def descriptors():
    return set(os.listdir("/proc/self/fd"))


@pytest.fixture
def room():
    ended = []
    made = RoomProcess(Loop(), "red", lambda: ({}, {"x": os.open(os.devnull, os.O_RDONLY)}), lambda *a: None,
                       ended.append)
    made.ended = ended
    yield made
    made._loop.close()


def wait(room):
    for _ in range(100):
        room._loop.turn(0.1)
        if room.ended:
            return
    raise TimeoutError


@pytest.mark.parametrize("call", ["posix_spawn", "pidfd_open"])
def test_a_start_that_fails_leaves_no_descriptor_and_no_process(room, monkeypatch, call):
    """It is tried again and again."""
    def fail(*_, **__):
        raise OSError(24, "Too many open files")

    before = descriptors()
    with monkeypatch.context() as m:
        m.setattr(supervisor_room.os, call, fail)
        with pytest.raises(OSError):
            room.start()
    assert descriptors() == before and room.pid == 0
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_the_last_line_of_a_long_farewell_is_the_reason(room, monkeypatch):
    program, spawn = "print(('y' * 99 + chr(10)) * 120 + 'the reason')", os.posix_spawn
    monkeypatch.setattr(supervisor_room.os, "posix_spawn", lambda path, argv, env, **more: spawn(
        path, [path, "-S", "-c", program], env, **more))
    room.start()
    os.waitid(os.P_PID, room.pid, os.WEXITED | os.WNOWAIT)
    wait(room)
    assert room.last_line == "the reason" and room.pid == 0
