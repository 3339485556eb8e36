"""What an administrator may know of the peers: plain data, no secrets."""

from collections.abc import Iterator

from wgpy.config.model import NO_KEY, HostPort
from wgpy.config.site_model import Peer, Site
from wgpy.config.values import endpoint_text, to_base64
from wgpy.crypto.engine import Engine, Inspected
from wgpy.protocol import tai64n
from wgpy.protocol.timers import Instant

PART = 48  # peers in one message to the supervisor: 48 KiB with the longest names and numbers


def peers(engine: Engine, site: Site, now: Instant) -> list[dict[str, object]]:
    """Of each peer, named as in the site file. `handshake` is wall
    time in seconds, 0 for never; counts are since the peer was added. In seconds, 0 for not at all:
    `stamps_back`, by which the peer's time stamps went back, `stamps_ahead`, by which the
    greatest of them is ahead of our clock."""
    names = {p.public_key: p for p in site.peers}
    return [_peer(facts, names.get(facts.peer.public_key), now) for facts in engine.inspect()]


def _peer(facts: Inspected, site: Peer | None, now: Instant) -> dict[str, object]:
    peer, stats, endpoint, sessions, events = facts
    return {
        "name": site.name if site else "", "public_key": to_base64(peer.public_key),
        "endpoint": endpoint_text(HostPort(endpoint.address, endpoint.port)) if endpoint else "",
        "networks": [str(n) for n in site.networks[:4]] if site else [],
        "psk": peer.preshared_key != NO_KEY, "keepalive": peer.keepalive,
        "handshake": peer.last_handshake // 10**9, "sessions": len(sessions),
        "stamps_back": peer.stamps_back, "stamps_ahead": max(
            0, (tai64n.decode(peer.greatest_timestamp) - now.wall) // 10**9),
        "state": peer.state.name.lower(), "tries": peer.tries, "cookie": peer.cookies.is_fresh(now.mono),
        "rx_bytes": stats.rx_bytes, "tx_bytes": stats.tx_bytes, "rx_packets": stats.rx_packets,
        "tx_packets": stats.tx_packets, "staged": stats.staged, "events": dict(events),
    }


def parts(listed: list[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    """So many as fit into one message to the supervisor; nothing for no peers."""
    for at in range(0, len(listed), PART):
        yield listed[at:at + PART]
