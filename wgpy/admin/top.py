"""One frame of `wgpy node top`: rooms, rings and peers from a status document, rates from it
and the one before. Pure; made of rich's tables."""

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from wgpy.admin.faults import not_configured
from wgpy.drops import DELIVERED

_ORDER = ("red", "crypto", "black")
_RINGS = (("red → crypto", "red", "to_crypto", "crypto", "from_red"), ("crypto → black", "crypto", "to_black", "black", "from_crypto"),
          ("black → crypto", "black", "to_crypto", "crypto", "from_black"), ("crypto → red", "crypto", "to_red", "red", "from_crypto"))
MAX_PEERS, MAX_FAULTS = 40, 5


class Frame:
    """`seconds`: between the two documents; without `before` rates are not shown."""

    def __init__(self, document: dict[str, Any], before: dict[str, Any] | None = None, seconds: float = 0.0, *, now: float):
        self._document, self._before, self._seconds, self._now = document, before or {}, seconds, now

    def render(self) -> Group:
        """For rich.live; what a document lacks is shown as "-"."""
        d = self._document
        engine = _get(d, "rooms", "crypto", "status", "engine") or {}
        loaded = _get(d, "alarms", "under_load", "active")
        head = Text.assemble((str(d.get("node", "?")), "bold"), f"  {d.get('mode', '')}  ",
                             ("up", "green") if d.get("up") else ("not up", "bold red"),
                             f"  suite {engine.get('suite', '-')}  aead {engine.get('aead', '-')}",
                             ("  UNDER LOAD", "bold red") if loaded else "",
                             ("  FLOOD", "bold red") if _get(d, "alarms", "flood", "active") else "",
                             *((f"  no interface {link}", "red") for link in d.get("missing") or []),
                             *((f"\nnot configured: {fault}", "red") for fault in not_configured(d)[:MAX_FAULTS]))
        return Group(head, self._rooms(), self._rings(), self._peers(), self._drops())

    def _rooms(self) -> Table:
        table = _table("room", "state", "pid", "restarts", "port", "in", "out")
        for room in _ORDER:
            facts = _get(self._document, "rooms", room) or {}
            state = str(facts.get("state", "-"))
            port = {"red": "tun", "black": "udp"}.get(room, "")
            path = ("rooms", room, "status", "ports", port)
            table.add_row(room, Text(state, "green" if state == "ready" else "bold red"), str(facts.get("pid", "-")),
                          str(facts.get("restarts", "-")), port, *(self._bits(*path, f"bytes_{way}") if port else ""
                                                                        for way in ("in", "out")))
        return table

    def _rings(self) -> Table:
        table = _table("ring", "packets/s", "bits/s", "packets in", "not taken", "full")
        for label, producer, sink, consumer, source in _RINGS:
            out, into = ("rooms", producer, "status", "ports", sink), ("rooms", consumer, "status", "ports", source)
            sent, taken = (_get(self._document, *out, "packets_out") or 0), (_get(self._document, *into, "packets_in") or 0)
            full = _get(self._document, "rooms", producer, "status", "drops", "queue_full") or 0
            table.add_row(label, self._rate(*into, "packets_in"), self._bits(*into, "bytes_in"), str(taken),
                          str(max(0, sent - taken)), str(full))
        return table

    def _peers(self) -> Table:
        peers = _get(self._document, "rooms", "crypto", "status", "peers") or []
        old = {p.get("public_key"): p for p in _get(self._before, "rooms", "crypto", "status", "peers") or []}
        table = _table("site", "endpoint", "handshake", "in", "out", "waiting", "state")
        for p in sorted(peers, key=lambda p: -p.get("handshake", 0))[:MAX_PEERS]:
            was, age = old.get(p.get("public_key"), {}), self._now - p.get("handshake", 0)
            alive = age < 180 and p.get("sessions")
            state = "up" if alive else "begins" if p.get("state") != "idle" else "quiet"
            table.add_row(str(p.get("name") or p.get("public_key", "?")[:8]), str(p.get("endpoint") or "-"),
                          f"{int(age)} s" if p.get("handshake") else "never",
                          *(self._speed(8 * (p.get(k, 0) - was.get(k, 0))) if was else "-" for k in ("rx_bytes", "tx_bytes")),
                          str(p.get("staged", 0)), Text(state, {"up": "green", "begins": "yellow"}.get(state, "dim")))
        if len(peers) > MAX_PEERS:
            table.add_row(f"… {len(peers) - MAX_PEERS} more", *[""] * 6)
        return table

    def _drops(self) -> Table:
        table = _table("dropped in", "reason", "packets", "packets/s")
        for room in _ORDER:
            for reason, n in (_get(self._document, "rooms", room, "status", "drops") or {}).items():
                label = reason.replace("_", " ") + (" (delivered)" if reason in DELIVERED else "")
                table.add_row(room, label, str(n), self._rate("rooms", room, "status", "drops", reason))
            for counter, n in (_get(self._document, "firewall", room) or {}).items():
                if n:
                    table.add_row(f"{room} firewall", counter.replace("_", " "), str(n), self._rate("firewall", room, counter))
        return table

    def _difference(self, *path: str) -> int | None:
        new, old = _get(self._document, *path), _get(self._before, *path)
        return None if self._seconds <= 0 or new is None else new - (old or 0)

    def _rate(self, *path: str) -> str:
        n = self._difference(*path)
        return "-" if n is None or not self._before else f"{max(0, n) / self._seconds:.0f}"

    def _bits(self, *path: str) -> str:
        n = self._difference(*path)
        return "-" if n is None or not self._before else self._speed(8 * n)

    def _speed(self, bits: int) -> str:
        if self._seconds <= 0:
            return "-"
        rate = max(0, bits) / self._seconds
        for unit in ("bit/s", "kbit/s", "Mbit/s"):
            if rate < 1000:
                return f"{rate:.0f} {unit}" if unit == "bit/s" else f"{rate:.1f} {unit}"
            rate /= 1000
        return f"{rate:.2f} Gbit/s"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < 2 else "right", no_wrap=True)
    return table


def _get(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
