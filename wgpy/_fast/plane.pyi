"""The data plane as the Python side sees it. `wgpy.protocol.plane` has the same
interface in pure Python as its executable specification.

A *slot* is a small integer that names a peer from add_peer to remove_peer. Times are
integer nanoseconds of CLOCK_BOOTTIME; 0 means never. Methods may be called from one
control thread while pumps run; when one returns, no pump still uses what it changed.
"""

from typing import NamedTuple

# bits of a notice
KEY_NEEDED: int       # a packet waits and there is no usable keypair
CONFIRMED: int        # a keypair became current: its first packet was authenticated
REKEY_SEND: int       # sent with a keypair older than rekey-after-time (initiator) or messages
REKEY_RECEIVE: int    # received with a keypair older than 165 s (initiator), once a keypair
DATA_SENT: int        # data sent and nothing heard since; see Activity.unanswered_since
DATA_RECEIVED: int    # data received and nothing sent since; see Activity.unacknowledged_since
ROAMED: int           # an authenticated packet came from a new endpoint

class Endpoint(NamedTuple):
    """Address and port of a peer; `source`/`ifindex` are the sticky local address."""
    address: str      # numeric, without brackets; with %scope for link-local IPv6
    port: int
    source: str = ""  # local address the peer's last packet arrived at; "" unknown
    ifindex: int = 0

class Activity(NamedTuple):
    """What a peer's timers need to know, read from the plane when a deadline comes."""
    unanswered_since: int      # first data packet sent since anything was received; 0 none
    unacknowledged_since: int  # first data packet received since anything was sent; 0 none
    last_data_received: int
    last_received: int         # any authenticated transport packet
    last_sent: int             # any transport packet, keepalives too

class PeerStats(NamedTuple):
    rx_bytes: int     # as WireGuard counts: whole datagrams, headers included
    tx_bytes: int
    rx_packets: int
    tx_packets: int
    staged: int       # packets waiting now

class Plane:
    notice_fd: int    # readable while notices or handshake messages wait
    aead: str         # name of the backend in use

    def __init__(self, *, max_peers: int = 1024, max_prefixes: int = 131072, queues: int = 1,
                 aead: str | None = None, transport: int = 1) -> None:
        """Raises ValueError for an unknown or failing AEAD backend or transport id."""

    def set_public_key(self, key: bytes | None) -> None:
        """Of the interface: handshake messages that were made for another are refused."""

    # peers
    def add_peer(self) -> int: """Raises WgpyError when max_peers are in use."""
    def remove_peer(self, slot: int) -> None: """Keys wiped, allowed IPs and staged packets gone."""
    def set_endpoint(self, slot: int, endpoint: Endpoint | None) -> None: ...
    def endpoint(self, slot: int) -> Endpoint | None: ...
    def clear_source(self, slot: int) -> None: """Forgets the sticky source address."""
    def allow(self, slot: int, address: bytes, cidr: int) -> None: """Moves the prefix here."""
    def disallow(self, slot: int, address: bytes, cidr: int) -> None: """No-op if not owned."""
    def disallow_all(self, slot: int) -> None: ...
    def prefixes(self) -> dict[int, list[tuple[bytes, int]]]: """Of all peers that have any, by slot, in one walk."""
    @property
    def prefix_count(self) -> int: ...

    # keypairs; keys are 32 bytes, copied; the caller wipes its own
    def install(self, slot: int, *, local_index: int, remote_index: int, send_key: bytes | bytearray,
                receive_key: bytes | bytearray, initiator: bool, now: int) -> None:
        """Initiator: becomes current, current becomes previous (an unconfirmed next, if
        any, becomes previous instead). Responder: becomes next; previous is wiped."""
    def live_indices(self, slot: int) -> list[int]: """Local indices of current, previous, next that exist."""
    def expire(self, slot: int, now: int) -> None: """Wipes keypairs older than reject-after-time."""
    def wipe(self, slot: int) -> None: """Wipes all keypairs of the peer."""

    # effects down; carried out by the seal pump in order
    def keepalive(self, slot: int) -> None:
        """Sends an empty packet, or stages it and asks for a key when there is none;
        nothing if packets are already staged."""
    def flush(self, slot: int) -> None: """Sends the staged packets if there is a usable keypair."""
    def purge(self, slot: int) -> int: """Drops the staged packets, returns how many; the
        next packet raises KEY_NEEDED again."""
    def send(self, datagram: bytes, *, slot: int | None = None, endpoint: Endpoint | None = None,
             tos: int = 0x88) -> None:
        """Sends a handshake datagram to the slot's endpoint or to the one given."""

    def await_response(self, slot: int, index: int | None) -> None:
        """Our latest initiation to the peer bears this index: a response to it is let in,
        until install() takes the index over. None: no response is awaited."""

    # notices up
    def notices(self) -> list[tuple[int, int]]: """(slot, bits) since the last call; never loses a bit."""
    def handshakes(self, limit: int = 64) -> list[tuple[bytes, Endpoint]]:
        """Up to `limit` initiations and responses, and an eighth as many cookie replies,
        that were admitted: see _fast/c/admission.h."""
    @property
    def handshake_depth(self) -> int: """Messages waiting, before handshakes()."""
    def under_load(self, now: int) -> bool: """Handshake messages need a cookie."""
    def activity(self, slot: int) -> Activity: ...
    def rearm(self, slot: int, bits: int) -> None:
        """DATA_SENT and DATA_RECEIVED are raised once; after rearm they may be raised
        again. If the condition holds already, it is raised at once."""
    def stats(self, slot: int) -> PeerStats: ...
    def drops(self) -> dict[str, int]: """Every reason of drops.h, summed over the plane's threads."""
