"""What the driver of a tunnel and its two halves agree on: the protocol core, and the plane,
which exists in C (wgpy._fast.plane) and as an executable specification (wgpy.protocol.plane).

A *slot* is a small integer that names a peer in the plane from add_peer to remove_peer. Times
are integer nanoseconds of CLOCK_BOOTTIME; 0 means never. The plane's methods are called from
one control thread, while pumps may run; when one returns, no pump still uses what it changed.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from wgpy.constants import HANDSHAKE_TOS
from wgpy.events import Reject
from wgpy.notices import Activity, Endpoint, Notice, PeerStats
from wgpy.protocol.effects import Effect
from wgpy.protocol.peer import Peer
from wgpy.protocol.timers import Deadline, Instant
from wgpy.suite import Suite


class Plane(Protocol):
    """KeyError for a slot that names no peer."""

    @property
    def notice_fd(self) -> int:
        """Readable while notices or handshake messages wait; -1 for a plane without pumps."""

    @property
    def aead(self) -> str:
        """Name of the backend in use."""

    def set_public_key(self, key: bytes | None) -> None:
        """Of the interface: handshake messages that were made for another are refused."""

    # peers

    def add_peer(self) -> int:
        """Raises WgpyError when max_peers are in use."""

    def remove_peer(self, slot: int) -> None:
        """Keys wiped, allowed IPs and staged packets gone."""

    def set_endpoint(self, slot: int, endpoint: Endpoint | None) -> None:
        """Where to send to from now on; its `source` is kept until the peer roams. None:
        nowhere."""

    def endpoint(self, slot: int) -> Endpoint | None:
        """The latest, set or roamed to; None for none."""

    def clear_source(self, slot: int) -> None:
        """Forgets the sticky source address."""

    def allow(self, slot: int, address: bytes, cidr: int) -> None:
        """Moves the prefix here. ValueError for what is none, WgpyError when there is no room."""

    def disallow(self, slot: int, address: bytes, cidr: int) -> None:
        """No-op for a prefix that is not the peer's."""

    def disallow_all(self, slot: int) -> None:
        """As when a configuration replaces the peer's allowed IPs."""

    def prefixes(self) -> dict[int, list[tuple[bytes, int]]]:
        """Of all peers that have any, by slot, in one walk."""

    @property
    def prefix_count(self) -> int:
        """Allowed IPs of all peers together, bounded by max_prefixes."""

    # keypairs. What makes one go answers whose index is free again; a promotion frees none

    def install(self, slot: int, *, local_index: int, remote_index: int, send_key: bytes | bytearray,
                receive_key: bytes | bytearray, initiator: bool, now: int) -> list[int]:
        """Keys of the suite's AEAD, copied; the caller wipes its own. Initiator: becomes current,
        current becomes previous (an unconfirmed next, if any, becomes previous instead).
        Responder: becomes next; previous is wiped. Returns the local indices of the keypairs
        that fell out. Raises MemoryError, with nothing changed."""

    def live_indices(self, slot: int) -> list[int]:
        """Local indices of current, previous and next, as far as they exist, in no order."""

    def expire(self, slot: int, now: int) -> list[int]:
        """Wipes keypairs older than reject-after-time; returns their local indices."""

    def wipe(self, slot: int) -> list[int]:
        """Wipes all keypairs of the peer; returns their local indices."""

    # effects down; carried out by the seal pump in order

    def await_response(self, slot: int, index: int | None) -> None:
        """Our latest initiation to the peer bears this index: a response to it is let in,
        until install() takes the index over. None: no response is awaited."""

    def keepalive(self, slot: int) -> None:
        """Sends an empty packet, or stages it and asks for a key when there is none;
        nothing if packets are already staged."""

    def flush(self, slot: int) -> None:
        """Sends the staged packets if there is a usable keypair."""

    def purge(self, slot: int) -> int:
        """Drops the staged packets, returns how many; the next packet raises KEY_NEEDED again."""

    def send(self, datagram: bytes, *, slot: int | None = None, endpoint: Endpoint | None = None,
             tos: int = HANDSHAKE_TOS) -> None:
        """Sends a handshake datagram to the slot's endpoint or to the one given."""

    def received(self, slot: int, octets: int) -> None:
        """Counts a handshake message that turned out to be this peer's."""

    # notices up

    def notices(self) -> list[Notice]:
        """Since the last call; never loses a bit."""

    def handshakes(self, limit: int = 64) -> list[tuple[bytes, Endpoint]]:
        """Up to `limit` initiations and responses, and an eighth as many cookie replies,
        that were admitted: see wgpy.protocol.admission."""

    @property
    def handshake_depth(self) -> int:
        """Messages waiting, before handshakes()."""

    def under_load(self, now: int) -> bool:
        """Handshake messages need a cookie."""

    def activity(self, slot: int) -> Activity:
        """For the handlers of wgpy.protocol.timers.WANT_ACTIVITY."""

    def rearm(self, slot: int, bits: int) -> None:
        """DATA_SENT and DATA_RECEIVED are raised once; after rearm they may be raised
        again. If the condition holds already, it is raised at once."""

    def stats(self, slot: int) -> PeerStats:
        """Counters since add_peer()."""

    def drops(self) -> dict[str, int]:
        """By reason (wgpy.drops), summed over the plane's threads; one that is missing is 0."""


class ProtocolCore(Protocol):
    """wgpy.protocol.device.Device, which says more of each."""

    @property
    def peers(self) -> Mapping[bytes, Peer]:
        """By public key."""

    @property
    def rejects(self) -> Mapping[Reject, int]:
        """Refused messages by reason, since the core was made."""

    @property
    def suite(self) -> Suite:
        """Of every peer of the interface."""

    @property
    def public_key(self) -> bytes | None:
        """Ours; None without a private key."""

    @property
    def greatest_stamp(self) -> int:
        """CLOCK_REALTIME ns: no initiation of ours bore a later one."""

    def set_private_key(self, key: bytes | None, now: Instant) -> list[Effect]:
        """None clears it. Ends all sessions. WgpyError for a wrong length."""

    def add_peer(self, public_key: bytes) -> None:
        """No-op for one that exists. WgpyError for a wrong length."""

    def remove_peer(self, public_key: bytes) -> list[Effect]:
        """The driver removes it from the plane."""

    def set_preshared_key(self, peer: bytes, psk: bytes | bytearray | None, now: Instant) -> list[Effect]:
        """Of handshakes that are yet to come. WgpyError for a wrong length."""

    def set_keepalive(self, peer: bytes, seconds: int, now: Instant) -> list[Effect]:
        """0 is off. WgpyError beyond 65535 s."""

    def start(self, now: Instant) -> list[Effect]:
        """The interface is up: handshakes may begin."""

    def stop(self, now: Instant) -> list[Effect]:
        """The interface is down: sessions and handshakes end, and messages are refused."""

    def reconnect(self, peer: bytes, now: Instant) -> list[Effect]:
        """A new handshake, whenever the last one was."""

    def receive(self, datagram: bytes, source: Endpoint, now: Instant) -> list[Effect]:
        """A handshake message that the plane has admitted."""

    def notice(self, peer: bytes, bits: int, now: Instant, promoted: int | None = None) -> list[Effect]:
        """Bits of wgpy.notices, as the plane's notices() gave them."""

    def freed(self, peer: bytes, indices: Iterable[int]) -> None:
        """What the plane's install(), expire() or wipe() returned."""

    def deadline(self) -> Deadline | None:
        """When to call due() and tick(); None: not before something else happens."""

    def due(self, now: Instant) -> list[bytes]:
        """Peers whose Activity is to be fetched for tick()."""

    def tick(self, now: Instant, activity: Mapping[bytes, Activity]) -> list[Effect]:
        """`activity` has those that due() named."""
