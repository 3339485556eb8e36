"""The table of attacks, for a terminal and for a document."""

from pathlib import Path

from wgpy.errors import HostError
from wgpy.lab.attack import KINDS, OF_A_PEER, Cell

BEGIN, END = "<!-- attacks -->\n", "<!-- end -->"
_HEAD = ("attack", "session", "target", "packets/s", "handshake, s", "TCP kept", "Mbit/s: idle, dropped, kept",
         "ping p50, p99, ms", "alarm, s", "memory, MB", "crashes")


def table(cells: list[Cell]) -> str:
    """Markdown, a row a cell, the same attack on one target after the other."""
    order = list(KINDS)
    rows = [_row(c) for c in sorted(cells, key=lambda c: (c.session != "none", order.index(c.kind)))]
    width = [max(len(r[i]) for r in (_HEAD, *rows)) for i in range(len(_HEAD))]
    lines = ["| " + " | ".join(t.ljust(w) for t, w in zip(r, width, strict=True)) + " |" for r in (_HEAD, *rows)]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in width) + "|")
    return "\n".join(lines)


def _row(c: Cell) -> tuple[str, ...]:
    if c.error:
        return (c.kind, c.session, c.implementation, c.error.splitlines()[0][:80], *[""] * (len(_HEAD) - 4))
    handshake = f"none in {c.waited:g}" if c.handshake is None else f"{c.handshake:.2f}"
    kept = bits = pings = ""
    if c.kept is not None:
        kept = f"{c.kept:.0%}"
        bits = ", ".join(f"{b / 1e6:,.0f}" for b in (c.idle_bits, c.dropped_bits, c.bits))
    if c.ping_p50 is not None:
        pings = f"{c.ping_p50:.2f}, {c.ping_p99:.1f}" + (f", {c.pings_lost:.0%} lost" if c.pings_lost else "")
    elif c.pings_lost:
        pings = "all lost"
    return (c.kind, c.session, c.implementation, f"{c.rate:,.0f}", handshake, kept, bits, pings, _alarm(c),
            f"{c.memory / 1e6:+.1f}", str(c.crashes))


def _alarm(c: Cell) -> str:
    if c.alarmed is None or c.kind in OF_A_PEER:
        return ""
    return f"{c.alarm:.2f}" if c.alarmed else "none"


def embed(document: str, text: str) -> None:
    """Puts the text between the markers of a document; HostError when it has none."""
    path = Path(document)
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise HostError(f"{document} has no place for the table: lines {BEGIN.strip()} and {END}")
    path.write_text(f"{before}{BEGIN}{text}\n{END}{tail}")
