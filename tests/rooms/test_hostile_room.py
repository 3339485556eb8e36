"""A room that has been taken over talks to the supervisor: whatever it says is bounded,
cleaned and counted, and nothing that it does keeps the supervisor busy or fills it (F2)."""

import json
import os
import random
import socket
import time

import pytest

from wgpy.errors import WgpyError
from wgpy.loop import Loop
from wgpy.node import room_process
from wgpy.node.liveness import Judge, Seen
from wgpy.node.room_process import RoomProcess, clean
from wgpy.rooms import control


def test_a_message_is_an_object_with_as_many_names_as_descriptors():
    for data, fds in ((b"", 1), (b"[]", 0), (b"nonsense", 0), (b"[" * 60000, 0), (b'{"fds": ["a"]}', 0),
                      (b'{"fds": ["a", "a"]}', 2), (b'{"fds": 7}', 1), (b'{"fds": [[], {}]}', 1), (b"1" * 9000, 0),
                      (b"{}", 1), (b"\xff\xfe", 0)):
        ours, theirs = control.pair()
        reader, writer = os.pipe()
        socket.send_fds(theirs.sock, [data], [writer] * fds)
        os.close(writer)
        with pytest.raises(WgpyError, match="not a message"):
            ours.receive()
        os.set_blocking(reader, False)
        assert os.read(reader, 1) == b"", "nobody has kept what came with it"
        os.close(reader)
        ours.close()
        theirs.close()


def test_random_messages_never_raise_anything_else():
    rng = random.Random(1)
    ours, theirs = control.pair()
    for _ in range(2000):
        data = bytearray(json.dumps({"status": {"x": [1, "y", None]}, "fds": []}).encode())
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        theirs.sock.send(data)
        try:
            message, fds = ours.receive()
            assert isinstance(message, dict) and not fds
            json.dumps(clean(message), allow_nan=False)
        except WgpyError:
            pass


def test_a_status_is_cleaned():
    hostile = {"a\x1b[2J": "\x1b]0;title\x07" + "x" * 500, "n": 10**30, "f": float("inf"), "deep": [[[[[[["x"]]]]]]],
               "many": list(range(5000)), "ok": True, "negative": -5}
    out = clean(hostile)
    assert out["a?[2J"].startswith("?]0;title?") and len(out["a?[2J"]) == 200
    assert out["n"] is None and out["f"] is None and len(out["many"]) == 1024 and out["ok"] is True
    assert out["negative"] == -5 and "x" not in json.dumps(out["deep"])
    assert json.dumps(out, allow_nan=False).isprintable()


class FakeLoop:
    def watch(self, *_):
        pass

    forget = watch


def room_of(channel):
    room = RoomProcess(FakeLoop(), "black", None, lambda *_: None, lambda *_: None)
    room._channel, room.state, room._was_ready = channel, "starting", 0.0
    room._judge = Judge(time.monotonic())
    room._messages = room._logged = room._lines = 0
    room._asking = room._condemned = False
    room.killed = 0
    room.kill = lambda: setattr(room, "killed", room.killed + 1)
    room._pidfd = 0
    return room


def test_a_room_that_floods_its_channel_is_killed():
    ours, theirs = control.pair()
    ours.sock.setblocking(False)
    room = room_of(ours)
    theirs.sock.setblocking(False)
    for _ in range(200):
        theirs.send({"status": {}})
        room._receive()
        if room.killed:
            break
    assert room.killed == 1


def test_a_room_is_asked_and_one_that_does_not_answer_is_killed(monkeypatch):
    ours, theirs = control.pair()
    ours.sock.setblocking(False)
    room = room_of(ours)
    theirs.send({"ready": True})
    room._receive()
    assert room.state == "ready"
    room.tick()
    assert not room.killed and theirs.receive()[0] == {"ask": "status"}
    monkeypatch.setattr(room._judge, "seen", lambda seen, now: "does not answer")
    room.pid = os.getpid()
    room.look()
    room.look()
    assert room.killed == 1


@pytest.mark.parametrize("said, killed", [
    ([{"refused": {}}], 1), ([{"peers": []}], 1), ([{"pen": "line"}], 1), ([{"ready": True}], 1), ([{}], 1),
    ([{"refused": {}}, {"status": {}}], 0)])
def test_only_a_status_answers_whether_a_room_lives(monkeypatch, said, killed):
    """Twenty seconds in which a room goes on talking of something else."""
    clock = [1000.0]
    monkeypatch.setattr(room_process.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(room_process.liveness, "look", lambda pid: Seen("S", False, 1.0))
    ours, theirs = control.pair()
    ours.sock.setblocking(False)
    room = room_of(ours)
    theirs.send({"ready": True})
    room._receive()
    room.pid = os.getpid()
    for half_second in range(40):
        if half_second % 4 == 0:
            room.tick()
        for message in said:
            theirs.send(message)
            room._receive()
        clock[0] += 0.5
        room.look()
    assert room.killed == killed


def test_a_helper_that_a_starting_room_ran_is_not_the_room(monkeypatch):
    """Seen when it was the only child, and gone when the room is ready."""
    children = {1: 2}
    monkeypatch.setattr(room_process.liveness, "jailed", lambda pid: children[pid])
    monkeypatch.setattr(room_process.liveness, "look", lambda pid: Seen(
        "S" if pid in children.values() else "X", False, 1.0))
    ours, theirs = control.pair()
    ours.sock.setblocking(False)
    room = room_of(ours)
    room.pid = 1
    room.look()
    children[1] = 3
    theirs.send({"ready": True})
    room._receive()
    for _ in range(4):
        room.look()
    assert not room.killed
    monkeypatch.setattr(room_process.liveness, "look", lambda pid: Seen("Z", False, 1.0))  # the room itself
    room.look()
    room.look()
    assert room.killed == 1


FLOOD = """import os, socket
channel = socket.socket(fileno=3)
channel.recv(65536)
while True:
    os.write(1, %r)
"""


@pytest.mark.parametrize("written", [b"x" * 4096, b"a\n" * 2048], ids=["no line", "short lines"])
def test_a_room_that_floods_its_log_is_killed(monkeypatch, written):
    """Read and dropped without an end it would keep the supervisor busy."""
    read, spawn, ended, lines = [0], os.posix_spawn, [], []
    original = os.read

    def counted(fd, size):
        data = original(fd, size)
        read[0] += len(data)
        return data
    monkeypatch.setattr(room_process.os, "posix_spawn", lambda path, argv, env, **more: spawn(
        path, [path, "-S", "-c", FLOOD % written], env, **more))
    monkeypatch.setattr(room_process.os, "read", counted)
    monkeypatch.setattr(room_process.log, "info", lambda *a: lines.append(a))
    loop = Loop()
    room = RoomProcess(loop, "red", lambda: ({}, {}), lambda *_: None, ended.append)
    room.start()
    until = time.monotonic() + 60
    while not ended:
        loop.turn(0.1)
        assert time.monotonic() < until, "it is left alone"
    assert read[0] <= (1 << 20) + 65536 + 8192 and len(lines) <= 200
    loop.close()
