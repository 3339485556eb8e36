"""The text protocol of the userspace API (wireguard.com/xplatform), both directions.

A request is parsed and validated whole: either a complete SetRequest comes out or
ConfigError is raised and nothing has happened. wg(8) takes the errno of a `set` as
negative and that of a `get` as digits only; `reply_errno` knows.
"""

import errno
import re

from wgpy.config import values
from wgpy.config.model import (NO_KEY, DeviceState, PeerChange, PeerState, PrefixChange,
                               SetRequest)
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


_DEVICE = {
    "private_key": values.key_hex,
    "listen_port": lambda t: values.number(t, 0, 65535),
    "fwmark": lambda t: values.number(t, 0, _U32),
    "replace_peers": _true,
}
# key -> (field of PeerChange, or "" for what is only checked, parser)
_PEER = {
    "remove": ("remove", _true),
    "update_only": ("update_only", _true),
    "preshared_key": ("preshared_key", values.key_hex),
    "endpoint": ("endpoint", values.endpoint),
    "persistent_keepalive_interval": ("keepalive", lambda t: values.number(t, 0, 65535)),
    "replace_allowed_ips": ("replace_allowed_ips", _true),
    "allowed_ip": ("allowed_ips", _allowed_ip),
    "protocol_version": ("", lambda t: values.number(t, 1, 1)),
}


def _pairs(lines: list[str], first: int):
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
    return answer.startswith(f"{OURS}\n")


def parse_request(block: bytes) -> SetRequest | str:
    """One request without the blank line that ends it: GET, METRICS (ours: counters as
    key=value lines) or a SetRequest. Raises ConfigError, whose text never repeats a key."""
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
    return _parse_set(body)


def _parse_set(body: list[str]) -> SetRequest:
    device: dict = {}
    peers: list[dict] = []
    for line, key, text in _pairs(body, 2):
        try:
            if key == "public_key":
                peers.append({"public_key": values.key_hex(text), "allowed_ips": []})
            elif peers:
                _peer_value(peers[-1], key, text)
            elif key in _DEVICE:
                device[key] = _DEVICE[key](text)
            elif key in _PEER:
                raise ValueError("before the first public_key")
            else:
                raise ValueError("unknown key")
        except ValueError as e:
            raise ConfigError(str(e), source=SOURCE, line=line, key=_shown(key)) from None
    return SetRequest(**device, peers=tuple(
        PeerChange(**{**p, "allowed_ips": tuple(p["allowed_ips"])}) for p in peers))


def _shown(key: str) -> str | None:
    """Only what looks like a key's name: a line may be a secret in the wrong place."""
    return key if re.fullmatch(r"[a-z_0-9]{1,32}", key) else None


def _peer_value(peer: dict, key: str, text: str) -> None:
    if key not in _PEER:
        raise ValueError("a device key after the first public_key" if key in _DEVICE
                         else "unknown key")
    field, parse = _PEER[key]
    value = parse(text)
    if field == "allowed_ips":
        peer["allowed_ips"].append(value)
    elif field:
        peer[field] = value
        if field == "replace_allowed_ips":
            peer["allowed_ips"].clear()


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
    """The answer to `get=1`, final errno=0 and blank line included."""
    out = []
    if state.private_key != NO_KEY:
        out.append(f"private_key={state.private_key.hex()}")
    if state.listen_port:
        out.append(f"listen_port={state.listen_port}")
    if state.fwmark:
        out.append(f"fwmark={state.fwmark}")
    for p in state.peers:
        seconds, nanoseconds = divmod(p.last_handshake, 10**9)
        out += [f"public_key={p.public_key.hex()}", f"preshared_key={p.preshared_key.hex()}",
                "protocol_version=1"]
        if p.endpoint is not None:
            out.append(f"endpoint={values.endpoint_text(p.endpoint)}")
        out += [f"last_handshake_time_sec={seconds}", f"last_handshake_time_nsec={nanoseconds}",
                f"tx_bytes={p.tx_bytes}", f"rx_bytes={p.rx_bytes}",
                f"persistent_keepalive_interval={p.keepalive}"]
        out += [f"allowed_ip={values.prefix_text(a)}" for a in p.allowed_ips]
    return "\n".join([*out, "errno=0"]) + "\n\n"


_U64 = 2**64 - 1
_GET_DEVICE = {k: _DEVICE[k] for k in ("private_key", "listen_port", "fwmark")}
_GET_PEER = {
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


def parse_get(text: str) -> DeviceState:
    """The answer of a daemon to `get=1`. Unknown keys are passed over, as wg(8) does.

    Raises ConfigError for malformed text, OSError for a nonzero errno.
    """
    device: dict = {}
    peers: list[dict] = []
    for line, key, value in _pairs([t for t in text.split("\n") if t], 1):
        try:
            if key == "errno":
                reply_error(value)
            elif key == "public_key":
                peers.append({"public_key": values.key_hex(value), "allowed_ips": []})
            elif peers and key in _GET_PEER:
                field, parse = _GET_PEER[key]
                parsed = parse(value)
                if field == "allowed_ips":
                    peers[-1]["allowed_ips"].append(parsed)
                elif field:
                    peers[-1][field] = parsed
            elif key in _GET_DEVICE:
                device[key] = _GET_DEVICE[key](value)
        except ValueError as e:
            raise ConfigError(str(e), source=SOURCE, line=line, key=_shown(key)) from None
    return DeviceState(**device, peers=tuple(_peer_state(p) for p in peers))


def _peer_state(p: dict) -> PeerState:
    last = p.pop("seconds", 0) * 10**9 + p.pop("nanoseconds", 0)
    return PeerState(**{**p, "allowed_ips": tuple(p["allowed_ips"])}, last_handshake=last)


def format_metrics(metrics: dict[str, int | str]) -> str:
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
