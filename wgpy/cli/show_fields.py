"""The columns of `wg show NAME FIELD`, which scripts read. Rows are in the daemon's order."""

from collections.abc import Callable

from wgpy.cli.show import public_key
from wgpy.config.model import NO_KEY, DeviceState, PeerState
from wgpy.config.values import endpoint_text, prefix_text, to_base64

Row = tuple[str, ...]
_NONE, _OFF = "(none)", "off"


def _key(key: bytes) -> str:
    return _NONE if key == NO_KEY else to_base64(key)


def _mark(state: DeviceState) -> str:
    return f"{state.fwmark:#x}" if state.fwmark else _OFF


def _endpoint(p: PeerState) -> str:
    return endpoint_text(p.endpoint) if p.endpoint else _NONE


def _allowed(p: PeerState, between: str) -> str:
    return between.join(prefix_text(a) for a in p.allowed_ips) or _NONE


def _handshake(p: PeerState) -> str:
    return str(p.last_handshake // 10**9)


def _of_peers(*columns: Callable[[PeerState], str]) -> Callable[[DeviceState], list[Row]]:
    return lambda state: [(to_base64(p.public_key), *(column(p) for column in columns)) for p in state.peers]


def _dump(state: DeviceState) -> list[Row]:
    peers = _of_peers(lambda p: _key(p.preshared_key), _endpoint, lambda p: _allowed(p, ","), _handshake,
                      lambda p: str(p.rx_bytes), lambda p: str(p.tx_bytes), lambda p: str(p.keepalive or _OFF))
    return [(_key(state.private_key), public_key(state) or _NONE, str(state.listen_port), _mark(state)), *peers(state)]


FIELDS: dict[str, Callable[[DeviceState], list[Row]]] = {
    "public-key": lambda s: [(public_key(s) or _NONE,)],
    "private-key": lambda s: [(_key(s.private_key),)],
    "listen-port": lambda s: [(str(s.listen_port),)],
    "fwmark": lambda s: [(_mark(s),)],
    "peers": _of_peers(),
    "preshared-keys": _of_peers(lambda p: _key(p.preshared_key)),
    "endpoints": _of_peers(_endpoint),
    "allowed-ips": _of_peers(lambda p: _allowed(p, " ")),
    "latest-handshakes": _of_peers(_handshake),
    "transfer": _of_peers(lambda p: str(p.rx_bytes), lambda p: str(p.tx_bytes)),
    "persistent-keepalive": _of_peers(lambda p: str(p.keepalive or _OFF)),
    "dump": _dump,
}
