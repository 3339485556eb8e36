"""What programs are told by WGPY_* variables of their environment."""

import os

from wgpy.config.values import number, quoted
from wgpy.errors import HostError

MAX_QUEUES = 16
MAX_PEERS = 16384  # memory grows with those that are there


def queues() -> int:
    """Threads that seal and threads that open: WGPY_QUEUES, or together one a core.
    Raises HostError."""
    text = os.environ.get("WGPY_QUEUES", "")
    if text:
        return whole_number("WGPY_QUEUES", text, 1, MAX_QUEUES)
    return min(MAX_QUEUES, max(1, len(os.sched_getaffinity(0)) // 2))


def discovery() -> bool:
    """WGPY_PATH_MTU: "discover" believes ICMP about the path, "fixed" (the default) does
    not. Raises HostError."""
    text = os.environ.get("WGPY_PATH_MTU") or "fixed"
    if text not in ("fixed", "discover"):
        raise HostError(f"WGPY_PATH_MTU: {quoted(text)} is neither fixed nor discover")
    return text == "discover"


def max_peers() -> int:
    """WGPY_MAX_PEERS, or as many as are taken without it. Raises HostError."""
    text = os.environ.get("WGPY_MAX_PEERS", "")
    return whole_number("WGPY_MAX_PEERS", text, 1, 1 << 20) if text else MAX_PEERS


def whole_number(variable: str, text: str, low: int, high: int) -> int:
    """Raises HostError that names the variable."""
    try:
        return number(text, low, high)
    except ValueError as e:
        raise HostError(f"{variable}: {e}") from None
