"""A node as virtual machines in a namespace of its own, with something at its WAN and LAN ports."""

import json
import os
import signal
from contextlib import ExitStack
from pathlib import Path

from site_files import KEY, with_peer

from wgpy.isolate import start
from wgpy.lab.netns import Netns, join, wait_until

SECONDS = 400  # for guests under TCG on a machine that does much else


class Launched:
    """`box` is where `wgpy vms` runs, `net` and `host` are at the ends of its ports."""

    def __init__(self, directory: Path, images: Path, mode: str):
        self.images, self.file = images, directory / "lima.toml"
        self._run, self._state = directory / "run", directory / "state"
        self.file.write_text(with_peer(name="lima", mode=mode, wan="192.0.2.10/24", gateway="192.0.2.1", lan="10.1.0.1/24",
                                       peer="cusco", key=KEY, networks="10.2.0.0/24", endpoint="198.51.100.7"))
        (directory / "credential").write_text("neither short nor guessable\n")
        with ExitStack() as stack:
            self.box, self.net, self.host = (stack.enter_context(Netns(name)) for name in ("box", "net", "host"))
            join(self.net, self.box, names=("eth0", "wan0"), a_addresses=("192.0.2.1/24",))
            join(self.host, self.box, names=("eth0", "lan0"), a_addresses=("10.1.0.2/24",))
            self.box.run(*self.command("keys", "seal", self.file, "--credential", directory / "credential"))
            self._stack = stack.pop_all()

    @property
    def disk(self) -> Path:
        return self._state / "lima/crypto.ext4"

    @property
    def console(self) -> Path:
        return self._run / "lima/vms/crypto.sock"

    def command(self, *words) -> list[str]:
        return ["env", f"WGPY_RUN_DIR={self._run}", f"WGPY_STATE_DIR={self._state}", *start.python("wgpy.cli", *words)]

    def wgpy(self, *words, check: bool = True, **options):
        """A command of `wgpy vms`, to its end."""
        return self.box.run(*self.command("vms", *words), check=check, timeout=SECONDS, **options)

    def up(self, *words, check: bool = True, prefix: tuple[str, ...] = ()):
        """`prefix` runs it."""
        return self.box.run(*prefix, *self.command("vms", "up", self.file, "--images", self.images, *words), check=check, timeout=SECONDS)

    def status(self) -> dict:
        """What the supervisor wrote; crypto is not asked."""
        return json.loads((self.console.parent / "status.json").read_text())

    def pid(self, room: str) -> int:
        """As this process numbers it; 0 for none."""
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if f"wgpy-vms-{room}" in {os.readlink(fd).removeprefix("/memfd:").split(" ")[0] for fd in (path / "fd").iterdir()} \
                        and (path / "comm").read_text().startswith("qemu"):
                    return int(path.name)
            except OSError:
                continue
        return 0

    def log(self, room: str) -> str:
        return (self._run / "lima/vms" / f"{room}.log").read_text()

    def hears(self, room: str, text: str, times: int = 1) -> None:
        """Waits for a line on the console of a guest."""
        wait_until(lambda: self.log(room).count(text) >= times, SECONDS, f"{room} says {text!r}", 0.1)

    def kill_supervisor(self) -> None:
        self.box.run("kill", f"-{signal.SIGKILL:d}", str(self.status()["pid"]))

    def links(self) -> dict[str, dict]:
        """Of the box."""
        return {link["ifname"]: link for link in json.loads(self.box.run("ip", "-j", "link", "show").stdout)}

    def close(self) -> None:
        self._stack.close()
