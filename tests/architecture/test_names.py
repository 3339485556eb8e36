"""What documents call a drop, an event, a reason or a counter is called so in the code: one
that was renamed there, or is mistyped here, fails."""

import re
from functools import cache
from pathlib import Path

import pytest

from wgpy import drops
from wgpy.admin import alarm
from wgpy.events import Kind, Reject, of_peer

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
WORDS = {*drops.REASONS, *map(str, (*Kind, *Reject)), *(of_peer(Kind.REJECTED, r) for r in Reject)}
OF_OTHERS = {"handle_softirqs"}  # names of the kernel's
METRIC = re.compile(r"^wgpy_|_total$")


@cache
def in_code() -> frozenset[str]:
    """Every word of the package's sources. Of what the firewall counts, names are in its rules."""
    text = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "wgpy").rglob("*")
                   if p.suffix in {".py", ".pyx", ".pxi", ".c", ".h"})
    return frozenset(re.findall(r"\w+", text))


@cache
def counted() -> frozenset[str]:
    return frozenset(WORDS) | set(re.findall(r"\w+", (ROOT / "wgpy/firewall/rules.py").read_text(encoding="utf-8")))


def strange(text: str) -> list[str]:
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    told = re.findall(r"\b(?:counted|dropped|refused|shown)\s+as\s+`([a-z]\w*)`", text)
    quoted = re.findall(r"`([a-z]\w*_\w*[a-z0-9])(?:\{[^}`]*\})?`", text)
    hyphens = [w for w in re.findall(r"`([a-z]+(?:-[a-z]+)+)`", text) if w.replace("-", "_") in WORDS]
    return hyphens + [w for w in told if w not in counted() and "_" in w] + [
        w for w in quoted if not {w, METRIC.sub("", METRIC.sub("", w))} & (in_code() | WORDS | OF_OTHERS)
        and w.removeprefix("drop_").removeprefix("reject_").removeprefix("event_") not in WORDS]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_a_document_uses_the_names_of_the_code(path):
    assert strange(path.read_text(encoding="utf-8")) == []


def test_the_search_finds_strange_names():
    assert strange("dropped as `routing_lop`, `no-endpoint`, `reject_cookie_invalit`") == [
        "no-endpoint", "routing_lop", "routing_lop", "reject_cookie_invalit"]
    assert strange("counted\nas `add_peer`") == ["add_peer"]  # a name, and none of a counter
    assert not strange("`reject_zero_dh`, `drop_peer_share`, counted as `routing_loop`\n```\nno_such_name\n```\n")


def test_what_makes_a_flood_are_drops():
    assert alarm.REFUSED <= set(drops.REASONS)
