"""Where attacks are tried: one target on an Internet with a peer of it, a second peer
that may turn greedy, and a stranger. The target is a standalone daemon or an encryptor."""

import base64
import json
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from wgpy.constants import INITIATION_SIZE
from wgpy.errors import HostError
from wgpy.lab import frames
from wgpy.lab.encryptors import ROOMS, Node
from wgpy.lab.internet import WAN, Internet, uplink
from wgpy.lab.netns import Netns, need, resident_bytes
from wgpy.lab.traffic import ping
from wgpy.lab.tunnel import Implementation, PeerConfig, Tunnel, metrics
from wgpy.lab.two_sites import endpoint
from wgpy.lab.wire import Capture

PORT = 51820
DROPPED_PORT = 9         # where the same flood costs the target nothing but its kernel
INNER = "10.{}.0.2"      # of a target's host, and of a peer's daemon
_PEER, _TARGET, _GREEDY, _STRANGER = 1, 2, 3, 4
_DROP_PORT = f"""table inet attack {{
    chain input {{
        type filter hook input priority -10
        udp dport {DROPPED_PORT} drop
    }}
}}
"""
_DROP_GREEDY = """table inet greedy {{
    chain dropped {{
        type filter hook {hook} priority -10
        ip saddr {source} udp dport {port} drop
    }}
}}
"""


@dataclass(frozen=True)
class Guest:
    """What a site file says of a peer that is no encryptor."""
    name: str
    public: bytes
    lan: str
    wan: str


def _host(peer: Tunnel) -> str:
    return peer.addresses[0]


def _attach(internet: Internet, ns: Netns, name: str, number: int) -> None:
    home = uplink(number)
    internet.attach(ns, name, home)
    ns.batch(f"address add {home.address}/24 dev {WAN}", f"link set {WAN} up", f"route add default via {home.gateway}")


@contextmanager
def _dropping(ns, hook: str, source: str):
    """Inside, a namespace's kernel drops what the source sends to the target."""
    ns.run("nft", "-f", "-", input=_DROP_GREEDY.format(hook=hook, source=source, port=PORT))
    try:
        yield
    finally:
        ns.run("nft", "delete", "table", "inet", "greedy")


class Standalone:
    """A daemon; `host` is where the peer's traffic ends."""

    def __init__(self, internet: Internet, impl: Implementation | str, peers: dict[str, Tunnel], stack: ExitStack):
        self.ns = self.host = stack.enter_context(Netns("target"))
        _attach(internet, self.ns, "target", _TARGET)
        self.ns.run("nft", "-f", "-", input=_DROP_PORT)
        self.tunnel = Tunnel(self.ns, impl, port=PORT, addresses=(f"{INNER.format(_TARGET)}/32",), peers=tuple(
            PeerConfig(p.public_key, (_host(p),)) for p in peers.values()))
        self.public_key, self._stack = self.tunnel.public_key, stack

    def start(self) -> None:
        self.tunnel.start()

    @contextmanager
    def kernel_drops(self, source: str):
        with _dropping(self.ns, "input", source):
            yield

    def pids(self) -> list[int]:
        return [self.tunnel.process.pid]

    def crashes(self) -> int:
        return int(not self.tunnel.running)

    def facts(self) -> dict:
        """Counters as the daemon tells them; nothing of another's."""
        if self.tunnel.impl.name != "wgpyd":
            return {}
        return metrics(self.ns, self.tunnel.iface)


class Encryptor:
    """An encryptor of three rooms with a LAN host behind it."""

    def __init__(self, internet: Internet, peers: dict[str, Tunnel], stack: ExitStack):
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wgpy-attack-")))
        self.internet, self.node = internet, Node("target", _TARGET, internet, "small", directory)
        stack.callback(self.node.close)
        self.host, self.public_key = self.node.host, base64.b64encode(self.node.public).decode()
        self.node.write_site([Guest(name, base64.b64decode(p.public_key), _host(p), "") for name, p in peers.items()],
                             endpoints=dict.fromkeys(peers, ""))

    def start(self) -> None:
        self.node.start()

    @contextmanager
    def kernel_drops(self, source: str):
        """One hop earlier than black, whose rules are watched."""
        with _dropping(self.internet, "forward", source):
            yield

    def pids(self) -> list[int]:
        return [self.node.process.pid, *filter(None, map(self.node.pid, ROOMS))]

    def crashes(self) -> int:
        rooms = self.node.status().get("rooms", {})
        return int(self.node.process.poll() is not None) + sum(r["restarts"] for r in rooms.values())

    def facts(self) -> dict:
        """Named as a daemon names them."""
        return {f"event_{name}": facts["count"] for name, facts in self.node.status().get("alarms", {}).items()}


class Arena:
    """`target` is what is attacked, `peer` and `greedy` are its two peers, daemons of ours.
    `implementation` is encryptor, wgpyd, or what Tunnel takes."""

    def __init__(self, implementation: str | Implementation):
        need("ip", "nsenter", "unshare", "wg", "ping", "nft", "iperf3")
        with ExitStack() as stack:
            self.internet = stack.enter_context(Internet())
            self.peer, self.greedy = (self._peer(name, number, stack) for name, number in
                                      (("peer", _PEER), ("greedy", _GREEDY)))
            peers = {"peer": self.peer, "greedy": self.greedy}
            self.target = (Encryptor(self.internet, peers, stack) if implementation == "encryptor"
                           else Standalone(self.internet, implementation, peers, stack))
            self.stranger = stack.enter_context(Netns("stranger"))
            _attach(self.internet, self.stranger, "stranger", _STRANGER)
            self.inner = INNER.format(_TARGET)
            for tunnel in peers.values():
                tunnel.peers = (PeerConfig(self.target.public_key, (f"{self.inner}/32",),
                                           endpoint(uplink(_TARGET).address, PORT)),)
            self.target.start()
            for tunnel in peers.values():
                tunnel.start()
            self.recorded = b""
            self._stack = stack.pop_all()

    def _peer(self, name: str, number: int, stack: ExitStack) -> Tunnel:
        ns = stack.enter_context(Netns(name))
        _attach(self.internet, ns, name, number)
        return Tunnel(ns, "wgpyd", port=PORT, addresses=(f"{INNER.format(number)}/32",))

    def __enter__(self) -> "Arena":
        return self

    def __exit__(self, *exc) -> None:
        self._stack.close()

    def session(self) -> None:
        """A session of the peer, whose initiation is `recorded`, and one of the greedy one."""
        with Capture(self.peer.host, WAN) as seen:
            for tunnel in (self.peer, self.greedy):
                if ping(tunnel.host, self.inner, count=1, wait=20).lost:
                    raise HostError(f"no session between {tunnel.host.name} and the target")
            time.sleep(0.1)
        self.recorded = seen.frames(1)[0].payload[:INITIATION_SIZE]  # one, of a train

    def resident_bytes(self) -> int:
        return sum(map(resident_bytes, self.target.pids()))

    @contextmanager
    def kernel_drops(self, order: frames.Order):
        """Changes an order so that the target's kernel drops the flood; yields it."""
        if order.kind == "udp":
            with self.target.kernel_drops(uplink(_GREEDY).address):
                yield order
        else:
            yield replace(order, target=(order.target[0], DROPPED_PORT))

    @contextmanager
    def flooding(self, order: frames.Order):
        """Sends for the length of the block and at most for the order's time; yields a list
        that holds afterwards what was sent, as frames.send() tells it."""
        sender = self.greedy.host if order.kind == "udp" else self.stranger
        process = sender.popen(sys.executable, "-I", "-m", "wgpy.lab.frames", stdin=-1, stdout=-1, text=True)
        counts: list[dict] = []
        try:
            process.stdin.write(order.text())
            process.stdin.close()
            if process.stdout.readline().strip() != "sending":
                raise HostError("the sender ended before it began")
            yield counts
        finally:
            process.terminate()
            counts.append(json.loads(process.stdout.read() or "{}"))
            process.wait(60)

    def order(self, kind: str, rate: float, seconds: float) -> frames.Order:
        """An attack by its name in `attack.KINDS`."""
        target, facts = (uplink(_TARGET).address, PORT), {}
        if kind in ("datagrams", "packets"):
            return frames.Order("udp", (self.inner, DROPPED_PORT), 0, seconds, size=65000 if kind == "datagrams" else 36)
        source = (uplink(_STRANGER).address, 4242)
        if kind in ("forged", "replay"):
            source = (uplink(_PEER).address, PORT)
        if kind == "replay":
            facts["message"] = self.recorded.hex()
        mac = Path(f"/proc/{self.internet.pid}/root/sys/class/net/to-stranger/address").read_text().strip()
        return frames.Order({"forged": "garbage"}.get(kind, kind), target, rate, seconds, source=source, link=WAN,
                            gateway=mac, key=self.target.public_key, **facts)
