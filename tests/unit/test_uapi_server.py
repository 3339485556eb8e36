"""The UAPI socket under many, slow and hostile clients (I1, F2). No root needed."""

import os
import socket
import stat
import threading
import time

import pytest

from wgpy.admin import uapi_server
from wgpy.admin.uapi_server import MAX_CLIENTS, UapiServer
from wgpy.config.model import DeviceState, KeySizes
from wgpy.errors import HostError, WgpyError
from wgpy.lab.netns import wait_until
from wgpy.loop import Loop


class Handler:
    key_sizes = KeySizes()

    def __init__(self):
        self.applied, self.error, self.peers = [], None, ()

    def apply(self, request):
        if self.error:
            raise self.error
        self.applied.append(request)

    def describe(self):
        if self.error:
            raise self.error
        return DeviceState(listen_port=7, peers=self.peers)

    def metrics(self):
        return {"aead": "x", "drop_no_peer": 1}


class Running:
    def __init__(self, path):
        self.path, self.handler, self.loop = str(path), Handler(), Loop()
        self.server = UapiServer(self.loop, uapi_server.listen(self.path), self.path, self.handler)
        self.thread = threading.Thread(target=self.loop.run, daemon=True)
        self.thread.start()

    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.path)
        s.settimeout(60)
        return s

    def ask(self, data, ends=1):
        with self.connect() as s:
            s.sendall(data)
            return read(s, ends)

    def stop(self):
        self.loop.call_soon(self.loop.stop)
        self.thread.join(60)
        assert not self.thread.is_alive()
        self.server.close()


def read(s, ends=1):
    got = b""
    while got.count(b"\n\n") < ends:
        data = s.recv(65536)
        if not data:
            break
        got += data
    return got


@pytest.fixture
def running(tmp_path):
    r = Running(tmp_path / "wg0.sock")
    yield r
    r.stop()


def test_several_requests_on_one_connection(running):
    with running.connect() as s:
        s.sendall(b"get=1\n\nset=1\nfwmark=3\n\nbogus=1\n\nget=1\n\nset=1\nx=1\n\nmetrics=1\n\n")
        got = read(s, 6)
    state = b"implementation=wgpy\nlisten_port=7\nerrno=0\n\n"
    assert got == (state + b"errno=0\n\nerrno=22\n\n" + state
                   + b"errno=-22\n\naead=x\ndrop_no_peer=1\nerrno=0\n\n")
    assert [r.fwmark for r in running.handler.applied] == [3]


def test_byte_by_byte_and_beside_others(running):
    with running.connect() as slow:
        for byte in b"set=1\nlisten_port=5\n":
            slow.sendall(bytes([byte]))
            assert running.handler.applied == []
        assert running.ask(b"get=1\n\n").endswith(b"errno=0\n\n")
        slow.sendall(b"\n")
        assert read(slow) == b"errno=0\n\n"
    assert running.handler.applied[0].listen_port == 5


def test_hang_up_in_the_middle_changes_nothing(running):
    with running.connect() as s:
        s.sendall(b"set=1\nlisten_port=5\n")
        s.shutdown(socket.SHUT_WR)
        assert s.recv(100) == b""
    assert running.handler.applied == []


@pytest.mark.parametrize("error, reply", [
    (WgpyError("no"), b"22"), (OSError(98, "in use"), b"98"), (RuntimeError("bug"), b"5")])
def test_errno_is_negative_for_set_and_digits_for_get(running, error, reply):
    running.handler.error = error
    assert running.ask(b"set=1\n\n") == b"errno=-" + reply + b"\n\n"
    assert running.ask(b"get=1\n\n") == b"errno=" + reply + b"\n\n"
    running.handler.error = None
    assert running.ask(b"get=1\n\n").endswith(b"errno=0\n\n")


def test_endless_line_is_cut_off(running):
    with running.connect() as s, pytest.raises((ConnectionError, BrokenPipeError)):
        for _ in range(1000):
            s.sendall(b"a" * 65536)
            if s.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b"":
                raise ConnectionResetError
            time.sleep(0.001)
    assert running.ask(b"get=1\n\n")


def test_endless_request_is_cut_off(running):
    running.server._clients.long = 100_000
    with running.connect() as s:
        try:
            s.sendall(b"set=1\n" + b"fwmark=1\n" * 20_000)
            assert s.recv(100) == b""
        except ConnectionError:
            pass
    assert running.handler.applied == []


def test_client_that_never_reads_blocks_nobody(running):
    running.handler.peers = ()
    with running.connect() as deaf:
        deaf.settimeout(0.5)
        with pytest.raises(TimeoutError):
            while True:
                deaf.sendall(b"get=1\n\n" * 10_000)
        assert running.ask(b"get=1\n\n").endswith(b"errno=0\n\n")


def test_idle_crowd_makes_room_for_the_next(running):
    before = len(os.listdir("/proc/self/fd"))
    crowd = [running.connect() for _ in range(MAX_CLIENTS + 20)]
    try:
        assert running.ask(b"get=1\n\n").endswith(b"errno=0\n\n")
        theirs = len(os.listdir("/proc/self/fd")) - before - len(crowd)
        assert theirs <= MAX_CLIENTS + 1, "the server keeps no more than it allows"
    finally:
        for s in crowd:
            s.close()


def test_no_descriptor_leaks(running):
    running.ask(b"get=1\n\n")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        running.ask(b"get=1\n\n")
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before + 1, 60, "the last of 200 is closed")


def test_socket_is_private_and_removed(tmp_path):
    r = Running(tmp_path / "wg0.sock")
    assert stat.S_IMODE(os.stat(r.path).st_mode) & 0o077 == 0
    r.stop()
    assert os.listdir(tmp_path) == []


def test_second_daemon_is_refused_and_first_lives_on(running):
    with pytest.raises(HostError, match="another daemon"):
        uapi_server.listen(running.path)
    assert running.ask(b"get=1\n\n").endswith(b"errno=0\n\n")


def test_stale_socket_is_replaced(tmp_path):
    path = tmp_path / "wg0.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    r = Running(path)
    assert r.ask(b"get=1\n\n").endswith(b"errno=0\n\n")
    r.stop()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "wg0.sock"
    path.write_text("precious")
    with pytest.raises(HostError, match="no socket"):
        uapi_server.listen(str(path))
    assert path.read_text() == "precious"


def test_replaced_socket_file_is_noticed_and_kept(tmp_path):
    r = Running(tmp_path / "wg0.sock")
    assert r.server.file_is_ours()
    os.unlink(r.path)
    assert not r.server.file_is_ours()
    (tmp_path / "wg0.sock").write_text("other")
    r.stop()
    assert (tmp_path / "wg0.sock").exists()


def test_adopts_only_listening_sockets(tmp_path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "s"))
        with pytest.raises(HostError, match="WG_UAPI_FD"):
            uapi_server.adopt(s.fileno())
        s.listen()
        adopted = uapi_server.adopt(os.dup(s.fileno()))
        assert not adopted.getblocking()
        adopted.close()
    with pytest.raises(HostError, match="WG_UAPI_FD"):
        uapi_server.adopt(999)
