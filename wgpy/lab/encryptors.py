"""Model 2: two encryptors of three rooms each, a LAN host behind each, and an Internet
with a web server's address. Every node's supervisor takes a namespace of its own for
its host, so that whatever happens to it goes away with it. In large mode a site router
can stand in front, which sends only what is for the other site to the encryptor."""

import base64
import json
import os
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from wgpy.errors import HostError
from wgpy.isolate import start
from wgpy.isolate.library import Library
from wgpy.lab.internet import LAN, WAN, WEB, Internet, Uplink, lan_host, make_router, uplink
from wgpy.lab.netns import Netns, join, need, wait_until
from wgpy.lab.tunnel import public_key

__all__ = ["MARKER", "ROOMS", "WEB", "Node", "Pair"]

MARKER = b"PROTECTED-CLEARTEXT-MARKER"
ROOMS = ("black", "crypto", "red")
PORT = 51820
_ROUTER_NUMBER = 100  # added to a site's, for the uplink of its router


class Node:
    """One site: `box` is what the supervisor takes for its host, `host` is on the LAN,
    `router` between them or None. `wan` and `gateway` are what the site file says, `library` is
    the suite's, None for WireGuard's."""

    def __init__(self, name: str, number: int, internet: Internet, mode: str, directory: Path, router: bool = False,
                 library: Library | None = None):
        self.name, self.number, self.mode, self.internet = name, number, mode, internet
        self.home, self.away, self.elsewhere = (uplink(number, place) for place in range(3))
        self.wan, self.gateway = self.home.address, self.home.gateway
        self.lan, self.address, self.inner = f"10.{number}.0.0/24", f"10.{number}.0.2", f"10.{number}.0.1"
        self.library, self.psk = library, None
        self.private = library.new_key() if library else os.urandom(32)
        self.public = library.public(self.private) if library else base64.b64decode(
            public_key(base64.b64encode(self.private).decode()))
        self.run_dir, self.file = directory / "run", directory / f"{name}.toml"
        self.log = directory / f"{name}.log"
        self.process: subprocess.Popen | None = None
        self.dhcp, self.router = False, None
        with ExitStack() as stack:
            self.box = stack.enter_context(Netns(f"{name}-box"))
            self.box.run("sh", "-c", "mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns")
            self.attach_wan()
            if router:
                self.router = stack.enter_context(Netns(f"{name}-router"))
            self.host = stack.enter_context(lan_host(f"{name}-host", self.router or self.box, self.address, self.inner,
                                                     internet.mtu))
            if router:
                self._connect_router()
            self._stack = stack.pop_all()

    def attach_wan(self) -> None:
        self.internet.attach(self.box, self.name, self.home, self.away)

    def _connect_router(self) -> None:
        outside = uplink(self.number + _ROUTER_NUMBER)
        self.internet.attach(self.router, f"{self.name}-router", outside)
        make_router(self.router, self.inner, outside)
        join(self.router, self.box, names=("secure", LAN), mtu=self.internet.mtu,
             a_addresses=(f"10.{self.number}.255.1/30",))
        self.router.ip("route", "add", "blackhole", "10.0.0.0/8")

    def write_site(self, peers: list["Node"], extra: str = "", dhcp: bool = False,
                   endpoints: dict[str, str] | None = None) -> None:
        """`endpoints` by name of peer instead of their own; "" for none. With `dhcp` the
        lab plays the client, see lease()."""
        self.peers, self.dhcp = peers, dhcp
        wan = '"dhcp"' if dhcp else f'["{self.wan}/24"]\ngateway = "{self.gateway}"'
        lan = f'["{self.inner}/24"]'
        if self.router:
            link = f"10.{self.number}.255"
            lan = f'["{link}.2/30"]\nnetworks = ["{self.lan}"]\ngateway = "{link}.1"'
        text = [f'[node]\nname = "{self.name}"\nmode = "{self.mode}"\nlisten_port = {PORT}',
                f'[wan]\ninterface = "{WAN}"\nmtu = {self.internet.mtu}\naddresses = {wan}',
                f'[lan]\ninterface = "{LAN}"\naddresses = {lan}']
        for p in peers:
            endpoint = {p.name: f"{p.wan}:{PORT}"} | (endpoints or {})
            text.append(f'[[site]]\nname = "{p.name}"\npublic_key = "{base64.b64encode(p.public).decode()}"\n'
                        f'networks = ["{p.lan}"]'
                        + (f'\nendpoints = ["{endpoint[p.name]}"]' if endpoint[p.name] else "")
                        + (f'\npsk = "{self.name}{p.name}"' if self.psk else ""))
        if self.library:
            text.append(f'[suite]\nlibrary = "{self.library.path}"\nsha256 = "{self.library.sha256}"')
        self.file.write_text("\n".join([*text, extra, ""]))
        if self.router:
            self.router.batch(*(f"route replace {p.lan} via 10.{self.number}.255.2" for p in peers))

    # life

    def start(self, *prefix: str) -> None:
        """Returns when the node says that it is up. HostError with its log otherwise.
        `prefix` runs the supervisor."""
        self.launch(*prefix)
        self.wait_up()

    def launch(self, *prefix: str) -> None:
        key = os.memfd_create("key")
        names = (f"{self.name}{p.name}".encode().ljust(32, b"\0") for p in self.peers)
        os.write(key, self.private + b"".join(name + self.psk for name in names if self.psk))
        with open(self.log, "ab") as log:
            self.process = self.box.popen(
                *prefix, *start.python("wgpy.cli", "node", "up", self.file, "--foreground", "--key-fd", key),
                env=self.environment(), pass_fds=(key,), stdin=subprocess.DEVNULL, stderr=log)
        os.close(key)

    def wait_up(self) -> None:
        wait_until(lambda: self.process.poll() is not None or self._says_up(), 120, f"{self.name} comes up")
        if self.process.poll() is not None:
            raise HostError(f"{self.name} ended: {self.log.read_text().strip()[-400:]}")
        if self.dhcp:
            self.lease(self.home)

    def _says_up(self) -> bool:
        """This supervisor: one that was killed has left its last words."""
        said = self.status()
        try:
            numbers = Path(f"/proc/{self.process.pid}/status").read_text().partition("NSpid:\t")[2].partition("\n")[0].split()
        except OSError:
            return False
        return bool(said.get("up")) and numbers[-1:] == [str(said["pid"])]

    def environment(self) -> dict:
        return os.environ | {"WGPY_RUN_DIR": str(self.run_dir)}

    def command(self, *arguments, **options):
        return self.box.run("env", f"WGPY_RUN_DIR={self.run_dir}",
                            *start.python("wgpy.cli", "node", *arguments), **options)

    def stop(self) -> None:
        """HostError unless the supervisor ends by itself with status 0."""
        self.process.send_signal(signal.SIGTERM)
        if status := self.process.wait(60):
            raise HostError(f"{self.name} ended with status {status}: {self.log.read_text().strip()[-400:]}")

    def close(self) -> None:
        self._stack.close()

    # what is seen of it

    def status(self) -> dict:
        try:
            return json.loads((self.run_dir / self.name / "status.json").read_text())
        except FileNotFoundError:
            return {}

    def pid(self, room: str) -> int:
        """The jailed process of a room, as this host numbers it; 0 when there is none."""
        for path in Path("/proc").glob("[0-9]*"):
            try:
                command = (path / "cmdline").read_bytes().split(b"\0")
                if command[-3:-1] == [b"wgpy.rooms.room", room.encode()] and self._is_ours(path):
                    return int(path.name)
            except OSError:
                continue
        return 0

    def _is_ours(self, path: Path) -> bool:
        """Jailed, and below our supervisor: three numbers, ours, the box's and its own 1."""
        fields = dict(line.split(":\t", 1) for line in (path / "status").read_text().splitlines() if ":\t" in line)
        numbers = fields["NSpid"].split()
        parent = Path("/proc", fields["PPid"], "stat").read_text().rpartition(")")[2].split()[1]
        return numbers[-1] == "1" and len(numbers) == 3 and int(parent) == self.process.pid

    def pid_here(self, room: str) -> int:
        """Of the process that carries a room's traffic, as this process numbers it."""
        return self.pid(room)

    def restarts(self, room: str) -> int:
        """How often it was started anew."""
        return self.status()["rooms"][room]["restarts"]

    def back(self, room: str) -> None:
        """Does what a room that starts again waits for."""

    # what is done to it

    def inside(self, room: str, *command, **options):
        """Runs a command in black's or red's network namespace."""
        return self.box.run("nsenter", f"--net=/run/netns/wgpy-{self.name}-{room}", "--", *command, **options)

    def signal(self, room: str, number: int) -> None:
        if pid := self.pid(room):
            os.kill(pid, number)

    def lease(self, place: Uplink) -> float:
        """What a DHCP client does in black when the network gives it another address. The
        seconds in which there may have been none."""
        return self._black_ip(f"address flush dev {WAN} scope global", *_leased(place))

    def replug(self) -> float:
        """Another device takes the WAN's place and name, on another network; as lease()."""
        join(self.internet, self.box, names=(f"new-{self.name}", "next0"),
             a_addresses=(f"{self.elsewhere.gateway}/24",))
        self.box.ip("link", "set", "next0", "netns", f"wgpy-{self.name}-black")
        return self._black_ip(f"link set {WAN} down", f"link set {WAN} name old0", f"link set next0 name {WAN}",
                              f"link set {WAN} up", *_leased(self.elsewhere))

    def _black_ip(self, *lines: str) -> float:
        began = time.monotonic()
        self.inside("black", "ip", "-batch", "-", input="\n".join(lines) + "\n")
        return time.monotonic() - began


def _leased(place: Uplink) -> tuple[str, ...]:
    return (f"address add {place.address}/24 dev {WAN}", f"route replace default via {place.gateway}")


class Pair:
    """Encryptors `a` and `b`, of these `kinds`. With `routers`, which large mode alone has a use for, LAN
    hosts reach the Internet there, too. Site files and logs go to `directory`. `mtu` of
    WAN and LAN; the tunnel's is 80 less, or what the tag of the suite of `library` makes it."""

    def __init__(self, directory: Path, mode: str = "small", psk: bool = True, routers: bool = False,
                 mtu: int = 1500, library: Library | None = None, kinds: tuple[type[Node], type[Node]] = (Node, Node)):
        need("ip", "nsenter", "unshare", "ping", "nft")
        with ExitStack() as stack:
            self.internet = stack.enter_context(Internet(mtu))
            self.nodes = []
            for number, (name, kind) in enumerate(zip("ab", kinds, strict=True), 1):
                self.nodes.append(kind(name, number, self.internet, mode, Path(directory), routers, library))
                stack.callback(self.nodes[-1].close)
            self._stack = stack.pop_all()
        self.a, self.b = self.nodes
        if psk:
            self.a.psk = self.b.psk = os.urandom(32)
        self.a.write_site([self.b])
        self.b.write_site([self.a])

    def start(self) -> "Pair":
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_up()
        return self

    def __enter__(self) -> "Pair":
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    @property
    def protected(self) -> tuple[str, ...]:
        return tuple(node.lan for node in self.nodes)
