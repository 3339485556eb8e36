"""Nodes whose rooms run alone: each a main process of its own in a network namespace of its own, joined
to its neighbours by nothing but files in memory; no supervisor anywhere (A6)."""

import base64
import itertools
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rooms.nodes import ROOMS
from site_files import with_peer

from wgpy.isolate import start
from wgpy.lab.internet import LAN, WAN, Internet, lan_host, uplink
from wgpy.lab.netns import Netns, join, wait_until
from wgpy.lab.traffic import ping
from wgpy.lab.tunnel import public_key

REGION = 4 << 20


class Alone:
    """A node whose rooms know nothing of each other. black's and red's devices have names of their
    guests' own."""

    def __init__(self, name: str, number: int, internet: Internet, directory: Path, memory: Path, stack: ExitStack):
        self.name, self.number, self.directory = name, number, directory
        self.private = os.urandom(32)
        self.public = public_key(base64.b64encode(self.private).decode())
        self.address, self.inner, self.home = f"10.{number}.0.2", f"10.{number}.0.1", uplink(number)
        self.ns = {room: stack.enter_context(Netns(f"{name}-{room}")) for room in ROOMS}
        internet.attach(self.ns["black"], name, self.home, link="nic0")
        join(self.ns["black"], self.ns["red"], names=("nic1", "nic1"))
        self.host = stack.enter_context(lan_host(f"{name}-host", self.ns["red"], self.address, self.inner))
        self.regions = {room: memory / f"{name}-{room}" for room in ("black", "red")}
        for path in self.regions.values():
            path.touch(0o600)
            os.truncate(path, REGION)
        self.process: dict[str, subprocess.Popen] = {}

    def write(self, other: "Alone", crypto: str | None = None, red: str = "") -> None:
        site = self.directory / f"{self.name}.toml"
        site.write_text(with_peer(
            name=self.name, mode="small", links=(WAN, LAN), wan=f"{self.home.address}/24", gateway=self.home.gateway,
            lan=f"{self.inner}/24", peer=other.name, key=other.public, networks=f"10.{other.number}.0.0/24",
            endpoint=other.home.address))
        key = self.directory / f"{self.name}.key"
        key.write_bytes(self.private)
        rings = {"black": f'crypto = "file:{self.regions["black"]}"', "red": f'crypto = "file:{self.regions["red"]}"',
                 "crypto": "\n".join(f'{room} = "file:{path}"' for room, path in self.regions.items())}
        more = {"black": '[links]\nwan = "nic0"\nclear = "nic1"', "red": f'[links]\nclear = "nic1"\n{red}',
                "crypto": crypto or f'[keys]\nraw = "{key}"'}
        for n, room in enumerate(ROOMS):
            (self.directory / f"{self.name}-{room}.toml").write_text(
                f'room = "{room}"\nsite = "{site}"\nuid = {70000 + 10 * self.number + n}\n[rings]\n{rings[room]}\n{more[room]}\n')

    def log(self, room: str) -> str:
        return (self.directory / f"{self.name}-{room}.log").read_text()

    def start(self, room: str) -> None:
        with open(self.directory / f"{self.name}-{room}.log", "wb") as log:
            self.process[room] = self.ns[room].popen(
                *start.python("wgpy.guest.main", self.directory / f"{self.name}-{room}.toml"),
                stdin=subprocess.DEVNULL, stderr=log)

    def ready(self, room: str, times: int = 1) -> None:
        def seen():
            assert self.process[room].poll() is None, self.log(room)
            return self.log(room).count(": ready") >= times
        wait_until(seen, 60, f"{self.name}'s {room} is ready")

    def stop(self, room: str, number: int) -> None:
        self.process[room].send_signal(number)
        self.process[room].wait(60)

    def jailed(self, room: str) -> int:
        """The room itself, below the main process and its waiting parent."""
        pid = self.process[room].pid
        for _ in range(2):
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        return pid


def gone(pid: int) -> bool:
    """Or nothing but a status that nobody has asked for yet."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@contextmanager
def two(directory: Path, crypto: dict[str, str] | None = None,
        red: dict[str, str] | None = None) -> Iterator[tuple[Alone, Alone, Internet]]:
    """a and b, written, not started. `crypto`: what the room file of a node's crypto says in place of
    its raw key; `red`: what red's says besides."""
    with ExitStack() as stack:
        memory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        internet = stack.enter_context(Internet())
        a, b = (Alone(name, n, internet, directory, memory, stack) for n, name in enumerate("ab", 1))
        for node, other in ((a, b), (b, a)):
            node.write(other, (crypto or {}).get(node.name), (red or {}).get(node.name, ""))
        yield a, b, internet


def start_all(a: Alone, b: Alone) -> None:
    for node, order in ((a, ("crypto", "black", "red")), (b, ("red", "black", "crypto"))):
        for room in order:
            node.start(room)


def all_ready(a: Alone, b: Alone) -> None:
    for node, room in itertools.product((a, b), ROOMS):
        node.ready(room)


def flows(a: Alone, b: Alone) -> None:
    """Rings attach after rooms are ready: what comes before that is dropped."""
    wait_until(lambda: ping(a.host, b.address, count=1).lost == 0, 60, "traffic")
