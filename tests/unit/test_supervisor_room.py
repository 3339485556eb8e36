"""A room's process as the supervisor sees it: where starting it fails, where it is
silent."""

import os
import time

import pytest

from wgpy.loop import READ, Loop
from wgpy.node import liveness, room_process
from wgpy.node.room_process import RoomProcess
from wgpy.node.timers import Timers


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
    until = time.monotonic() + 60
    while not room.ended:
        room._loop.turn(0.1)
        assert time.monotonic() < until, "it does not end"


@pytest.mark.parametrize("call", ["posix_spawn", "pidfd_open"])
def test_a_start_that_fails_leaves_no_descriptor_and_no_process(room, monkeypatch, call):
    """It is tried again and again."""
    def fail(*_, **__):
        raise OSError(24, "Too many open files")

    before, spawn, started = descriptors(), os.posix_spawn, []
    with monkeypatch.context() as m:
        m.setattr(room_process.os, "posix_spawn", lambda *a, **k: started.append(spawn(*a, **k)) or started[-1])
        m.setattr(room_process.os, call, fail)
        with pytest.raises(OSError):
            room.start()
    assert descriptors() == before and room.pid == 0
    assert len(started) == (call == "pidfd_open")
    for pid in started:
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def test_the_last_line_of_a_long_farewell_is_the_reason(room, monkeypatch):
    program, spawn = "print(('y' * 99 + chr(10)) * 120 + 'the reason')", os.posix_spawn
    monkeypatch.setattr(room_process.os, "posix_spawn", lambda path, argv, env, **more: spawn(
        path, [path, "-S", "-c", program], env, **more))
    room.start()
    os.waitid(os.P_PID, room.pid, os.WEXITED | os.WNOWAIT)
    wait(room)
    assert room.last_line == "the reason" and room.pid == 0


SAYS = """import socket, sys, time
channel = socket.socket(fileno=3)
channel.recv(65536)
for word in sys.argv[1:]:
    channel.send(b'{"%s": true}' % word.encode())
time.sleep(600)
"""


@pytest.mark.parametrize("says, lives", [([], False), (["asking"], True), (["asking", "ready"], False),
                                         (["ready", "asking"], False)])
def test_silence_is_forgiven_only_while_a_person_is_asked(room, monkeypatch, says, lives):
    spawn = os.posix_spawn
    monkeypatch.setattr(room_process.os, "posix_spawn", lambda path, argv, env, **more: spawn(
        path, [path, "-S", "-c", SAYS, *says], env, **more))
    monkeypatch.setattr(liveness, "STARTING", 0.3)
    monkeypatch.setattr(liveness, "RUNNING", 0.3)
    heard = []
    room._on_message = lambda room, message, fds: heard.append(message)
    room.start()
    until = time.monotonic() + 60
    while len(heard) < len(says) and time.monotonic() < until:
        room._loop.turn(0.1)
    room.tick()
    for _ in range(8):
        time.sleep(0.1)
        room.look()
    for _ in range(3 if lives else 0):
        room._loop.turn(0.1)
    if lives:
        assert room.pid and not room.ended
        room.kill()
    wait(room)


def test_what_was_said_during_a_long_timer_is_heard_before_the_next():
    """Else rooms would be killed for the supervisor's own silence."""
    loop = Loop()
    timers = Timers(loop)
    reader, writer = os.pipe()
    order = []
    timers.after(0, lambda: (os.write(writer, b"x"), order.append("long"), time.sleep(0.05)))
    timers.after(0.01, lambda: order.append("next"))
    loop.watch(reader, READ, lambda _: (os.read(reader, 1), order.append("heard")))
    while len(order) < 3:
        loop.turn(1)
    assert order == ["long", "heard", "next"]
    loop.close()
    os.close(reader)
    os.close(writer)
