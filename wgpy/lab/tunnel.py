"""One end of a tunnel: an implementation, its interface and its configuration.

The same class drives a userspace daemon in a `Netns`, a kernel interface, or the kernel
interface of a virtual machine: a host is anything with `name` and `run(*command, input,
timeout, check)`. Keys go to wg(8) on standard input, never on a command line.
"""

import base64
import os
import socket
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from nacl.bindings import crypto_scalarmult_base

from wgpy.config import uapi
from wgpy.errors import HostError
from wgpy.lab.netns import Netns, cpu_seconds, resident_bytes, wait_until


@dataclass(frozen=True)
class Implementation:
    """`argv` starts the daemon in the foreground and is followed by the interface name;
    empty for WireGuard in the kernel."""
    name: str
    argv: tuple[str, ...] = ()


KERNEL = Implementation("kernel")


def implementation(name: str) -> Implementation:
    """`wgpyd` is the console script beside this Python; `kernel` needs no program;
    anything else is a program or a path that takes `-f IFACE` as wireguard-go does."""
    if name == "kernel":
        return KERNEL
    path = Path(sys.executable).with_name("wgpyd") if name == "wgpyd" else Path(name)
    extra = ("--disable-drop-privileges",) if "boringtun" in path.name else ()
    return Implementation(path.name, (str(path), "-f", *extra))


def private_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


preshared_key = private_key


def public_key(private: str) -> str:
    return base64.b64encode(crypto_scalarmult_base(base64.b64decode(private))).decode()


@dataclass(frozen=True)
class PeerConfig:
    public_key: str
    allowed_ips: tuple[str, ...]
    endpoint: str | None = None
    preshared_key: str | None = field(default=None, repr=False)
    keepalive: int = 0

    def render(self) -> str:
        lines = ["[Peer]", f"PublicKey={self.public_key}",
                 f"AllowedIPs={','.join(self.allowed_ips)}"]
        if self.endpoint:
            lines.append(f"Endpoint={self.endpoint}")
        if self.preshared_key:
            lines.append(f"PresharedKey={self.preshared_key}")
        if self.keepalive:
            lines.append(f"PersistentKeepalive={self.keepalive}")
        return "\n".join(lines)


@dataclass(frozen=True)
class PeerState:
    """As `wg show IFACE dump` tells it; handshake in Unix seconds, 0 for never."""
    endpoint: str
    allowed_ips: str
    handshake: int
    rx_bytes: int
    tx_bytes: int


def metrics(ns: Netns, iface: str, patience: float = 20) -> dict[str, int | str]:
    """What a daemon of ours in the namespace says of itself. OSError."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(patience)
        s.connect(f"/proc/{ns.pid}/root/run/wireguard/{iface}.sock")
        s.sendall(f"{uapi.METRICS}\n\n".encode())
        answer = b""
        while not answer.endswith(b"\n\n") and (more := s.recv(65536)):
            answer += more
    return uapi.parse_metrics(answer.decode())


class Tunnel:
    def __init__(self, host, impl: Implementation | str, *, iface: str = "wg0",
                 key: str | None = None, port: int = 51820, addresses: tuple[str, ...] = (),
                 mtu: int = 1420, peers: tuple[PeerConfig, ...] = (), env: dict | None = None):
        self.host, self.iface, self.port, self.mtu = host, iface, port, mtu
        self.impl = implementation(impl) if isinstance(impl, str) else impl
        self.key, self.addresses, self.peers = key or private_key(), addresses, peers
        self.env = env or {}
        self.process, self.up, self.ready_seconds = None, False, 0.0
        self._log = None

    @property
    def public_key(self) -> str:
        return public_key(self.key)

    def start(self) -> "Tunnel":
        """Starts the implementation and applies the configuration. HostError with the
        daemon's own words when it does not come up."""
        began = time.monotonic()
        if self.impl.argv:
            if not Path(self.impl.argv[0]).exists() and "/" in self.impl.argv[0]:
                raise HostError(f"{self.impl.argv[0]} does not exist: install the project first")
            self._log = open(os.memfd_create("log"), "w+")
            self.process = self.host.popen(
                *self.impl.argv, self.iface, stdout=self._log, stderr=self._log,
                env={**os.environ, "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1", **self.env})
            wait_until(self._answers, 60, f"{self.impl.name} answers on its socket")
        else:
            self.host.run("ip", "link", "add", self.iface, "type", "wireguard")
        self.ready_seconds, self.up = time.monotonic() - began, True
        self.apply()
        return self

    @property
    def running(self) -> bool:
        return self.up and (self.process is None or self.process.poll() is None)

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise HostError(f"{self.impl.name} exited with status {self.process.returncode}: "
                            f"{self.log().strip()[-2000:]}")
        return self.host.run("wg", "show", self.iface, "listen-port", check=False).returncode == 0

    def log(self) -> str:
        """What the daemon has printed so far."""
        return Path(f"/proc/self/fd/{self._log.fileno()}").read_text() if self._log else ""

    def apply(self) -> None:
        """Makes the running interface equal to this object's configuration."""
        text = [f"[Interface]\nPrivateKey={self.key}\nListenPort={self.port}",
                *(p.render() for p in self.peers)]
        self.host.run("wg", "setconf", self.iface, "/dev/stdin", input="\n".join(text) + "\n")
        routes = [a for p in self.peers for a in p.allowed_ips]
        self.host.run("ip", "-batch", "-", input="\n".join((
            f"address flush dev {self.iface}",
            f"link set {self.iface} mtu {self.mtu} up",
            *(f"address replace {a} dev {self.iface}{' nodad' if ':' in a else ''}"
              for a in self.addresses),
            *(f"route replace {r} dev {self.iface}" for r in routes))) + "\n")
        if self.process and self.port:
            # a daemon hears of "up" from the kernel, later than whoever said it
            wait_until(lambda: self.host.udp_open(self.port), 20, f"{self.impl.name} opens its port")

    def stop(self, timeout: float = 20) -> int | None:
        """Ends the daemon with SIGTERM, or removes the kernel interface. Exit status of
        the daemon; TimeoutError when it does not end."""
        self.up = False
        if self.process is None:
            self.host.run("ip", "link", "delete", self.iface)
            return None
        self.process.terminate()
        process, self.process = self.process, None
        wait_until(lambda: process.poll() is not None, timeout, f"{self.impl.name} ends")
        return process.returncode

    def restart(self) -> None:
        self.stop()
        self.start()

    def wg(self, *arguments, input: str | None = None) -> str:
        """`wg set|show IFACE …`; the interface is filled in after the subcommand."""
        command, *rest = arguments
        return self.host.run("wg", command, self.iface, *rest, input=input).stdout

    def peer(self, key: str | None = None) -> PeerState:
        """State of the peer with this public key; of the only peer without one."""
        rows = [line.split("\t") for line in self.wg("show", "dump").splitlines()[1:]]
        row = next(r for r in rows if key in (None, r[0]))
        return PeerState(row[2], row[3], int(row[4]), int(row[5]), int(row[6]))

    def replace_peer(self, **changes) -> None:
        """Changes the first peer's configuration and applies all of it."""
        self.peers = (replace(self.peers[0], **changes), *self.peers[1:])
        self.apply()

    def forget_and_relearn(self) -> None:
        """Removes the first peer and adds it again in one `set`: its next packet needs a
        handshake, while the other side keeps the old session until the new one is used."""
        peer = self.peers[0]
        psk = ("preshared-key", "/dev/stdin") if peer.preshared_key else ()
        self.wg("set", "peer", peer.public_key, "remove", "peer", peer.public_key, *psk,
                "endpoint", peer.endpoint, "allowed-ips", ",".join(peer.allowed_ips),
                input=peer.preshared_key)

    def wait_handshake(self, timeout: float = 20, after: int = 0) -> int:
        """Unix second of the first handshake later than `after`; TimeoutError."""
        def later():
            stamp = self.peer().handshake
            return stamp if stamp > after else 0
        return wait_until(later, timeout, f"handshake of {self.host.name}")

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process.pid) if self.process else 0.0

    def resident_bytes(self) -> int:
        return resident_bytes(self.process.pid) if self.process else 0
