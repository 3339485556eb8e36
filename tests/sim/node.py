"""One end of a tunnel for tests: a Device, a plane in pure Python, and the driver that
carries effects and notices between them. No clock of its own, no network."""

import random

from wgpy import suite
from wgpy.notices import Endpoint
from wgpy.protocol import effects as fx
from wgpy.protocol.device import Device, Instant
from wgpy.protocol.messages import Layout
from wgpy.protocol.noise import Noise
from wgpy.protocol.plane import Plane

SECOND = 1_000_000_000


class InUse:
    """The suite of all nodes, which tests change between them."""

    def use(self, chosen: suite.Suite) -> None:
        self.chosen = chosen

    def __getattr__(self, name: str):
        return getattr(self.chosen, name)

    @property
    def layout(self) -> Layout:
        return Layout(self.chosen)

    def size(self, kind: int) -> int:
        """Of a whole handshake message of type 1, 2 or 3."""
        return self.layout.sizes[bytes((kind, 0, 0, 0))]

    def body_size(self, kind: int) -> int:
        """Without its MACs."""
        return self.size(kind) - 2 * self.chosen.mac_size

    def new_key(self, seed: int = 7) -> bytes:
        """A private key."""
        return Noise(self.chosen).ephemeral(random.Random(seed).randbytes)


SUITE = InUse()
SUITE.use(suite.get())


def ipv4(source: str, destination: str, payload: bytes = b"x" * 8, tos: int = 0) -> bytes:
    """A minimal IPv4 packet (checksum left zero: nothing here looks at it)."""
    total = 20 + len(payload)
    address = [bytes(map(int, a.split("."))) for a in (source, destination)]
    return bytes([0x45, tos]) + total.to_bytes(2, "big") + bytes(4) + b"\x40\x11\0\0" + b"".join(address) + payload


class Node:
    """`sent` collects (endpoint, datagram) to go out, `received` IP packets that came
    in, `events` everything the core reported, `log` every effect with its time."""

    def __init__(self, name: str, address: str, seed: int = 0):
        rng = random.Random(f"{name}{seed}")
        self.name = name
        self.where = Endpoint(address, 51820)
        self.entropy = rng.randbytes
        self.device = Device(SUITE.chosen, self.entropy)
        self.plane = Plane(entropy=rng.randbytes, suite=SUITE.chosen)
        self.slots: dict[bytes, int] = {}
        self.keys: dict[int, bytes] = {}
        self.sent: list[tuple[Endpoint, bytes]] = []
        self.received: list[bytes] = []
        self.log: list[tuple[int, object]] = []
        self.births: dict[int, int] = {}
        self.private = SUITE.new_key(rng.getrandbits(64))
        self.run(self.device.set_private_key(self.private, Instant(0, 0)), Instant(0, 0))
        self.public = self.device.public_key

    def add_peer(self, public: bytes, endpoint: Endpoint | None, network: str, cidr: int = 32) -> None:
        slot = self.plane.add_peer()
        self.slots[public], self.keys[slot] = slot, public
        self.device.add_peer(public)
        self.plane.set_endpoint(slot, endpoint)
        self.plane.allow(slot, bytes(map(int, network.split("."))), cidr)

    def remove_peer(self, public: bytes, now: Instant) -> None:
        slot = self.slots.pop(public)
        del self.keys[slot]
        self.plane.remove_peer(slot)
        self.run(self.device.remove_peer(public), now)

    def run(self, effects, now: Instant) -> None:
        freed = []
        for e in effects:
            self.log.append((now.mono, e))
            if isinstance(e, fx.Event):
                continue
            if isinstance(e, fx.SetPublicKey):
                self.plane.set_public_key(e.key)
                continue
            slot = self.slots.get(e.peer)
            if slot is not None:
                freed.append((e.peer, self._carry_out(e, slot, now) or []))
        for peer, indices in freed:
            self.device.freed(peer, indices)
        self.sent += [(s.endpoint, s.datagram) for s in self.plane.pull(now.mono)]

    def _carry_out(self, e, slot: int, now: Instant) -> list[int] | None:
        """Which indices are free because of it."""
        plane = self.plane
        match e:
            case fx.SendToPeer():
                plane.send(e.datagram, slot=slot)
            case fx.AwaitResponse():
                plane.await_response(slot, e.index)
            case fx.SetEndpoint():
                plane.set_endpoint(slot, e.endpoint)
            case fx.ClearSource():
                plane.clear_source(slot)
            case fx.InstallKeypair():
                self.births[e.local_index] = now.mono
                return plane.install(slot, local_index=e.local_index, remote_index=e.remote_index,
                                     send_key=e.send_key, receive_key=e.receive_key,
                                     initiator=e.initiator, now=now.mono)
            case fx.FlushStaged():
                plane.flush(slot)
            case fx.PurgeStaged():
                plane.purge(slot)
            case fx.SendKeepalive():
                plane.keepalive(slot)
            case fx.ExpireKeypairs():
                return plane.expire(slot, now.mono)
            case fx.WipeKeypairs():
                return plane.wipe(slot)
            case fx.Rearm():
                plane.rearm(slot, e.bits)

    def press(self, now: Instant) -> None:
        """As if 512 handshake messages waited for it: it is under load now."""
        self.plane._admission.load.begin(now.mono)

    def start(self, now: Instant) -> None:
        self.run(self.device.start(now), now)
        self.settle(now)

    def stop(self, now: Instant) -> None:
        self.run(self.device.stop(now), now)
        self.settle(now)

    def settle(self, now: Instant) -> None:
        """Until the plane has nothing more to report."""
        while True:
            for datagram, source in self.plane.handshakes():
                self.run(self.device.receive(datagram, source, now), now)
            raised = self.plane.notices()
            for slot, bits, promoted in raised:
                if slot in self.keys:
                    peer = self.keys[slot]
                    self.run(self.device.notice(peer, bits, now, promoted), now)
            if not raised and not self.plane.handshake_depth:
                return

    def send(self, packet: bytes, now: Instant) -> None:
        """An IP packet from the local network."""
        self.sent += [(s.endpoint, s.datagram) for s in self.plane.seal(packet, now.mono)]
        self.settle(now)

    def arrive(self, datagram: bytes, source: Endpoint, now: Instant) -> None:
        self.received += self.plane.open(datagram, source, now.mono)
        self.run([], now)
        self.settle(now)

    def tick(self, now: Instant) -> None:
        due = self.device.due(now)
        activity = {p: self.plane.activity(self.slots[p]) for p in due}
        self.run(self.device.tick(now, activity), now)
        self.settle(now)

    def effects(self, kind: type, since: int = -1) -> list[tuple[int, object]]:
        return [(t, e) for t, e in self.log if t > since and isinstance(e, kind)]

    def events(self, kind: str) -> list[int]:
        return [t for t, e in self.log if isinstance(e, fx.Event) and e.kind == kind]
