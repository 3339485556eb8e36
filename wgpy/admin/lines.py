"""What of a node is told in lines, for people: wherever it is asked for, the words are the same."""

from collections.abc import Iterator
from typing import Any

from wgpy.admin.faults import not_configured
from wgpy.admin.why import Finding

FULL = 1 << 14  # bytes free on a disk that can hardly take an entry any more


def sites(facts: dict[str, Any]) -> str:
    """How many of them have a session. `facts`: a status document."""
    peers = facts["rooms"].get("crypto", {}).get("status", {}).get("peers", [])
    return f"{sum(bool(p.get('sessions')) for p in peers)} of {len(peers)} sites"


def of_node(facts: dict[str, Any]) -> Iterator[str]:
    """Of a status document."""
    yield f"{facts['node']}: {'up' if facts['up'] else 'not up'}, {facts['mode']}, supervisor {facts['pid']}, {sites(facts)}"
    for alarm, f in facts.get("alarms", {}).items():
        if f["count"]:
            yield f"  {alarm.replace('_', ' ')}: {f['count']} times{', now' if f['active'] else ''}"
    if suite := facts["rooms"].get("crypto", {}).get("status", {}).get("engine", {}).get("suite"):
        yield f"  suite: {suite}"
    for room, f in facts["rooms"].items():
        yield f"  {room}: {f['state']}, process {f['pid']}, restarts {f['restarts']}"
    for fault in not_configured(facts):
        yield f"  not configured: {fault}"
    for link in facts["missing"]:
        yield f"  {link}: no such interface yet"
    if error := facts.get("audit"):
        yield f"  the audit trail cannot be written, so changes are refused: {error}"


    if facts.get("asking"):
        yield "  crypto asks for the passphrase: unlock"
    if "disk" in facts:
        yield f"  {_of_disk(facts['disk'])}"


def _of_disk(disk: dict[str, Any] | None) -> str:
    """Of a guest's; None: it has none."""
    if disk is None:
        return "no disk: the audit trail and a changed site file end with this guest, the key store cannot be changed"
    if "error" in disk:
        return f"disk: {disk['error']}"
    return f"disk: {disk['free'] >> 10} of {disk['bytes'] >> 10} KiB free" + (
        ": full: what cannot be written down is refused" if disk["free"] < FULL else "")


def of_finding(found: Finding) -> Iterator[str]:
    """Cause and text, evidence, remedy."""
    yield f"{found.cause}: {found.text}"
    for name, value in found.evidence:
        yield f"    {name}: {value}"
    yield f"  → {found.remedy}"
