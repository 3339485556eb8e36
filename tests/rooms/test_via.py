"""The console of crypto's guest is driven by commands, through the socket in which it ends (I1)."""

import json
import socket
import subprocess
from types import SimpleNamespace

import pytest
from rooms.alone import flows, start_all, two
from rooms.terminals import NEW_SITE, SECRET, Port, Socket, room_file, sealed, site_text

from wgpy.isolate import start
from wgpy.lab.netns import wait_until

pytestmark = pytest.mark.netns


class Shell:
    """Commands at the socket in which a console ends."""

    def __init__(self, directory, port):
        self.path, self.directory = directory / "crypto.sock", directory
        self._socket = Socket(self.path, port)

    def run(self, *command, status=0, stdin=""):
        done = subprocess.run([*start.python("wgpy.cli", *command), "--via", self.path], input=stdin, capture_output=True, text=True,
                              timeout=300, check=False)
        assert done.returncode == status, (command, done)
        return done.stderr if status else done.stdout

    def close(self):
        self._socket.close()


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    """A node whose console is a socket, its crypto locked."""
    directory = tmp_path_factory.mktemp("driven")
    (directory / "state").mkdir()
    with two(directory, {"a": room_file(directory)}) as (a, b, _):
        sealed(directory / "state/keys.sealed", a.private)
        port = Port(directory / "console")
        shell = Shell(directory, port)
        start_all(a, b)
        for name, secret in (("right", SECRET), ("wrong", b"x"), ("other", b"battery staple")):
            (directory / name).write_bytes(secret + b"\n")
        yield SimpleNamespace(a=a, b=b, port=port, shell=shell, directory=directory, state=directory / "state")
        shell.close()
        port.unplug()


def test_wgpy_unlocks_it(driven):
    shell, folder = driven.shell, driven.directory
    wait_until(lambda: json.loads(shell.run("node", "status", "--json"))["a"]["asking"], 60, "crypto asks")
    assert "crypto asks for the passphrase" in shell.run("node", "status", "a")
    assert "the key store is locked" in shell.run("keys", "list", "a", status=1)
    assert "is the console of node a, not of z" in shell.run("keys", "unlock", "z", "--credential", folder / "right", status=1)
    assert "does not open this key store" in shell.run("keys", "unlock", "a", "--credential", folder / "wrong", status=1)
    assert "no terminal" in shell.run("keys", "unlock", "a", status=1, stdin="correct horse\n")
    assert shell.run("keys", "unlock", "a", "--credential", folder / "right") == ""
    flows(driven.a, driven.b)
    assert "does not ask" in shell.run("keys", "unlock", "--credential", folder / "right", status=1)


def test_wgpy_administers_it(driven):
    shell, folder, a = driven.shell, driven.directory, driven.a
    wait_until(lambda: "1 of 1 sites" in shell.run("node", "status"), 60, "the session is seen")
    assert "up: b is up" in shell.run("node", "why", "b")
    assert json.loads(shell.run("node", "why", "b", "--json"))[-1]["cause"] == "up"
    key = shell.run("keys", "psk", "a", "puno", "--new").strip()
    assert shell.run("keys", "psk", "a", "quito", stdin=key + "\n") == ""
    assert json.loads(shell.run("keys", "list", "a", "--json"))["psks"] == ["puno", "quito"]
    assert shell.run("keys", "psk", "a", "quito", "--remove") == ""
    assert shell.run("keys", "list", "a") == f"public key: {a.public}\npreshared key: puno\n"
    assert "without blanks" in shell.run("keys", "psk", "a", "qui to", "--new", status=1)
    shell.run("keys", "passphrase", "a", "--old", folder / "right", "--new", folder / "other")
    assert "is another one" in shell.run("keys", "passphrase", "a", "--old", folder / "right", "--new", folder / "right", status=1)
    new = folder / "new.toml"
    new.write_text(site_text(a, NEW_SITE))
    assert "added: puno" in shell.run("node", "reload", new)
    new.write_text(site_text(a, NEW_SITE).replace('listen_port = 51820', 'listen_port = 1'))
    assert "not taken over: mode, interfaces" in shell.run("node", "reload", new, status=1)
    last = shell.run("node", "audit", "last", "a", "--lines", "2").splitlines()
    assert [json.loads(line)["what"] for line in last] == ["site file", "reload"]
    told = json.loads(shell.run("node", "audit", "verify", "a", "--json"))
    assert shell.run("node", "audit", "verify", "a", "--head", told["hash"]).startswith(f"{told['entries']} entries, unbroken")
    assert key not in (driven.state / "audit/audit.log").read_text()


def test_who_comes_second_is_told(driven):
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(str(driven.shell.path))
        assert "somebody is at this console already" in driven.shell.run("node", "status", status=1)
        first.sendall(b"reload\r[node]\r")  # and leaves it so
    wait_until(lambda: not seen_at(driven.shell.path), 60, "the first has gone")
    assert json.loads(driven.shell.run("node", "status", "--json"))["a"]["up"]


def seen_at(path):
    return [line for line in open("/proc/net/unix") if line.rstrip().endswith(f"{path}") and line.split()[5] == "03"]


@pytest.mark.parametrize("answer, said", [
    (b"", "has ended"), (b"x" * 200_000, "not a console of wgpy"), (b" wgpy 2 a open WORD\r\nok\r\n", "a console of version 2"),
    (b" wgpy 1 a open WORD\r\nok\r\n", "has ended"), (b" wgpy 1 a open WORD\r\nok\r\n[]\r\nok\r\n", "an answer that is none"),
    (b" wgpy 1 a open WORD\r\nok\r\n? secret\r\n", "it asks for secret"), (b" wgpy 1 a open WORD\r\nok\r\nerror: \x1b[2J\r\n", r"a: ?[2J")])
def test_what_a_guest_that_was_taken_over_says_is_bounded_and_cleaned(tmp_path, answer, said):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        process = subprocess.Popen(start.python("wgpy.cli", "node", "status", "--via", path), stderr=subprocess.PIPE, text=True)
        user, _ = listener.accept()
        with user:
            word = user.recv(1000).split()[-1]
            user.sendall(answer.replace(b"WORD", word))
            user.shutdown(socket.SHUT_WR)
            _, errors = process.communicate(timeout=120)
    assert process.returncode == 1 and said in errors and errors.count("\n") == 1 and "Traceback" not in errors
