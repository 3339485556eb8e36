"""A node whose rooms are virtual machines, in the place of one of processes: for model 2's lab and
its tests. Its keys are in a sealed store, whose passphrase is typed at crypto's console."""

import base64
import json
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from wgpy.errors import HostError
from wgpy.isolate import start
from wgpy.lab.encryptors import ROOMS, Node
from wgpy.lab.netns import wait_until

PASSPHRASE = "correct horse battery staple"
BOOT_SECONDS = 600  # for three guests that a busy machine translates
_TYPED = 60


class GuestNode(Node):
    """As Node. `images`: the folder that `make guests` left, None for where it leaves them; `order`:
    in which guests start."""

    images: Path | None = None
    order = ROOMS
    passphrase = PASSPHRASE

    def environment(self) -> dict:
        """With a state directory, where the sealed store and crypto's disk are."""
        return super().environment() | {"WGPY_STATE_DIR": str(self.run_dir.with_name("state"))}

    @property
    def state(self) -> Path:
        """Where the sealed store and crypto's disk are."""
        return self.run_dir.with_name("state") / self.name

    @property
    def console(self) -> Path:
        """Crypto's, a socket."""
        return self.run_dir / self.name / "vms" / "crypto.sock"

    def seal(self) -> None:
        """Keys into a store that crypto's disk is made with."""
        with tempfile.TemporaryDirectory(prefix="wgpy-lab-") as name:
            conf, credential = Path(name, "a.conf"), Path(name, "credential")
            peers = "".join(f"[Peer]\nPublicKey = {base64.b64encode(p.public).decode()}\n"
                            + (f"PresharedKey = {base64.b64encode(self.psk).decode()}\n" if self.psk else "") for p in self.peers)
            conf.write_text(f"[Interface]\nPrivateKey = {base64.b64encode(self.private).decode()}\n{peers}")
            conf.chmod(0o600)
            credential.write_text(PASSPHRASE)
            self.command("keys", "seal", self.file, "--credential", credential, "--import", conf)

    def launch(self, *prefix: str) -> None:
        """Begins to boot; with the keys sealed where they are not yet."""
        if not self.state.exists():
            self.seal()
        images = ("--images", self.images) if self.images else ()
        with open(self.log, "ab") as log:
            self.process = self.box.popen(
                *prefix, *start.python("wgpy.cli", "vms", "up", self.file, "--foreground", "--order", ",".join(self.order), *images),
                env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_up(self) -> None:
        """Until all guests are ready; types the passphrase when crypto asks. HostError, TimeoutError."""
        self.back("crypto", 0)
        for room in ROOMS:
            self.wait_for(room, "ready")

    def wait_for(self, room: str, *states: str, since: int = 0) -> None:
        """Until a guest, in at least its restart `since`, is in one of these states."""
        def there() -> bool:
            if self.process.poll() is not None:
                raise HostError(f"{self.name} ended: {self.log.read_text().strip()[-400:]}")
            found = self.guest(room)
            return found.get("state") in states and found["restarts"] >= since
        wait_until(there, BOOT_SECONDS, f"{self.name}: {room} is {' or '.join(states)}", 0.1)

    def type_passphrase(self, text: str) -> None:
        """At crypto's console, as a person does."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(_TYPED)
            s.connect(str(self.console))
            s.sendall(text.encode() + b"\n")

    def status(self) -> dict:
        """The supervisor's; {} when there is none."""
        try:
            return json.loads((self.run_dir / self.name / "vms" / "status.json").read_text())
        except FileNotFoundError:
            return {}

    def guest(self, room: str) -> dict:
        """What the supervisor says of one guest; {} when it does not."""
        return self.status().get("guests", {}).get(room, {})

    def restarts(self, room: str) -> int:
        """How often the guest was started anew."""
        return self.guest(room)["restarts"]

    def back(self, room: str, since: int = 1) -> None:
        """Until a guest is ready, in at least its restart `since`; types the passphrase when crypto asks."""
        self.wait_for(room, "asking", "ready", since=since)
        if self.guest(room)["state"] == "asking":
            self.type_passphrase(self.passphrase)
        self.wait_for(room, "ready", since=since)

    def pid(self, room: str) -> int:
        """Of the guest's QEMU, as the box numbers it; 0 when there is none."""
        return self.guest(room).get("pid", 0)

    def pid_here(self, room: str) -> int:
        """The same as this process numbers it. HostError when there is none."""
        for path in Path("/proc").glob("[0-9]*"):
            try:
                numbers = (path / "status").read_text().partition("NSpid:\t")[2].partition("\n")[0].split()
                if (path / "comm").read_text().startswith("qemu") and numbers[-1:] == [str(self.pid(room))] and \
                        (path / "ns/pid").samefile(f"/proc/{self.process.pid}/ns/pid"):
                    return int(path.name)
            except OSError:
                continue
        raise HostError(f"{self.name}: {room} has no QEMU")

    def signal(self, room: str, number: int) -> None:
        """To the guest's QEMU."""
        if pid := self.pid(room):
            self.box.run("kill", f"-{number}", pid, check=False)

    def stop(self) -> None:
        """HostError unless the supervisor ends by itself with status 0."""
        self.process.send_signal(signal.SIGTERM)
        if status := self.process.wait(120):
            raise HostError(f"{self.name} ended with status {status}: {self.log.read_text().strip()[-400:]}")

    def said(self, room: str) -> str:
        """What a guest has written to its first serial port."""
        return (self.run_dir / self.name / "vms" / f"{room}.log").read_text(errors="replace")

    def command(self, *arguments, **options):
        """`wgpy ARGUMENTS` on the node's host."""
        settings = [f"{k}={v}" for k, v in self.environment().items() if k.startswith("WGPY")]
        return self.box.run("env", *settings, *start.python("wgpy.cli", *map(str, arguments)), **options)
