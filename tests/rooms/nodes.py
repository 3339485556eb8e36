"""Two encryptors of three rooms each, back to back through a small Internet, with a LAN
host behind each and a web server in the open. Every node's supervisor runs in a
namespace of its own, so that whatever a test breaks goes away with it."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from nacl.public import PrivateKey
from wgpy.lab.netns import Netns, join, wait_until

MARKER = b"PROTECTED-CLEARTEXT-MARKER"
WEB = "203.0.113.80"
ROOMS = ("black", "crypto", "red")


class Watch:
    """Looks at every packet of every interface of a namespace: `space` is a context in
    which sockets belong to it."""

    def __init__(self, space):
        self.leaks, self.sealed, self.clear = [], 0, 0
        with space:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.settimeout(0.2)
        self._stop = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._stop:
            try:
                packet, where = self._socket.recvfrom(65536)
            except OSError:  # nothing came, or a link went down
                continue
            if MARKER in packet:
                self.leaks.append((where[0], packet[:60].hex()))
            self.sealed += b"\xca\x6c\xca\x6c" in packet[:48]  # port 51820, twice
            self.clear += b"in clear" in packet

    def stop(self) -> None:
        self._stop = True
        self._thread.join()
        self._socket.close()


class Node:
    """One site: `box` is what the supervisor takes for its host, `host` is on the LAN."""

    def __init__(self, name: str, number: int, internet: Netns, mode: str, directory: Path):
        self.name, self.mode, self.number = name, mode, number
        self.wan, self.gateway = f"198.51.{number}.2", f"198.51.{number}.1"
        self.lan, self.address, self.inner = f"10.{number}.0.0/24", f"10.{number}.0.2", f"10.{number}.0.1"
        self.private, self.psk = os.urandom(32), None
        self.public = bytes(PrivateKey(self.private).public_key)
        self.run_dir, self.file = directory / "run", directory / f"{name}.toml"
        self.internet = internet
        self.box, self.host = Netns(f"{name}-box"), Netns(f"{name}-host")
        self.box.run("sh", "-c", "mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns")
        self.process: subprocess.Popen | None = None
        self.log = directory / f"{name}.log"
        self.attach_wan()
        join(self.host, self.box, names=("eth0", "lan0"), a_addresses=(f"{self.address}/24",))
        self.host.ip("route", "add", "default", "via", self.inner)

    def attach_wan(self) -> None:
        """A link to the Internet, which a supervisor that runs takes at once."""
        link = f"to-{self.name}"
        subprocess.run(["nsenter", f"--net=/proc/{self.internet.pid}/ns/net", "ip", "link", "add", link, "type", "veth",
                        "peer", "name", "wan0", "netns", str(self.box.pid)], check=True)
        self.internet.batch(f"address add {self.gateway}/24 dev {link}", f"link set {link} up")

    def write_site(self, peers: list["Node"], extra: str = "", dhcp: bool = False) -> None:
        addresses = '"dhcp"' if dhcp else f'["{self.wan}/24"]\ngateway = "{self.gateway}"'
        text = [f'[node]\nname = "{self.name}"\nmode = "{self.mode}"\nlisten_port = 51820',
                f'[wan]\ninterface = "wan0"\naddresses = {addresses}',
                f'[lan]\ninterface = "lan0"\naddresses = ["{self.inner}/24"]']
        for p in peers:
            text.append(f'[[site]]\nname = "{p.name}"\npublic_key = "{base64.b64encode(p.public).decode()}"\n'
                        f'networks = ["{p.lan}"]\nendpoints = ["{p.wan}:51820"]'
                        + (f'\npsk = "{self.name}{p.name}"' if self.psk else ""))
        self.file.write_text("\n".join([*text, extra, ""]))
        self.peers = peers

    def start(self, *prefix: str) -> None:
        """Returns when the node says that it is up; `prefix` runs the supervisor."""
        key = os.memfd_create("key")
        names = (f"{self.name}{p.name}".encode().ljust(32, b"\0") for p in self.peers)
        os.write(key, self.private + b"".join(name + self.psk for name in names if self.psk))
        with open(self.log, "ab") as log:
            self.process = self.box.popen(
                *prefix, sys.executable, "-m", "wgpy.cli", "encryptor", "up", self.file, "--foreground", "--key-fd", key,
                env=self.environment(), pass_fds=(key,), stderr=log)
        os.close(key)
        wait_until(lambda: self.process.poll() is not None or self.status().get("up"), 20, f"{self.name} comes up")
        assert self.process.poll() is None, self.log.read_text()

    def environment(self) -> dict:
        return os.environ | {"WGPY_RUN_DIR": str(self.run_dir), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}

    def command(self, *arguments, **options):
        return self.box.run("env", f"WGPY_RUN_DIR={self.run_dir}", f"PYTHONPATH={self.environment()['PYTHONPATH']}",
                            sys.executable, "-m", "wgpy.cli", "encryptor", *arguments, **options)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(15) == 0, self.log.read_text()

    def status(self) -> dict:
        try:
            return json.loads((self.run_dir / self.name / "status.json").read_text())
        except FileNotFoundError:
            return {}

    def inside(self, room: str, *command, **options):
        """Runs a command in black's or red's network namespace."""
        return self.box.run("nsenter", f"--net=/run/netns/wgpy-{self.name}-{room}", "--", *command, **options)

    def pid(self, room: str) -> int:
        """The jailed process of a room, as this host numbers it; 0 when there is none."""
        for path in Path("/proc").glob("[0-9]*"):
            try:
                command = (path / "cmdline").read_bytes().split(b"\0")
                if command[-3:-1] == [b"wgpy.isolate.room", room.encode()] and self._is_ours(path):
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

    def signal(self, room: str, number: int) -> None:
        if pid := self.pid(room):
            os.kill(pid, number)

    def close(self) -> None:
        for ns in (self.box, self.host):
            ns.close()


class Pair:
    def __init__(self, directory: Path, mode: str = "small", psk: bool = True):
        self.internet = Netns("internet")
        self.internet.sysctl(net__ipv4__ip_forward=1)
        self.internet.ip("address", "add", f"{WEB}/32", "dev", "lo")
        self.nodes = [Node(name, number, self.internet, mode, directory) for name, number in (("a", 1), ("b", 2))]
        self.a, self.b = self.nodes
        if psk:
            self.a.psk = self.b.psk = os.urandom(32)
        self.a.write_site([self.b])
        self.b.write_site([self.a])

    def start(self) -> "Pair":
        for node in self.nodes:
            node.start()
        return self

    def close(self) -> None:
        for node in self.nodes:
            node.close()
        self.internet.close()
