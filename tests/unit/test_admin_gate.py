"""Who may administer, what is refused, and what is written down (I1, I3)."""

import errno
import json
import os
import socket
import threading

import pytest

from test_uapi_server import read

from wgpy.admin import gate
from wgpy.admin.audit import AuditLog, verify
from wgpy.admin.gate import Gate, Refusals, Who
from wgpy.config.model import DeviceState
from wgpy.errors import WgpyError
from wgpy.loop import Loop

ROOT = Who(0, 0, (), 1)
ADMIN = Who(1000, 1000, (27, 4242), 2)
USER = Who(1001, 1001, (27,), 3)
KEY = "11" * 32


class Handler:
    def __init__(self):
        self.applied = []

    def apply(self, request):
        if request.listen_port is not None:
            raise PermissionError(errno.EPERM, "not here")
        self.applied.append(request)

    def describe(self):
        return DeviceState(listen_port=7)

    def metrics(self):
        return {"x": 1}


class Admin:
    """A gate in its own thread, as behind a supervisor that passes connections on."""

    def __init__(self, path):
        self.path, self.loop, self.handler, self.time = path, Loop(), Handler(), 0.0
        self.fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        commands = {"hello": lambda r: {"you": r.get("x", "said nothing")}, "fail": self._fail,
                    "change": lambda r: {"audit": {"to": r["to"]}}, "crash": lambda r: 1 / 0,
                    "refuse": lambda r: (_ for _ in ()).throw(PermissionError(1, "no"))}
        self.gate = Gate(self.loop, AuditLog(self.fd), 4242, self.handler, commands,
                         frozenset({"change", "fail"}), clock=lambda: self.time)
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()

    @staticmethod
    def _fail(_request):
        raise WgpyError("cannot")

    def connect(self, who):
        ours, theirs = socket.socketpair()
        ours.settimeout(10)
        done = threading.Event()
        self.loop.call_soon(lambda: (self.gate.connect(who, theirs), done.set()))
        assert done.wait(10)
        return ours

    def ask(self, who, data):
        with self.connect(who) as s:
            s.sendall(data)
            return read(s)

    def command(self, who=ROOT, **request):
        return json.loads(self.ask(who, b"wgpy=1\n" + json.dumps(request).encode() + b"\n\n"))

    @property
    def entries(self):
        data = self.path.read_bytes()
        verify([("audit", data)])
        return [json.loads(line) for line in data.splitlines()]

    def stop(self):
        self.loop.call_soon(self.loop.stop)
        self.thread.join(10)
        self.gate.close()
        os.close(self.fd)


@pytest.fixture
def admin(tmp_path):
    a = Admin(tmp_path / "audit.log")
    yield a
    a.stop()


@pytest.mark.parametrize("who", [ROOT, ADMIN, Who(5, 4242, (), 1)], ids=["root", "group", "primary group"])
def test_administrators_are_let_in(admin, who):
    assert admin.ask(who, b"get=1\n\n") == b"implementation=wgpy\nlisten_port=7\nerrno=0\n\n"
    assert admin.command(who, cmd="hello", x=3) == {"errno": 0, "you": 3}


def test_others_get_eacces_and_an_entry_and_change_nothing(admin):
    assert admin.ask(USER, b"get=1\n\n") == b"errno=13\n\n"
    assert admin.ask(USER, f"set=1\npublic_key={KEY}\n\n".encode()) == b"errno=-13\n\n"
    assert admin.command(USER, cmd="change", to=1)["errno"] == 13
    assert admin.handler.applied == []
    assert [(e["who"], e["what"], e["result"]) for e in admin.entries] == [
        ({"uid": 1001, "gid": 1001, "pid": 3}, "connect", "refused")]


def test_without_the_group_only_root_gets_in(tmp_path):
    no_group = Gate(Loop(), None, None, None, {}, frozenset())
    assert no_group.allows(ROOT) and not no_group.allows(ADMIN)
    assert not no_group.allows(Who(1, 2, (), 3))


def test_refusals_cannot_fill_the_log(admin):
    for _ in range(30):
        admin.ask(USER, b"get=1\n\n")
    assert len(admin.entries) == 1
    admin.time = 61.0
    admin.ask(USER, b"get=1\n\n")
    assert [e.get("detail") for e in admin.entries] == [None, {"times": 30}]


def test_refusals_of_many_users_take_bounded_memory():
    refusals = Refusals(clock=lambda: 1.0)
    assert all(refusals.note(uid) for uid in range(5000))
    assert len(refusals._last) <= 256 and len(refusals._untold) <= 256


def test_a_crowd_without_permission_does_not_keep_an_administrator_out(admin):
    crowd = [admin.connect(USER) for _ in range(200)]
    with admin.connect(ROOT) as s:
        s.sendall(b"get=1\n\n")
        assert b"errno=0" in read(s)
    assert len(admin.gate._strangers) <= 8
    for c in crowd:
        c.close()


def test_what_the_encryptor_refuses_is_eperm_and_written_down(admin):
    assert admin.ask(ADMIN, b"set=1\nlisten_port=5\n\n") == b"errno=-1\n\n"
    (entry,) = admin.entries
    assert entry["result"] == "EPERM" and entry["detail"] == {"device": ["listen_port"]}


def test_changes_are_written_down_without_secrets(admin):
    secret = "ab" * 32
    request = (f"set=1\npublic_key={KEY}\npreshared_key={secret}\nendpoint=192.0.2.1:5\n"
               "persistent_keepalive_interval=3\nallowed_ip=10.0.0.0/8\n\n")
    assert admin.ask(ADMIN, request.encode()) == b"errno=0\n\n"
    assert admin.ask(ADMIN, f"set=1\nprivate_key={secret}zz\n\n".encode()) == b"errno=-22\n\n"
    one, two = admin.entries
    assert one["who"] == {"uid": 1000, "gid": 1000, "pid": 2} and one["result"] == "ok"
    (fields,) = one["detail"]["peers"].values()
    assert fields.split() == ["preshared_key", "endpoint", "keepalive", "allowed_ips"]
    assert two["result"] == "EINVAL"
    assert secret not in admin.path.read_text() and "qqqq" not in admin.path.read_text()


def test_commands_that_change_something_are_written_down_whatever_comes_of_them(admin):
    assert admin.command(cmd="change", to="x") == {"errno": 0}
    assert admin.command(cmd="fail") == {"errno": errno.EINVAL, "error": "cannot"}
    assert admin.command(cmd="hello")["errno"] == 0
    assert [(e["what"], e["result"], e.get("detail")) for e in admin.entries] == [
        ("change", "ok", {"to": "x"}), ("fail", "cannot", None)]


@pytest.mark.parametrize("text", [b"{}", b"[]", b"[" * 9000, b'{"cmd": []}', b'{"cmd": "nothing"}', b"\xff",
                                  b'{"cmd": {"a": 1}}', b"17"])
def test_malformed_commands(admin, text):
    answer = json.loads(admin.ask(ROOT, b"wgpy=1\n" + text + b"\n\n"))
    assert answer == {"errno": errno.EINVAL, "error": "no such command"}


def test_a_command_that_breaks_is_an_error_and_no_traceback(admin):
    assert admin.command(cmd="crash") == {"errno": errno.EIO, "error": "internal error"}
    assert admin.command(cmd="refuse") == {"errno": errno.EPERM, "error": "no"}
    assert admin.command(cmd="hello")["errno"] == 0


def test_a_long_json_line_is_read_and_a_long_uapi_line_is_not(admin):
    assert admin.command(cmd="hello", x="y" * 200_000)["you"] == "y" * 200_000
    with admin.connect(ROOT) as s:
        s.sendall(b"set=1\nendpoint=" + b"y" * 200_000)
        try:
            assert s.recv(100) == b""
        except ConnectionResetError:
            pass


def test_a_full_disk_does_not_stop_administration(admin, monkeypatch):
    def full(*_arguments, **_detail):
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(admin.gate.audit, "add", full)
    assert admin.command(cmd="change", to=1) == {"errno": 0}


def test_credentials_of_a_real_connection(tmp_path):
    listener, near = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    near.connect(str(tmp_path / "s"))
    far, _ = listener.accept()
    who = Who.of(far)
    assert (who.uid, who.gid, who.pid) == (os.getuid(), os.getgid(), os.getpid())
    assert set(who.groups) == set(os.getgroups())
    assert Who.parse(json.loads(json.dumps(who.as_message()))) == who
    for s in (listener, near, far):
        s.close()


@pytest.mark.parametrize("value", [None, {}, [], {"uid": "0", "gid": 0, "pid": 0, "groups": []},
                                   {"uid": 0, "gid": 0, "pid": 1}, {"uid": True, "gid": 0, "pid": 1, "groups": []},
                                   {"uid": -1, "gid": 0, "pid": 1, "groups": []}])
def test_credentials_that_are_none(value):
    with pytest.raises(WgpyError):
        Who.parse(value)


def test_the_group_has_a_name():
    assert gate.ADMIN_GROUP == "wgpy-admin"
