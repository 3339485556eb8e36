"""The text protocol of the userspace API (wireguard.com/xplatform), both directions.

A request is parsed and validated whole: either a complete SetRequest comes out or
ConfigError is raised and nothing has happened. wg(8) takes the errno of a `set` as
negative and that of a `get` as digits only; `reply_errno` knows.
"""

import errno
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypedDict, TypeVar, cast

from wgpy.config import values
from wgpy.config.model import (
    NO_KEY,
    WIREGUARD_KEYS,
    DeviceState,
    HostPort,
    KeySizes,
    PeerChange,
    PeerState,
    Prefix,
    PrefixChange,
    SetRequest,
    SuiteState,
)
from wgpy.errors import ConfigError

SOURCE = "uapi"
_U32 = 2**32 - 1


def _true(text: str) -> bool:
    if text != "true":
        raise ValueError(f"{values.quoted(text)}: only 'true' is allowed")
    return True


def _allowed_ip(text: str) -> PrefixChange:
    remove = text.startswith("-")
    return PrefixChange(values.prefix(text[1:] if remove else text, need_cidr=True), remove)


_Parser = Callable[[str], object]
_DEVICE: Mapping[str, _Parser] = {
    "listen_port": lambda t: values.number(t, 0, 65535),
    "fwmark": lambda t: values.number(t, 0, _U32),
    "replace_peers": _true,
}
# key -> (field of PeerChange, or "" for what is only checked, parser)
_PEER: Mapping[str, tuple[str, _Parser]] = {
    "remove": ("remove", _true),
    "update_only": ("update_only", _true),
    "preshared_key": ("preshared_key", values.key_hex),
    "endpoint": ("endpoint", values.endpoint),
    "persistent_keepalive_interval": ("keepalive", lambda t: values.number(t, 0, 65535)),
    "replace_allowed_ips": ("replace_allowed_ips", _true),
    "allowed_ip": ("allowed_ips", _allowed_ip),
    "protocol_version": ("", lambda t: values.number(t, 1, 1)),
}


class _SetDevice(TypedDict, total=False):
    """What the parsers of _DEVICE return; so the next one of _PEER."""
    private_key: bytes
    listen_port: int
    fwmark: int
    replace_peers: bool


class _SetPeer(TypedDict, total=False):
    remove: bool
    update_only: bool
    preshared_key: bytes
    endpoint: HostPort
    keepalive: int
    replace_allowed_ips: bool


_A = TypeVar("_A", Prefix, PrefixChange)


@dataclass
class _Peer(Generic[_A]):
    """The lines from one public_key to the next."""
    public_key: bytes
    fields: dict[str, object] = field(default_factory=dict)
    allowed_ips: list[_A] = field(default_factory=list)


def _pairs(lines: list[str], first: int) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(lines, first):
        key, equals, value = line.partition("=")
        if not equals:
            raise ConfigError("the line is not key=value", source=SOURCE, line=number)
        yield number, key, value


GET, METRICS = "get=1", "metrics=1"
# The first line of our answer to GET, which wg(8) passes over: METRICS is no part of the
# UAPI, so only who says this is asked for it.
OURS = "implementation=wgpy"


def is_ours(answer: str) -> bool:
    """Whether an answer to GET comes from a daemon of ours, which can be asked for METRICS."""
    return answer.startswith(f"{OURS}\n")


def parse_request(block: bytes, sizes: KeySizes = WIREGUARD_KEYS) -> SetRequest | str:
    """One request without the blank line that ends it: GET, METRICS (ours: counters as
    key=value lines) or a SetRequest, its keys of these sizes. Raises ConfigError, whose text never
    repeats a key."""
    try:
        lines = block.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise ConfigError("the request is not ASCII", source=SOURCE) from None
    operation, *body = lines
    if body and body[-1] == "":
        body.pop()
    if operation in (GET, METRICS):
        if body:
            raise ConfigError("no further lines are expected", source=SOURCE, line=2)
        return operation
    if operation != "set=1":
        raise ConfigError("a request starts with get=1 or set=1", source=SOURCE, line=1)
    return _parse_set(body, sizes)


def _parse_set(body: list[str], sizes: KeySizes) -> SetRequest:
    device: dict[str, object] = {}
    peers: list[_Peer[PrefixChange]] = []
    for line, key, text in _pairs(body, 2):
        try:
            if key == "public_key":
                peers.append(_Peer(values.key_hex(text, sizes.public)))
            elif peers:
                _peer_value(peers[-1], key, text)
            elif key == "private_key":
                device[key] = _private_key(text, sizes.private)
            elif key in _DEVICE:
                device[key] = _DEVICE[key](text)
            elif key in _PEER:
                raise ValueError("before the first public_key")
            else:
                raise ValueError("unknown key")
        except ValueError as e:
            raise ConfigError(str(e), source=SOURCE, line=line, key=_shown(key)) from None
    return SetRequest(**cast(_SetDevice, device), peers=tuple(
        PeerChange(p.public_key, **cast(_SetPeer, p.fields), allowed_ips=tuple(p.allowed_ips)) for p in peers))


def _private_key(text: str, size: int) -> bytes:
    """32 zero bytes clear it, whatever the size is."""
    return NO_KEY if text == NO_KEY.hex() else values.key_hex(text, size)


def _shown(key: str) -> str | None:
    """Only what looks like a key's name: a line may be a secret in the wrong place."""
    return key if re.fullmatch(r"[a-z_0-9]{1,32}", key) else None


def _peer_value(peer: _Peer[PrefixChange], key: str, text: str) -> None:
    if key not in _PEER:
        raise ValueError("a device key after the first public_key" if key in (*_DEVICE, "private_key")
                         else "unknown key")
    name, parse = _PEER[key]
    value = parse(text)
    if isinstance(value, PrefixChange):
        peer.allowed_ips.append(value)
    elif name:
        peer.fields[name] = value
        if name == "replace_allowed_ips":
            peer.allowed_ips.clear()


def format_set(request: SetRequest) -> str:
    """The request as text; parse_request gives it back unchanged."""
    out = ["set=1"]
    if request.private_key is not None:
        out.append(f"private_key={request.private_key.hex()}")
    if request.listen_port is not None:
        out.append(f"listen_port={request.listen_port}")
    if request.fwmark is not None:
        out.append(f"fwmark={request.fwmark}")
    if request.replace_peers:
        out.append("replace_peers=true")
    for peer in request.peers:
        out.append(f"public_key={peer.public_key.hex()}")
        out += [f"{flag}=true" for flag in ("remove", "update_only") if getattr(peer, flag)]
        if peer.preshared_key is not None:
            out.append(f"preshared_key={peer.preshared_key.hex()}")
        if peer.endpoint is not None:
            out.append(f"endpoint={values.endpoint_text(peer.endpoint)}")
        if peer.keepalive is not None:
            out.append(f"persistent_keepalive_interval={peer.keepalive}")
        if peer.replace_allowed_ips:
            out.append("replace_allowed_ips=true")
        out += [f"allowed_ip={'-' if a.remove else ''}{values.prefix_text(a.prefix)}"
                for a in peer.allowed_ips]
    return "\n".join(out) + "\n\n"


def format_get(state: DeviceState) -> str:
    """The answer to `get=1`, final errno=0 and blank line included. What belongs to a suite that
    wg(8) does not know has names of ours, which it passes over, and so it shows the rest: it would
    refuse keys of other lengths, and show a public key that is none."""
    out, ours = [], "" if state.suite is None else "suite_"
    if state.suite is not None:
        out.append(f"suite={state.suite.name}")
        if state.suite.public_key is not None:
            out.append(f"suite_own_key={state.suite.public_key.hex()}")
    if state.private_key != NO_KEY:
        out.append(f"{ours}private_key={state.private_key.hex()}")
    if state.listen_port:
        out.append(f"listen_port={state.listen_port}")
    if state.fwmark:
        out.append(f"fwmark={state.fwmark}")
    for p in state.peers:
        seconds, nanoseconds = divmod(p.last_handshake, 10**9)
        wide = ours if len(p.public_key) != len(NO_KEY) else ""
        out += [f"{wide}public_key={p.public_key.hex()}", f"preshared_key={p.preshared_key.hex()}",
                "protocol_version=1"]
        if p.endpoint is not None:
            out.append(f"endpoint={values.endpoint_text(p.endpoint)}")
        out += [f"last_handshake_time_sec={seconds}", f"last_handshake_time_nsec={nanoseconds}",
                f"tx_bytes={p.tx_bytes}", f"rx_bytes={p.rx_bytes}",
                f"persistent_keepalive_interval={p.keepalive}"]
        out += [f"allowed_ip={values.prefix_text(a)}" for a in p.allowed_ips]
    return "\n".join([*out, "errno=0"]) + "\n\n"


_U64 = 2**64 - 1


def _suite_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,48}", text):
        raise ValueError(f"{values.quoted(text)} is no name of a suite")
    return text


def _any_key(text: str) -> bytes:
    return values.key_hex(text, None)


_GET_DEVICE: Mapping[str, tuple[str, _Parser]] = {
    "private_key": ("private_key", values.key_hex),
    "listen_port": ("listen_port", _DEVICE["listen_port"]),
    "fwmark": ("fwmark", _DEVICE["fwmark"]),
    "suite": ("suite", _suite_name),
    "suite_own_key": ("own_key", _any_key),
    "suite_private_key": ("private_key", _any_key),
}
_GET_PEER: Mapping[str, tuple[str, _Parser]] = {
    "preshared_key": ("preshared_key", values.key_hex),
    "protocol_version": ("", lambda t: values.number(t, 0, _U32)),
    "endpoint": ("endpoint", values.endpoint),
    "last_handshake_time_sec": ("seconds", lambda t: values.number(t, 0, _U64)),
    "last_handshake_time_nsec": ("nanoseconds", lambda t: values.number(t, 0, 10**9 - 1)),
    "tx_bytes": ("tx_bytes", lambda t: values.number(t, 0, _U64)),
    "rx_bytes": ("rx_bytes", lambda t: values.number(t, 0, _U64)),
    "persistent_keepalive_interval": ("keepalive", lambda t: values.number(t, 0, 65535)),
    "allowed_ip": ("allowed_ips", lambda t: values.prefix(t, need_cidr=True)),
}


class _GetDevice(TypedDict, total=False):
    """What the parsers of _GET_DEVICE return; so the next one of _GET_PEER."""
    private_key: bytes
    listen_port: int
    fwmark: int


class _GetPeer(TypedDict, total=False):
    preshared_key: bytes
    endpoint: HostPort
    keepalive: int
    rx_bytes: int
    tx_bytes: int


def parse_get(text: str) -> DeviceState:
    """The answer of a daemon to `get=1`. Unknown keys are passed over, as wg(8) does.

    Raises ConfigError for malformed text, OSError for a nonzero errno.
    """
    device: dict[str, object] = {}
    peers: list[_Peer[Prefix]] = []
    for line, key, value in _pairs([t for t in text.split("\n") if t], 1):
        try:
            if key == "errno":
                reply_error(value)
            elif key in ("public_key", "suite_public_key"):
                peers.append(_Peer(values.key_hex(value, None if key.startswith("suite") else 32)))
            elif peers and key in _GET_PEER:
                name, parse = _GET_PEER[key]
                parsed = parse(value)
                if isinstance(parsed, Prefix):
                    peers[-1].allowed_ips.append(parsed)
                elif name:
                    peers[-1].fields[name] = parsed
            elif key in _GET_DEVICE:
                name, parse = _GET_DEVICE[key]
                device[name] = parse(value)
        except ValueError as e:
            raise ConfigError(str(e), source=SOURCE, line=line, key=_shown(key)) from None
    suite, own = cast(str | None, device.pop("suite", None)), cast(bytes | None, device.pop("own_key", None))
    return DeviceState(**cast(_GetDevice, device), peers=tuple(_peer_state(p) for p in peers),
                       suite=None if suite is None else SuiteState(suite, own))


def _peer_state(p: _Peer[Prefix]) -> PeerState:
    seconds, nanoseconds = (cast(int, p.fields.pop(unit, 0)) for unit in ("seconds", "nanoseconds"))
    return PeerState(p.public_key, **cast(_GetPeer, p.fields), allowed_ips=tuple(p.allowed_ips),
                     last_handshake=seconds * 10**9 + nanoseconds)


def format_metrics(metrics: dict[str, int | str]) -> str:
    """The answer to METRICS: a line each, errno=0 and a blank line."""
    lines = [f"{name}={value}" for name, value in metrics.items()]
    return "\n".join([*lines, "errno=0"]) + "\n\n"


def parse_metrics(text: str) -> dict[str, int | str]:
    """The answer to METRICS; numbers as int. Raises ConfigError or OSError."""
    out: dict[str, int | str] = {}
    for line, key, value in _pairs([t for t in text.split("\n") if t], 1):
        if key == "errno":
            try:
                reply_error(value)
            except ValueError as e:
                raise ConfigError(str(e), source=SOURCE, line=line, key=key) from None
        else:
            out[key] = int(value) if value.isdecimal() else value
    return out


def reply_error(value: str) -> None:
    """Raises OSError unless the errno of a reply is 0; ValueError when it is none."""
    code = abs(int(value)) if value.lstrip("-").isdecimal() and len(value) < 8 else None
    if code is None:
        raise ValueError("is not a number")
    if code:
        raise OSError(code, errno.errorcode.get(code, "unknown error"))


def reply_errno(code: int, *, to_set: bool) -> str:
    """The reply that carries only an errno (a positive number or 0)."""
    return f"errno={-code if to_set else code}\n\n"
