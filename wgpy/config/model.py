"""What can be configured and what can be read back. Plain data, no behaviour.

Keys are raw bytes, as many as the suite's have; NO_KEY means "none", whatever these are, and a
preshared key has 32. Secrets are kept out of reprs.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

NO_KEY = bytes(32)


class KeySizes(NamedTuple):
    """Bytes of a suite's keys; the default is WireGuard's."""
    private: int = 32
    public: int = 32


WIREGUARD_KEYS = KeySizes()


class Prefix(NamedTuple):
    """An allowed IP: 4 or 16 address bytes with the host bits zero."""
    address: bytes
    cidr: int


class PrefixChange(NamedTuple):
    """An allowed IP that a peer gets, or with `remove` loses, if it has it."""
    prefix: Prefix
    remove: bool = False


class HostPort(NamedTuple):
    """An endpoint; `host` is numeric except in files, where it may be a name."""
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class PeerChange:
    """One peer of a set request. None leaves a value as it is."""
    public_key: bytes
    remove: bool = False
    update_only: bool = False
    preshared_key: bytes | bytearray | None = field(default=None, repr=False)
    endpoint: HostPort | None = None
    keepalive: int | None = None  # seconds, 0 off
    replace_allowed_ips: bool = False
    allowed_ips: tuple[PrefixChange, ...] = ()


@dataclass(frozen=True, slots=True)
class SetRequest:
    """A whole, validated set request; None leaves a value as it is."""
    private_key: bytes | None = field(default=None, repr=False)
    listen_port: int | None = None
    fwmark: int | None = None
    replace_peers: bool = False
    peers: tuple[PeerChange, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerState:
    """One peer as a device has it. `keepalive` in seconds, 0 off; bytes of whole datagrams."""
    public_key: bytes
    preshared_key: bytes = field(default=NO_KEY, repr=False)
    endpoint: HostPort | None = None
    keepalive: int = 0
    allowed_ips: tuple[Prefix, ...] = ()
    last_handshake: int = 0  # wall clock, ns since 1970; 0 never
    rx_bytes: int = 0
    tx_bytes: int = 0


@dataclass(frozen=True, slots=True)
class SuiteState:
    """A suite that is not WireGuard's, and our public key in it, None without a private key."""
    name: str
    public_key: bytes | None = None


@dataclass(frozen=True, slots=True)
class DeviceState:
    """One interface as `get=1` reads it back; `fwmark` 0 is none."""
    private_key: bytes = field(default=NO_KEY, repr=False)
    listen_port: int = 0
    fwmark: int = 0
    peers: tuple[PeerState, ...] = ()
    suite: SuiteState | None = None  # None: WireGuard's


@dataclass(frozen=True, slots=True)
class SuiteFile:
    """The library with the cryptographic functions of a node or tunnel; `sha256` in hexadecimal."""
    library: str
    sha256: str


@dataclass(frozen=True, slots=True)
class TunnelFile:
    """A wg(8) or wg-quick(8) file: what the tunnel gets, and what the host gets."""
    request: SetRequest
    addresses: tuple[str, ...] = ()  # "10.0.0.1/24", host bits kept
    dns: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    mtu: int | None = None
    table: int | str = "auto"  # a number, "auto", "off" or a name of the host's
    pre_up: tuple[str, ...] = ()
    post_up: tuple[str, ...] = ()
    pre_down: tuple[str, ...] = ()
    post_down: tuple[str, ...] = ()
    save_config: bool = False
    suite: SuiteFile | None = None  # None: WireGuard's
    # place of a peer -> line of its Endpoint, for errors that come with name resolution
    endpoint_lines: dict[int, int] = field(default_factory=dict, compare=False, repr=False)
    warnings: tuple[str, ...] = field(default=(), compare=False, repr=False)


def as_request(state: DeviceState) -> SetRequest:
    """The request that turns any device into `state` (what showconf prints)."""
    peers = tuple(
        PeerChange(p.public_key, preshared_key=p.preshared_key, endpoint=p.endpoint,
                   keepalive=p.keepalive, replace_allowed_ips=True,
                   allowed_ips=tuple(PrefixChange(a) for a in p.allowed_ips))
        for p in state.peers)
    return SetRequest(state.private_key, state.listen_port, state.fwmark, True, peers)
