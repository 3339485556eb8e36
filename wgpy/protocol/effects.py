"""What the protocol core asks for. Plain data; whoever drives the core carries it out
in order (see wgpy.crypto.apply)."""

from dataclasses import dataclass, field

from wgpy.events import Kind, Reject
from wgpy.notices import Endpoint


@dataclass(frozen=True, slots=True)
class SendToPeer:
    """Send a handshake datagram to the peer's current endpoint (DSCP AF41)."""
    peer: bytes
    datagram: bytes


@dataclass(frozen=True, slots=True)
class SetPublicKey:
    """Ours, None for none: the plane admits only handshake messages made for it."""
    key: bytes | None


@dataclass(frozen=True, slots=True)
class AwaitResponse:
    """The latest initiation to the peer bears this index, which the keypair takes over; None:
    no response is awaited any more. The plane admits no other response."""
    peer: bytes
    index: int | None


@dataclass(frozen=True, slots=True)
class SetEndpoint:
    """An authenticated handshake message came from here: the peer roams."""
    peer: bytes
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class ClearSource:
    """Forget the sticky source address before the next send."""
    peer: bytes


@dataclass(frozen=True, slots=True)
class InstallKeypair:
    """Give the data plane a keypair. The keys are bytearrays: the driver overwrites
    them with zeros when the plane has its copy. repr shows no key."""
    peer: bytes
    local_index: int
    remote_index: int
    initiator: bool
    send_key: bytearray = field(repr=False)
    receive_key: bytearray = field(repr=False)


@dataclass(frozen=True, slots=True)
class FlushStaged:
    """Send what waits for a keypair."""
    peer: bytes


@dataclass(frozen=True, slots=True)
class PurgeStaged:
    """Drop what waits for a keypair: the handshake was given up."""
    peer: bytes


@dataclass(frozen=True, slots=True)
class SendKeepalive:
    """Send an empty packet with the current keypair. Without one it waits, and the plane asks
    for a key; where packets wait already, these do as well."""
    peer: bytes


@dataclass(frozen=True, slots=True)
class ExpireKeypairs:
    """Wipe the peer's keypairs that are older than reject-after-time."""
    peer: bytes


@dataclass(frozen=True, slots=True)
class WipeKeypairs:
    """Wipe all keypairs of the peer."""
    peer: bytes


@dataclass(frozen=True, slots=True)
class Rearm:
    """Let the plane raise these notice bits again."""
    peer: bytes
    bits: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something an operator may want to know. REJECTED has a `reason`; STAMPS_BACK comes once,
    until an initiation of the peer is accepted."""
    kind: Kind
    peer: bytes | None = None
    reason: Reject | None = None


Effect = (SetPublicKey | SendToPeer | AwaitResponse | SetEndpoint | ClearSource | InstallKeypair | FlushStaged
          | PurgeStaged | SendKeepalive | ExpireKeypairs | WipeKeypairs | Rearm | Event)
