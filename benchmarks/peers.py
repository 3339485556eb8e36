"""The implementations that are compared, how to get them, and two sites joined by one.

An implementation is a command that creates the interface whose name is appended to it;
everything else goes through `wg`, the same for all.
"""
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from wgpy.errors import HostError
from wgpy.lab import between
from wgpy.lab.encryptors import Node
from wgpy.lab.guests import GuestNode
from wgpy.lab.netns import Netns, join, wait_until
from wgpy.lab.traffic import ping
from wgpy.lab.tunnel import Implementation
from wgpy.lab.two_sites import INSIDE4, OUTSIDE4, TwoSites
from wgpy.vms import host, images, qemu

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "peers"


@dataclass(frozen=True)
class Peer:
    name: str
    command: tuple[str, ...]     # empty: no tunnel at all
    install: tuple[str, ...] = ()  # run when the program is not there
    environment: dict[str, str] = field(default_factory=dict)
    version: tuple[str, ...] = ()
    suite: str | None = None     # a library, of an encryptor
    kind: type[Node] = Node      # of an encryptor: of processes, or of guests


REFERENCE, BARE, ENCRYPTOR, GUESTS = "wireguard-go HEAD", "bare veth", "wgpy encryptor", "wgpy vms"
WGPYD = (str(Path(sys.executable).with_name("wgpyd")), "-f")
PEERS = [
    Peer("wgpy", WGPYD),
    Peer(ENCRYPTOR, (sys.executable,)),
    Peer(GUESTS, (sys.executable,), kind=GuestNode),
    Peer("wgpy with OpenSSL", WGPYD, environment={"WGPY_AEAD": "openssl"}),
    Peer(REFERENCE, (str(CACHE / "bin/wireguard"), "-f"),
         ("env", f"GOBIN={CACHE}/bin", "go", "install", "golang.zx2c4.com/wireguard@latest"),
         version=("go", "version", "-m", str(CACHE / "bin/wireguard"))),
    Peer("boringtun", (str(CACHE / "bin/boringtun-cli"), "-f", "--disable-drop-privileges"),
         ("cargo", "install", "-j1", "boringtun-cli", "--root", str(CACHE)),
         version=(str(CACHE / "bin/boringtun-cli"), "--version")),
    Peer("wireguard-go Debian", ("/usr/bin/wireguard-go", "-f"),
         ("apt-get", "install", "-y", "--no-install-recommends", "wireguard-go"),
         version=("dpkg-query", "-W", "-f", "${Version}", "wireguard-go")),
    Peer(BARE, ()),
]


def available(peer: Peer) -> str | None:
    """Fetches the peer if need be. None, or why it cannot take part."""
    if peer.kind is GuestNode:
        return _lack_of_guests()
    if not peer.command or Path(peer.command[0]).exists():
        return None
    if not peer.install:
        return f"{peer.command[0]} is not there"
    tool = peer.install[2] if peer.install[0] == "env" else peer.install[0]
    if not shutil.which(tool):
        return f"needs {tool}, which is not installed"
    print(f"fetching {peer.name}: {' '.join(peer.install)}", flush=True)
    log = CACHE / f"{peer.name.replace(' ', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        done = subprocess.run(["nice", *peer.install], stdin=subprocess.DEVNULL,
                              stdout=out, stderr=subprocess.STDOUT)
    if done.returncode or not Path(peer.command[0]).exists():
        last = (log.read_text().strip().splitlines() or ["no output"])[-1]
        return f"could not be built ({last}); see {log.relative_to(ROOT)}"
    return None


def _lack_of_guests() -> str | None:
    """A translated guest says nothing about speed."""
    try:
        host.need_qemu()
        images.Images(images.default_folder())
    except HostError as e:
        return str(e)
    accelerator, why = host.accelerator()
    return None if accelerator == qemu.KVM else why


def version(peer: Peer) -> str:
    """The version as the peer's own package manager tells it; "" where there is none."""
    if not peer.version or not shutil.which(peer.version[0]):
        return ""
    text = subprocess.run(peer.version, capture_output=True, text=True).stdout
    modules = [line.split()[2] for line in text.splitlines() if line.split()[:1] == ["mod"]]
    return modules[0] if modules else text.strip()


def joined(peer: Peer, jumbo: bool):
    """A context manager that gives two joined hosts: `a`, `b`, `address`, `back`, `cpu()`.
    Encryptors, three rooms or guests an end, stand between two LAN hosts with a router on the way;
    everything else ends in the hosts' own namespaces."""
    if peer.command != (sys.executable,):
        return Pair(peer, jumbo)
    return between.encryptors(mtu=9000 if jumbo else 1500, suite=peer.suite, kind=peer.kind)


def with_suite(library: str) -> Peer:
    """The encryptor with the suite of a library."""
    return Peer(f"{ENCRYPTOR}, {Path(library).stem}", (sys.executable,), suite=library)


class Pair:
    """Two sites joined by one implementation, or by nothing but the veth; `a` and `b` are
    their namespaces, `address` is b's as seen from a, `back` a's as seen from b."""

    def __init__(self, peer: Peer, jumbo: bool):
        mtu = 9000 if jumbo else 1500
        with ExitStack() as stack:
            if peer.command:
                sites = stack.enter_context(TwoSites(
                    Implementation(peer.name, peer.command), mtu=mtu - 80, link_mtu=mtu,
                    env=peer.environment))
                self.ends = (sites.a, sites.b)
                self.a, self.b = (end.host for end in self.ends)
                self.back, self.address = INSIDE4
            else:
                self.ends = ()
                self.a, self.b = (stack.enter_context(Netns(n)) for n in "ab")
                self.back, self.address = OUTSIDE4
                join(self.a, self.b, mtu=mtu, a_addresses=(f"{self.back}/24",),
                     b_addresses=(f"{self.address}/24",))
            wait_until(lambda: ping(self.a, self.address, count=1).times, 15,
                       f"a ping through {peer.name}")
            self._stack = stack.pop_all()

    def __enter__(self) -> "Pair":
        return self

    def __exit__(self, *exc) -> None:
        self._stack.close()

    def cpu(self) -> float:
        """CPU seconds that the daemons of both ends have used so far."""
        return sum(end.cpu_seconds() for end in self.ends)
