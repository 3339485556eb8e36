"""Two nodes of which one runs from a sealed key store, and what an administrator does to it."""

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from rooms.nodes import Pair

from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import ping

SECRET = "correct horse battery staple"


class Sealed:
    """Node a of a pair runs from its key store; b as in the other tests."""

    def __init__(self, directory):
        self.directory = directory
        self.pair = Pair(directory)
        self.a = self.pair.a
        self.state = directory / "state"
        self.credential = directory / "credential"
        self.credential.write_text(SECRET)
        self._seal()
        self.start()
        self.pair.b.start()

    def _seal(self):
        conf = self.directory / "a.conf"
        conf.write_text(f"[Interface]\nPrivateKey = {base64.b64encode(self.a.private).decode()}\n[Peer]\n"
                        f"PublicKey = {base64.b64encode(self.pair.b.public).decode()}\n"
                        f"PresharedKey = {base64.b64encode(self.a.psk).decode()}\n")
        conf.chmod(0o600)
        self.run("keys", "seal", self.a.file, "--credential", self.credential, "--import", conf)
        conf.unlink()

    def environment(self):
        return self.a.environment() | {"WGPY_STATE_DIR": str(self.state)}

    def start(self):
        with open(self.a.log, "ab") as log:
            self.a.process = self.a.box.popen(
                sys.executable, "-I", "-m", "wgpy.cli", "node", "up", self.a.file, "--foreground", "--credential",
                self.credential, env=self.environment(), stderr=log)
        wait_until(lambda: self.a.process.poll() is not None or self.a.status().get("up"), 60, "a comes up")
        assert self.a.process.poll() is None, self.a.log.read_text()

    def run(self, *arguments, user=None, stdin="", fails=False):
        command = [sys.executable, "-I", "-m", "wgpy.cli", *map(str, arguments)]
        if user is not None:
            command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]
        done = self.a.box.run(*(["env"] + [f"{k}={v}" for k, v in self.environment().items()
                                          if k.startswith(("WGPY", "PYTHONPATH"))] + command),
                              input=stdin, check=False)
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout

    def ask(self, **request):
        """As the command does, from any user."""
        return json.loads(self.raw(b"wgpy=1\n" + json.dumps(request).encode() + b"\n\n"))

    def raw(self, data, uid=0):
        code = ("import os,socket,sys\n"
                f"os.setgroups([]); os.setgid({uid}); os.setuid({uid})\n"
                "s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect(sys.argv[1])\n"
                "s.sendall(sys.stdin.buffer.read())\nout = b''\n"
                "while not out.endswith(b'\\n\\n'):\n    got = s.recv(65536)\n    if not got: break\n    out += got\n"
                "sys.stdout.buffer.write(out)\n")
        path = self.a.run_dir / "a" / "admin.sock"
        return subprocess.run([sys.executable, "-I", "-S", "-c", code, str(path)], input=data, capture_output=True,
                              timeout=120, check=True).stdout

    def entries(self):
        lines = (self.state / "a" / "audit.log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def peer(self):
        peers = self.ask(cmd="peers")["peers"]
        return next(p for p in peers if p["name"] == "b")


@contextmanager
def sealed(*mount):
    """Its directory can be entered by other users, as /run can; `mount` makes the state's."""
    made, directory = None, Path(tempfile.mkdtemp(prefix="wgpy-sealed-"))
    directory.chmod(0o755)
    (directory / "state").mkdir()
    if mount:
        subprocess.run([*mount, directory / "state"], check=True)
    try:
        made = Sealed(directory)
        yield made
    finally:
        if made is not None:
            made.pair.close()
        if mount:
            subprocess.run(["umount", "-l", directory / "state"], check=True)
        shutil.rmtree(directory)


def young(node):
    """Waits until a minute passes, at least, before the session is renewed for its age."""
    wait_until(lambda: reaches(node) and time.time() - node.peer().get("handshake", 0) < 60, 180, "a session that is not old")


def reaches(node):
    return ping(node.a.host, node.pair.b.address, count=3, interval=0.1, wait=30).lost <= 1
