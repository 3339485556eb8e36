"""What `wgpy show` says: for people, for scripts, and as a file."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from wgpy.cli.client import Found
from wgpy.config.model import NO_KEY, DeviceState, PeerState
from wgpy.config.values import endpoint_text, prefix_text, to_base64
from wgpy.drops import DELIVERED

_Metrics = Mapping[str, int | str]  # as Found has them


def as_json(found: Found) -> dict[str, Any]:
    """Keys other than public ones are left out; of a daemon that is not ours, the counters."""
    state, metrics = found.state, found.metrics
    if found.error is not None:
        return {"error": found.error}
    return {
        **{k: v for k, v in metrics.items() if "_" not in k},
        "not_listening": not_listening(metrics),
        "public_key": public_key(state), "listen_port": state.listen_port, "fwmark": state.fwmark,
        "peers": {to_base64(p.public_key): _peer_json(p) for p in state.peers},
        "drops": _part(metrics, "drop_"), "rejects": _part(metrics, "reject_"),
        "log_lost": metrics.get("log_lost"),
        "events": _part(metrics, "event_"), "alarms": _part(metrics, "alarm_"),
        "tun": _part(metrics, "tun_"), "udp": _part(metrics, "udp_"),
    }


def not_listening(metrics: _Metrics) -> str | None:
    """Why the tunnel has no sockets; None while it has, and for a daemon that is not ours."""
    return None if metrics.get("up", 1) else str(metrics.get("not_listening", "the interface is down"))


def public_key(state: DeviceState) -> str | None:
    """In base64; None without a private key."""
    if state.suite is not None:
        return to_base64(state.suite.public_key) if state.suite.public_key is not None else None
    if state.private_key == NO_KEY:
        return None
    from wgpy.suite.wireguard import public
    return to_base64(public(state.private_key))


def _peer_json(p: PeerState) -> dict[str, Any]:
    return {
        "preshared_key": p.preshared_key != NO_KEY,
        "endpoint": endpoint_text(p.endpoint) if p.endpoint else None,
        "allowed_ips": [prefix_text(a) for a in p.allowed_ips],
        "latest_handshake": p.last_handshake / 1e9 if p.last_handshake else None,
        "rx_bytes": p.rx_bytes, "tx_bytes": p.tx_bytes, "persistent_keepalive": p.keepalive,
    }


def _part(metrics: _Metrics, start: str) -> dict[str, int | str]:
    return {k.removeprefix(start): v for k, v in metrics.items() if k.startswith(start)}


def lines(name: str, found: Found, now: float | None = None) -> Iterator[tuple[int, str, str]]:
    """(indent, label, value) for a person."""
    state, metrics = found.state, found.metrics
    yield 0, "interface", name
    if found.error is not None:
        yield 1, "unknown", found.error
        return
    if key := public_key(state):
        yield 1, "public key", key
    if reason := not_listening(metrics):
        yield 1, "not listening", reason
    elif state.listen_port:
        yield 1, "listening port", str(state.listen_port)
    if state.fwmark:
        yield 1, "fwmark", f"{state.fwmark:#x}"
    if state.suite is not None:
        yield 1, "suite", state.suite.name
    if metrics:
        yield 1, "data path", f"{metrics['aead']}, {metrics['queues']} thread(s) a direction, MTU {metrics['mtu']}"
    drops = _part(metrics, "drop_")
    for label, counters in (("dropped", {k: v for k, v in drops.items() if k not in DELIVERED}),
                            ("delivered with a loss", {k: v for k, v in drops.items() if k in DELIVERED}),
                            ("rejected handshakes", _part(metrics, "reject_"))):
        counts = [f"{k.replace('_', ' ')} {v}" for k, v in counters.items() if v]
        if counts:
            yield 1, label, ", ".join(counts)
    for alarm in ("flood", "under_load"):
        if times := metrics.get(f"event_{alarm}"):
            yield 1, alarm.replace("_", " "), f"{times} times{', now' if metrics.get(f'alarm_{alarm}') else ''}"
    if lost := metrics.get("log_lost"):
        yield 1, "log", f"{lost} lines did not reach the log daemon"
    for p in sorted(state.peers, key=lambda p: -p.last_handshake):
        yield from _peer_lines(p, time.time() if now is None else now)


def _peer_lines(p: PeerState, now: float) -> Iterator[tuple[int, str, str]]:
    yield 0, "", ""
    yield 0, "peer", to_base64(p.public_key)
    if p.preshared_key != NO_KEY:
        yield 1, "preshared key", "(hidden)"
    if p.endpoint:
        yield 1, "endpoint", endpoint_text(p.endpoint)
    yield 1, "allowed ips", ", ".join(prefix_text(a) for a in p.allowed_ips) or "(none)"
    if p.last_handshake:
        yield 1, "latest handshake", f"{duration(now - p.last_handshake / 1e9)} ago"
    if p.rx_bytes or p.tx_bytes:
        yield 1, "transfer", f"{size(p.rx_bytes)} received, {size(p.tx_bytes)} sent"
    if p.keepalive:
        yield 1, "persistent keepalive", f"every {duration(p.keepalive)}"


def duration(seconds: float) -> str:
    """The two largest units."""
    rest, out = max(0, int(seconds)), []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if rest >= length:
            out.append(f"{rest // length} {unit}")
            rest %= length
    return " ".join(out[:2]) or "0 s"


def size(octets: float) -> str:
    """Octets for a person, in units of 1024, as wg(8) shows them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if octets < 1024:
            return f"{octets:.0f} B" if unit == "B" else f"{octets:.2f} {unit}"
        octets /= 1024
    return f"{octets:.2f} TiB"
