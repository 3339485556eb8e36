"""A program of ours runs no file of whoever owns the current directory or chose the
environment, and none takes the place of a standard descriptor that was closed."""

import itertools
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from wgpy.isolate import start
from wgpy.lab.encryptors import ROOMS, Pair
from wgpy.lab.netns import Netns, join, wait_until
from wgpy.lab.tunnel import private_key, public_key

pytestmark = pytest.mark.netns
WGPY, WGPYD = (str(Path(sys.executable).with_name(n)) for n in ("wgpy", "wgpyd"))
PROGRAMS = ("ip", "nft", "bash", "sh", "wg", "readlink", "resolvconf", "sysctl", "gcc", "ldconfig")
INSTALLED = ("click", "rich", "pyroute2", "nacl", "pytun", "pyseccomp", "wgpy", "sitecustomize", "usercustomize")


class Planted:
    """A directory that holds a module for every name that Python could look for, a
    user's site-packages with the same, and programs; each writes who it is when it runs."""

    def __init__(self, directory: Path):
        self.directory, self.ran = directory / "planted", directory / "ran"
        self.user = directory / "home" / f".local/lib/python3.{sys.version_info.minor}/site-packages"
        names = sys.stdlib_module_names - {*sys.builtin_module_names, "encodings"}  # it comes before open()
        for place in (self.directory, self.user):
            place.mkdir(parents=True)
            for name in (*names, *INSTALLED):
                (place / f"{name}.py").write_text(f"open({str(self.ran)!r}, 'a').write('{place.name}/{name}.py\\n')\n")
        (self.user / "planted.pth").write_text(f"import sys; open({str(self.ran)!r}, 'a').write('a .pth file\\n')\n")
        for name in PROGRAMS:
            (self.directory / name).write_text(f"#!/bin/sh -p\necho program {name} >>{self.ran}\nexit 1\n")
            (self.directory / name).chmod(0o755)
        self.environment = {
            "PYTHONPATH": f".:{self.directory}", "PYTHONSTARTUP": f"{self.directory}/os.py", "HOME": str(directory / "home"),
            "PYTHONUSERBASE": str(directory / "home/.local"),
            "PATH": f".::{os.environ['PATH']}:planted"}

    def prefix(self, **environment) -> list[str]:
        """Runs what follows in the planted directory and environment."""
        words = [f"{k}={v}" for k, v in (self.environment | environment).items()]
        bare = [w for name in ("PYTHONNOUSERSITE", "PYTHONSAFEPATH") for w in ("-u", name)]  # ours, of make test
        return ["/usr/bin/env", "-C", str(self.directory), *bare, *words]

    def seen(self) -> list[str]:
        return self.ran.read_text().split("\n") if self.ran.exists() else []


@pytest.fixture
def planted(tmp_path):
    return Planted(tmp_path)


def test_the_plants_would_be_run(planted):
    """Plain Python runs them all: what follows can fail."""
    for options, kind in ((["-m", "wgpy.cli"], "planted/"), (["-P", "-c", "import json"], "planted/"),
                          (["-P", "-c", "0"], "a .pth file")):
        environment = {} if kind == "planted/" else {"PYTHONPATH": ""}
        subprocess.run([*planted.prefix(**environment), os.path.realpath(sys.executable), *options],
                       capture_output=True, check=False)
        assert any(s.startswith(kind) for s in planted.seen()), options
        planted.ran.unlink()
    subprocess.run([*planted.prefix(), "env", "ip"], capture_output=True, check=False)
    assert planted.seen()[0] == "program ip"


@pytest.mark.parametrize("home", [{}, {"PYTHONHOME": ".", "PYTHONPLATLIBDIR": "."}], ids=["", "PYTHONHOME"])
def test_a_tunnel_runs_nothing_of_the_current_directory(planted, home):
    """Also with hooks, a default route (ip, nft) and the daemon that `up` starts."""
    with Netns("far") as far, Netns("host") as host:
        join(far, host, a_addresses=("203.0.113.1/24",), b_addresses=("203.0.113.2/24",))
        host.ip("route", "add", "default", "via", "203.0.113.1")
        file = planted.directory / "q0.conf"
        file.write_text(f"[Interface]\nPrivateKey = {private_key()}\nAddress = 10.9.0.2/32\n"
                        f"PostUp = echo hook $PATH; wg show %i >&2; {WGPY} genkey\n[Peer]\n"
                        f"PublicKey = {public_key(private_key())}\nEndpoint = 203.0.113.1:51820\nAllowedIPs = 0.0.0.0/0\n")
        file.chmod(0o600)

        def run(*command):
            return host.run(*planted.prefix(**home), *command)
        run(WGPYD, "q1")
        assert "interface: q1" in run(WGPY, "show").stdout
        up = run(WGPY, "up", "./q0.conf")
        assert up.stdout.startswith("hook /") and "interface: q0" in up.stderr
        assert all(p.startswith("/") for p in up.stdout.split()[1].split(":"))
        run(WGPY, "down", "./q0.conf")
        run(WGPY, "genkey")
        run(WGPY, "doctor")
        foreground = host.popen(*planted.prefix(**home), WGPYD, "-f", "q2")
        wait_until(lambda: "q2" in host.run("wg", "show", "interfaces").stdout, 60, "wgpyd")
        for name in ("q1", "q2"):
            host.ip("link", "del", name)
        assert foreground.wait(60) == 0
    assert not planted.seen()


def test_a_node_runs_nothing_of_the_current_directory(planted, tmp_path):
    """Supervisor and rooms; the rooms have no PATH and no Python variable of the caller's."""
    (tmp_path / "nodes").mkdir()
    pair = Pair(tmp_path / "nodes")
    try:
        pair.a.start(*planted.prefix())
        for room in ROOMS:
            environ = Path(f"/proc/{pair.a.pid(room)}/environ").read_bytes()
            assert b"PATH=/usr/sbin:" in environ and b"planted" not in environ and b"PYTHONPATH" not in environ
        pair.a.box.run(*planted.prefix(WGPY_RUN_DIR=pair.a.run_dir), WGPY, "node", "status", "a")
        pair.a.stop()
        assert not planted.seen()
    finally:
        pair.close()


def test_only_absolute_entries_of_path_are_kept():
    assert start.absolute_path(".:/usr/bin::bin:/bin:") == "/usr/bin:/bin"
    assert start.absolute_path("") == start.absolute_path("bin:.") == "/usr/sbin:/usr/bin:/sbin:/bin"


CLOSED = ["".join(c) for n in (1, 2, 3) for c in itertools.combinations("012", n)]


def closing(closed: str) -> str:
    """Shell words for `exec` that close these descriptors."""
    return " ".join(f"{fd}{'<' if fd == '0' else '>'}&-" for fd in closed)


@pytest.mark.parametrize("closed", CLOSED)
def test_closed_standard_descriptors_are_opened_first(closed):
    """A daemon serves and ends as always, and 0 to 2 hold /dev/null, neither its TUN nor a socket."""
    with Netns("closed") as host:
        def pids():
            return [p for p in map(int, filter(str.isdigit, os.listdir("/proc"))) if _serves(p, "q3")]
        for option in ("", "-f"):
            process = host.popen("sh", "-c", f"exec {WGPYD} {option} q3 {closing(closed)}")
            if not option:
                assert process.wait(60) == 0
            wait_until(lambda: "q3" in host.run("wg", "show", "interfaces").stdout, 60, "wgpyd")
            (pid,) = pids()
            for fd in closed:
                assert os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/null"
            held = [os.stat(f"/proc/{pid}/fd/{fd}") for fd in range(3)]
            assert not any(stat.S_ISSOCK(s.st_mode) for s in held)
            host.ip("link", "set", "q3", "up")
            host.ip("link", "del", "q3")
            wait_until(lambda: not pids() and not host.run("ls", "/run/wireguard").stdout, 60, "it ends")


def _serves(pid: int, name: str) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"wgpy.daemon.wgpyd" in command and name.encode() in command


def test_what_cannot_be_written_is_not_success():
    for command in ("genkey", "--help", "doctor"):
        for output, says in (("&-", "Bad file descriptor"), ("/dev/full", "No space left on device")):
            done = subprocess.run(f"exec {WGPY} {command} >{output}", shell=True, capture_output=True, text=True)
            assert done.returncode == 1 and done.stderr == f"wgpy: {says}\n"
    done = subprocess.run(f"exec {WGPY} pubkey <&-", shell=True, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and not done.stdout


@pytest.mark.parametrize("closed", ["0", "12", "012"])
def test_a_node_starts_with_standard_descriptors_closed(closed, tmp_path):
    pair = Pair(tmp_path)
    try:
        pair.a.start("sh", "-c", f'exec "$@" {closing(closed)}', "sh")
        pair.a.process.send_signal(signal.SIGTERM)
        assert pair.a.process.wait(60) == 0
    finally:
        pair.close()
