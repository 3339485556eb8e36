"""What a node could not get of its host, for people."""

from typing import Any, NamedTuple

TAKEN_BUT = "taken over, but "  # begins what is said of a changed site file that holds, and of which something failed


class Fault(NamedTuple):
    """What a room could not get of its host. `needed`: without it a node does not come up."""
    room: str
    line: str
    reason: str
    needed: bool

    def __str__(self) -> str:
        return f"{self.room}: {self.line}: {self.reason}"


def not_configured(document: dict[str, Any]) -> list[str]:
    """Of a status document: one text for each line that failed, with the reason."""
    return [f"{fault['room']}: {fault['line']}: {fault['reason']}" for fault in document.get("not_configured") or []]


def in_short(document: dict[str, Any]) -> str:
    """The first of them, and how many more there are; empty when there is none."""
    found = not_configured(document)
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"not configured: {found[0]}{more}" if found else ""
