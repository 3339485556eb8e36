"""`show` beside other programs' daemons: they are asked only what the UAPI
defines (wireguard.com/xplatform), and one that misbehaves costs neither the others nor us."""

import socket
import threading

import pytest

from wgpy.admin import uapi_server
from wgpy.cli import client, show

STATE = b"private_key=" + b"18" * 32 + b"\nlisten_port=7\nerrno=0\n\n"
METRICS = b"aead=x\nqueues=2\nmtu=1420\nerrno=0\n\n"
OURS = b"implementation=wgpy\n" + STATE


class Daemon:
    """Answers each connection with `answer`; None: never. `asked` is what it was asked."""

    def __init__(self, directory, name, answer):
        self.asked, self._answer, self._open = [], answer, []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / f"{name}.sock"))
        self._listener.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                s, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(s)
            request = s.recv(1000)
            self.asked.append(request)
            if self._answer is not None:
                try:
                    s.sendall(METRICS if request.startswith(b"metrics") else self._answer)
                    s.shutdown(socket.SHUT_WR)
                except OSError:
                    pass  # the asker had enough

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for s in self._open:
            s.close()


@pytest.fixture
def daemons(tmp_path, monkeypatch):
    monkeypatch.setattr(uapi_server, "SOCKET_DIR", str(tmp_path))
    monkeypatch.setattr(client, "SOCKET_DIR", str(tmp_path))
    monkeypatch.setattr(client, "_SHORT_PATIENCE", 0.5)
    running = []

    def start(**answers):
        running.extend(Daemon(tmp_path, name, answer) for name, answer in answers.items())
        return running
    yield start
    for daemon in running:
        daemon.stop()


def test_only_ours_are_asked_for_more_than_the_uapi_has(daemons):
    ours, theirs = daemons(ours=OURS, theirs=STATE)
    found = client.survey()
    assert ours.asked == [b"get=1\n\n", b"metrics=1\n\n"] and theirs.asked == [b"get=1\n\n"]
    assert found["ours"].metrics["mtu"] == 1420 and found["theirs"].metrics == {}
    assert found["theirs"].state.listen_port == 7
    assert "data path" not in [label for _, label, _ in show.lines("theirs", found["theirs"])]
    assert "private_key" not in show.as_json(found["theirs"]) and show.as_json(found["theirs"])["listen_port"] == 7


def test_what_was_delivered_is_not_shown_as_dropped():
    metrics = {"aead": "avx2", "queues": 1, "mtu": 1420, "drop_ecn_lost": 5, "drop_no_peer": 0}
    shown = {label: value for _, label, value in show.lines("ours", client.Found(metrics=metrics))}
    assert shown["delivered with a loss"] == "ecn lost 5" and "dropped" not in shown
    shown = {label: value for _, label, value in show.lines("ours", client.Found(metrics=metrics | {"drop_no_peer": 2}))}
    assert shown["delivered with a loss"] == "ecn lost 5" and shown["dropped"] == "no peer 2"


@pytest.mark.parametrize("answer, says", [
    (None, "does not answer"), (b"", "hung up"), (b"listen_port=", "hung up"), (b"errno=5\n\n", "refuses"),
    (b"hello\n\n", "not key=value"), (b"listen_port=x\n\n", "not a number"), (b"public_key=zz\n\n", "hexadecimal"),
    (b"\xff\xfe\n\n", "not key=value")])
def test_a_strange_one_is_shown_as_such_and_costs_the_others_nothing(daemons, answer, says):
    daemons(a0=answer, ours=OURS)
    found = client.survey()
    assert list(found) == ["a0", "ours"] and found["ours"].error is None and found["ours"].state.listen_port == 7
    assert says in found["a0"].error
    assert says in show.as_json(found["a0"])["error"] and says in str(list(show.lines("a0", found["a0"])))


def test_many_that_hang_are_waited_for_together(daemons, monkeypatch):
    daemons(**{f"h{i}": None for i in range(40)}, ours=OURS)
    began, waited = threading.active_count(), []
    real = client._ask
    monkeypatch.setattr(client, "_ask", lambda *a: (waited.append(threading.active_count() - began), real(*a))[1])
    found = client.survey()
    assert sum(f.error is not None for f in found.values()) == 40 and found["ours"].error is None
    assert max(waited) >= 40, "all at once, not one after the other"


def test_an_answer_without_end_ends(daemons, monkeypatch):
    monkeypatch.setattr(client, "_LONGEST", 100_000)
    daemons(a0=b"listen_port=7\n" * 50_000)
    assert "does not end" in client.survey()["a0"].error


def test_a_socket_that_nobody_serves_is_passed_over(daemons, tmp_path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "stale.sock"))
    daemons(ours=OURS)
    assert list(client.survey()) == ["ours"]
