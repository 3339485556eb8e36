"""A node's status as Prometheus text (exposition format 0.0.4). What a label may say is
a fixed list or the name of a site, so that a room that was taken over cannot make up
time series."""

from collections.abc import Iterable, Iterator
from typing import Any

from wgpy import drops
from wgpy.constants import PLANE_PEERS
from wgpy.events import Kind, Reject

ROOMS = ("black", "crypto", "red")
FAULT_ROOMS = ("black", "host", "red", "supervisor")  # where a host's refusals belong to
PORTS = frozenset({"tun", "udp", "to_crypto", "from_crypto", "from_red", "to_black", "from_black", "to_red"})
RING_EVENTS = ("attaches", "waits", "kicks", "bad_index", "bad_record")

Labels = dict[str, str]
Samples = Iterable[tuple[Labels, int | float | None]]


def text(document: dict[str, Any]) -> str:
    """Of a status document (status.json). What is missing or no number is left out."""
    out: list[str] = []
    for name, kind, about, samples in _families(document):
        lines = [f"wgpy_{name}{_labels(labels)} {value}" for labels, value in samples if _is_number(value)]
        if lines:
            out += [f"# HELP wgpy_{name} {about}", f"# TYPE wgpy_{name} {kind}", *lines]
    return "\n".join(out) + "\n" if out else ""


def _families(document: dict[str, Any]) -> Iterator[tuple[str, str, str, Samples]]:
    rooms = [(r, _at(document, "rooms", r)) for r in ROOMS if _at(document, "rooms", r)]
    statuses = [(r, _at(facts, "status")) for r, facts in rooms]
    engine = _at(document, "rooms", "crypto", "status", "engine")
    node = {"node": str(document.get("node", "")), "mode": str(document.get("mode", ""))}
    yield "up", "gauge", "All rooms run and the firewalls are in place.", [(node, int(bool(document.get("up"))))]
    listed = document.get("not_configured")
    if isinstance(listed, list):
        rooms_of = [f.get("room") for f in listed if isinstance(f, dict)]
        yield ("not_configured", "gauge", "Addresses, routes, neighbours and the like that the host refuses.",
               [({"room": r}, rooms_of.count(r)) for r in FAULT_ROOMS])
    yield "room_up", "gauge", "The room runs.", [({"room": r}, int(f.get("state") == "ready")) for r, f in rooms]
    yield ("room_restarts_total", "counter", "Restarts of the room by the supervisor.",
           [({"room": r}, f.get("restarts")) for r, f in rooms])
    for unit in ("packets", "bytes"):
        yield (f"port_{unit}_total", "counter", f"{unit.title()} through a port, by direction.",
               [(labels | {"direction": way}, port.get(f"{unit}_{way}"))
                for labels, port in _ports(statuses) for way in ("in", "out")])
    yield ("ring_events_total", "counter", "Attachments, waits, doorbells and bad values of a ring's end.",
           [(labels | {"event": e}, port.get(e)) for labels, port in _ports(statuses) for e in RING_EVENTS])
    yield ("drops_total", "counter", "Dropped packets by reason; ecn_lost: delivered without the mark.",
           [({"room": r, "reason": reason}, _at(s, "drops").get(reason)) for r, s in statuses for reason in drops.REASONS])
    yield from _handshakes(engine)
    for alarm, total, about in (("flood", "floods", "Datagrams are refused faster than a threshold now."),
                                ("under_load", "under_load", "Handshakes need a cookie now.")):
        if facts := _at(document, "alarms", alarm):
            yield alarm, "gauge", about, [({}, int(bool(facts.get("active"))))]
            yield f"{total}_total", "counter", "How often that began.", [({}, facts.get("count"))]
    yield from _peers(_at(document, "rooms", "crypto", "status").get("peers"))
    yield ("firewall_packets_total", "counter", "Packets that a named counter of a firewall saw.",
           [({"room": r, "counter": c}, n) for r in ("black", "red")
            for c, n in list(_at(document, "firewall", r).items())[:32]])


def _handshakes(engine: dict[str, Any]) -> Iterator[tuple[str, str, str, Samples]]:
    yield ("handshake_events_total", "counter", "What happened with handshakes.",
           [({"event": e}, engine.get(f"event_{e}")) for e in Kind])
    yield ("handshake_rejects_total", "counter", "Handshake messages refused, by reason.",
           [({"reason": r}, engine.get(f"reject_{r}")) for r in Reject])
    yield "peers", "gauge", "Configured peers.", [({}, engine.get("peers"))]


def _peers(peers: object) -> Iterator[tuple[str, str, str, Samples]]:
    """Peers that no site file names share one time series."""
    by_name: dict[str, dict[str, int]] = {}
    for peer in (peers if isinstance(peers, list) else [])[:PLANE_PEERS]:
        if isinstance(peer, dict):
            mine = by_name.setdefault(str(peer.get("name", ""))[:64] or "other", {})
            events = _at(peer, "events")
            facts = peer | {"complete": events.get(Kind.HANDSHAKE_COMPLETE), "initiations": events.get("initiations")}
            for key, value in facts.items():
                if _is_number(value):
                    mine[key] = max(mine.get(key, 0), value) if key == "handshake" else mine.get(key, 0) + value
    for name, kind, about, key in (
            ("peer_last_handshake_seconds", "gauge", "When the last handshake was complete, since 1970.", "handshake"),
            ("peer_sessions", "gauge", "Sessions whose keys are held.", "sessions"),
            ("peer_staged_packets", "gauge", "Packets that wait for a session.", "staged"),
            ("peer_receive_bytes_total", "counter", "Bytes received in datagrams.", "rx_bytes"),
            ("peer_transmit_bytes_total", "counter", "Bytes sent in datagrams.", "tx_bytes"),
            ("peer_initiations_total", "counter", "Handshake initiations sent.", "initiations"),
            ("peer_handshakes_total", "counter", "Handshakes completed.", "complete")):
        yield name, kind, about, [({"site": site}, facts.get(key)) for site, facts in by_name.items()]


def _ports(statuses: list[tuple[str, dict[str, Any]]]) -> Iterator[tuple[Labels, dict[str, Any]]]:
    for room, status in statuses:
        for name, port in _at(status, "ports").items():
            if name in PORTS and isinstance(port, dict):
                yield {"room": room, "port": name}, port


def _at(value: Any, *path: str) -> dict[str, Any]:
    """The object at a path, or an empty one: rooms are not trusted to have any form."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _labels(labels: Labels) -> str:
    return "{" + ",".join(f'{k}="{_escape(v)}"' for k, v in labels.items()) + "}" if labels else ""


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
