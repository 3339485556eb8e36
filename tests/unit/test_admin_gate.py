"""Who may administer, what is refused, and what is written down (I1, I3)."""

import contextlib
import errno
import json
import os
import socket
import threading
import time

import pytest
from test_uapi_server import read

from wgpy.admin import gate
from wgpy.admin.audit import verify
from wgpy.admin.gate import Change, Gate, Later, Who, allowed
from wgpy.admin.pen import Pen, asked_for
from wgpy.admin.refusals import Refusals
from wgpy.config.model import DeviceState, KeySizes
from wgpy.errors import WgpyError
from wgpy.loop import Loop
from wgpy.node import trail
from wgpy.node.door import MAX_STRANGERS, Door
from wgpy.node.trail import Scribe, Trail

ROOT = Who(0, 0, (), 1)
ADMIN = Who(1000, 1000, (27, 4242), 2)
USER = Who(1001, 1001, (27,), 3)
KEY = "11" * 32


class Handler:
    key_sizes = KeySizes()

    def __init__(self):
        self.applied = []

    def check(self, request):
        if request.listen_port is not None:
            raise PermissionError(errno.EPERM, "not here")

    def apply(self, request):
        self.applied.append(request)

    def describe(self):
        return DeviceState(listen_port=7)

    def metrics(self):
        return {"x": 1}


class Admin:
    """A gate in its own thread, and the supervisor that passes connections on and holds
    the pen; what crypto sends it goes through `lost` and `late`."""

    def __init__(self, directory):
        self.path, self.loop, self.handler, self.done = directory / "audit.log", Loop(), Handler(), []
        self.trail, self.held, self.hold = Trail(directory), [], False
        commands = {"hello": lambda r: {"you": r.get("x", "said nothing")}, "crash": lambda r: 1 / 0, "audit": lambda r: {},
                    "refuse": lambda r: (_ for _ in ()).throw(PermissionError(1, "no"))}
        self.later = Later()
        changing = {"change": lambda r: Change({"to": r["to"]}, lambda: self.done.append(r["to"]) or {"was": 1}),
                    "later": lambda r: Change({}, lambda: self.later),
                    "fail": self._fail, "fail-late": lambda r: Change({}, lambda: self._fail(r))}
        self.pen = Pen(self._written)
        self.scribe = Scribe(self.trail, lambda s, call: self.held.append(call), lambda m: self._to_crypto(m))
        self.gate = Gate(self.loop, self.pen, 4242, self.handler, commands, changing)
        self.door = Door(self.loop, self._pass_on, 4242, self.trail)
        self.thread = threading.Thread(target=self.loop.run, daemon=True)
        self.thread.start()

    def _written(self, message):
        message = json.loads(json.dumps(message))
        if self.hold:
            self.held.append(lambda: self.scribe.asked(message))
        else:
            self.loop.call_soon(lambda: self.scribe.asked(message))
        return True

    def _to_crypto(self, message):
        self.loop.call_soon(lambda: self.pen.answered(message))
        return True

    def _pass_on(self, message, fds):
        self.gate.connect(Who.parse(message["admin"]), socket.socket(fileno=os.dup(fds["connection"])))
        return True

    @staticmethod
    def _fail(_request):
        raise WgpyError("cannot")

    def connect(self, who):
        ours, theirs = socket.socketpair()
        ours.settimeout(60)
        theirs.setblocking(False)
        done = threading.Event()

        def arrive():
            with pytest.MonkeyPatch.context() as m:
                m.setattr(Who, "of", classmethod(lambda cls, connection: who))
                self.door.admit(theirs)
            done.set()
        self.loop.call_soon(arrive)
        assert done.wait(60)
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

    @property
    def said(self):
        return [(e["what"], e["result"]) for e in self.entries]

    def stop(self):
        self.loop.call_soon(self.loop.stop)
        self.thread.join(60)
        self.gate.close()
        self.door.close()
        self.trail.close()


@pytest.fixture
def admin(tmp_path):
    a = Admin(tmp_path)
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


def test_without_the_group_only_root_gets_in():
    assert allowed(ROOT, None) and not allowed(ADMIN, None)
    assert not allowed(Who(1, 2, (), 3), None)


def test_the_gate_decides_too(admin):
    """Whoever the supervisor lets through by mistake is turned away by crypto."""
    admin.door._gid = 27
    with admin.connect(USER) as s:
        assert s.recv(10) == b""
    wait_for(lambda: admin.said == [("connect", "refused")])
    assert admin.entries[0]["by"] == "crypto"


def wait_for(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_refusals_cannot_fill_the_log(admin):
    now = admin.door._refusals._clock = lambda: now.time
    now.time = admin.door._refusals._since
    for _ in range(30):
        admin.ask(USER, b"get=1\n\n")
    assert len(admin.entries) == 1
    now.time += 61.0
    admin.ask(USER, b"get=1\n\n")
    assert [e.get("detail") for e in admin.entries] == [None, {"times": 30}]


def test_refusals_of_many_users_take_bounded_memory_and_few_lines():
    """A user has 65,536 uids in a user namespace of his."""
    now = [1.0]
    refusals = Refusals(clock=lambda: now[0])
    noted = [n for uid in range(65536) if (n := refusals.note(uid)) is not None]
    assert len(noted) == 16 and len(refusals._last) <= 256 and len(refusals._untold) <= 256
    now[0] += 11.0
    told = refusals.note(1)
    assert told is None, "this one's turn is after a minute"
    told = refusals.note(65536)
    assert told["others"] + sum(refusals._untold.values()) == 65536 - 16 + 1


def test_a_crowd_without_permission_does_not_keep_an_administrator_out(admin):
    crowd = [admin.connect(USER) for _ in range(200)]
    with admin.connect(ROOT) as s:
        s.sendall(b"get=1\n\n")
        assert b"errno=0" in read(s)
    assert len(admin.door._strangers) <= MAX_STRANGERS == 8 and len(admin.gate._admins) <= 1
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
    asked, one, two = admin.entries
    assert (asked["result"], one["result"], one["detail"]) == ("asked", "ok", {"of": 1})
    assert asked["who"] == one["who"] == {"uid": 1000, "gid": 1000, "pid": 2} and asked["by"] == "crypto"
    (fields,) = asked["detail"]["peers"].values()
    assert fields.split() == ["preshared_key", "endpoint", "keepalive", "allowed_ips"]
    assert two["result"] == "EINVAL"
    assert secret not in admin.path.read_text() and "qqqq" not in admin.path.read_text()


def test_commands_that_change_something_are_written_down_whatever_comes_of_them(admin):
    assert admin.command(cmd="change", to="x") == {"errno": 0, "was": 1}
    assert admin.command(cmd="fail") == {"errno": errno.EINVAL, "error": "cannot"}
    assert admin.command(cmd="fail-late") == {"errno": errno.EINVAL, "error": "cannot"}
    assert admin.command(cmd="hello")["errno"] == 0
    assert [(e["what"], e["result"], e.get("detail")) for e in admin.entries] == [
        ("change", "asked", {"to": "x"}), ("change", "ok", {"of": 1}), ("fail", "cannot", None),
        ("fail-late", "asked", None), ("fail-late", "cannot", {"of": 4})]


def test_nothing_is_done_before_it_is_written_down(admin):
    admin.hold = True
    with admin.connect(ROOT) as one, admin.connect(ROOT) as two, admin.connect(ROOT) as reader:
        one.sendall(b'wgpy=1\n{"cmd": "change", "to": 1}\n\n')
        wait_for(lambda: len(admin.held) == 1)
        two.sendall(f"set=1\npublic_key={KEY}\n\n".encode())
        reader.sendall(b"get=1\n\n")
        assert b"errno=0" in read(reader), "others are served meanwhile"
        assert admin.done == admin.handler.applied == [] and admin.entries == []
        admin.hold = False
        admin.loop.call_soon(admin.held.pop())
        assert json.loads(read(one))["errno"] == 0 and read(two) == b"errno=0\n\n"
    assert admin.done == [1] and len(admin.handler.applied) == 1
    assert sorted(admin.said) == [("change", "asked"), ("change", "ok"), ("set", "asked"), ("set", "ok")]


@pytest.mark.parametrize("outcome, answer, result", [
    (lambda: {"x": 1, "audit": {"n": 2}}, {"errno": 0, "x": 1}, ("ok", {"of": 1, "n": 2})),
    (lambda: (_ for _ in ()).throw(WgpyError("not so")), {"errno": errno.EINVAL, "error": "not so"}, ("not so", {"of": 1}))])
def test_what_somebody_else_carries_out_is_answered_on_its_own_connection(admin, outcome, answer, result):
    with admin.connect(ROOT) as waiting:
        waiting.sendall(b'wgpy=1\n{"cmd": "later"}\n\n')
        wait_for(lambda: admin.said == [("later", "asked")])
        assert admin.command(cmd="hello")["errno"] == 0, "others are served meanwhile"
        wait_for(lambda: admin.later.done.__name__ == "conclude")
        admin.loop.call_soon(lambda: admin.later.done(outcome))
        assert json.loads(read(waiting)) == answer
    last = admin.entries[-1]
    assert (last["result"], last["detail"]) == result and len(admin.entries) == 2


def test_a_client_that_goes_while_its_change_is_written_down(admin):
    admin.hold = True
    admin.connect(ROOT).sendall(b'wgpy=1\n{"cmd": "change", "to": 1}\n\n')
    wait_for(lambda: admin.held)
    admin.hold = False
    admin.loop.call_soon(admin.held.pop())
    wait_for(lambda: admin.said[-1:] == [("change", "ok")])
    assert admin.command(cmd="hello")["errno"] == 0


def test_the_head_is_told_by_who_holds_the_pen(admin):
    admin.command(cmd="change", to=1)
    admin.ask(USER, b"get=1\n\n")
    told = admin.command(cmd="audit")
    assert (told["entries"], told["hash"]) == tuple(verify([("x", admin.path.read_bytes())])) and told["entries"] == 3


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
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            s.sendall(b"set=1\nendpoint=" + b"y" * 200_000)
            assert s.recv(100) == b""


def test_what_cannot_be_written_down_is_refused_and_not_done(admin, monkeypatch):
    """A full disk; what only tells goes on."""
    def full(*_arguments, **_detail):
        raise OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as m:
        m.setattr(admin.trail._log, "add", full)
        answer = admin.command(cmd="change", to=1)
        assert answer["errno"] == errno.ENOSPC and "No space left" in answer["error"]
        assert admin.ask(ROOT, f"set=1\npublic_key={KEY}\n\n".encode()) == f"errno=-{errno.ENOSPC}\n\n".encode()
        assert admin.done == admin.handler.applied == [] and admin.trail.error == "No space left on device"
        assert admin.command(cmd="hello")["errno"] == 0
    assert admin.command(cmd="change", to=2)["errno"] == 0
    assert admin.done == [2] and admin.trail.error == ""


def test_a_supervisor_that_takes_nothing_refuses_changes(admin):
    admin.pen._send = lambda message: False
    assert admin.command(cmd="change", to=1)["errno"] == errno.EIO
    assert admin.done == []


@pytest.mark.parametrize("start, most", [(b"set=1\n", 256 << 10), (b"wgpy=1\n", 512 << 10)])
def test_a_request_longer_than_a_room_reads_at_once_is_not_read(admin, start, most):
    """It would keep handshakes and heartbeat waiting for seconds."""
    with admin.connect(ROOT) as s:
        with pytest.raises(OSError):
            s.sendall(start + b"listen_port=1\n" * (most // 14 + 20_000))
            assert s.recv(100) == b""
            raise ConnectionResetError
    assert admin.handler.applied == [] and admin.command(cmd="hello")["errno"] == 0


def test_crypto_can_fill_neither_disk_nor_time_of_who_holds_the_pen(tmp_path):
    """One request at a time, so many at once, then ten a second."""
    now, held, told, kept = [0.0], [], [], Trail(tmp_path)
    scribe = Scribe(kept, lambda s, call: held.append(call), lambda m: told.append(m) or True, clock=lambda: now[0])
    entry = {"who": "wgpy", "what": "x", "result": "ok", "detail": {}}
    for n in range(256):
        scribe.asked({"pen": n + 1, "entry": entry})
    assert len(told) == 256 and not held
    scribe.asked({"pen": 257, "entry": entry})
    assert len(told) == 256 and len(held) == 1 and kept.head.entries == 256
    with pytest.raises(WgpyError, match="before the first"):
        scribe.asked({"pen": 258, "entry": entry})
    scribe.restarted()
    held.pop()()
    assert len(told) == 256 and kept.head.entries == 257, "its next life is not told of what it did not ask"
    now[0] = 3.0
    for n in range(20):
        scribe.asked({"pen": n + 1, "entry": entry})
    assert len(told) == 276
    kept.close()


@pytest.mark.parametrize("message", [
    {}, {"pen": True}, {"pen": "1"}, {"pen": -1}, {"pen": 1, "entry": []}, {"pen": 1, "entry": {"who": "wgpy"}},
    {"pen": 1, "entry": {"who": "supervisor", "what": "x", "result": "ok", "detail": {}}},
    {"pen": 1, "entry": {"who": {"uid": 0}, "what": "x", "result": "ok", "detail": {}}},
    {"pen": 1, "entry": {"who": "wgpy", "what": 7, "result": "ok", "detail": {}}},
    {"pen": 1, "entry": {"who": "wgpy", "what": "x", "result": "ok", "detail": [1]}},
    {"pen": 1, "entry": {"who": "wgpy", "what": "x", "result": "ok", "detail": {}, "by": "me"}},
    {"pen": 1, "entry": {"who": "wgpy", "what": "x" * 20000, "result": "ok", "detail": {}}}])
def test_requests_to_the_trail_that_are_none(message):
    with pytest.raises(WgpyError):
        asked_for(message)


def test_words_of_the_writer_are_not_cryptos(tmp_path):
    kept = Trail(tmp_path)
    scribe = Scribe(kept, None, lambda m: True)
    scribe.asked({"pen": 1, "entry": {"who": "wgpy", "what": "x", "result": "ok",
                                      "detail": {"by": "supervisor", "who": "root", "self": 1, "a": "b"}}})
    (line,) = (tmp_path / trail.AUDIT).read_text().splitlines()
    assert json.loads(line)["by"] == "crypto" and json.loads(line)["who"] == "wgpy"
    kept.close()


def test_the_group_has_a_name():
    assert gate.ADMIN_GROUP == "wgpy-admin"
