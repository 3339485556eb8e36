"""Why packets were dropped: the names come from _fast/c/core/drops.h, the single source."""

from wgpy._fast.ports import DROP_TEXTS

REASONS: tuple[str, ...] = tuple(DROP_TEXTS)
DELIVERED = frozenset({"ecn_lost"})  # counted with the drops, yet the packets came through


def add(*counters: dict[str, int]) -> dict[str, int]:
    """Sums counters by reason; every reason is present, in the order of drops.h."""
    return {reason: sum(c.get(reason, 0) for c in counters) for reason in REASONS}


def explain(reason: str) -> str:
    """One line for a person. KeyError for a reason that does not exist."""
    return DROP_TEXTS[reason]
