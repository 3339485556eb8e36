"""What the plane in pure Python keeps of a peer."""

from collections import deque

from wgpy.notices import Endpoint
from wgpy.protocol.keypairs import Keypairs


class PlanePeer:
    """`armed` are the notice bits that were raised and not rearmed, `wants` what pull() is to
    do, `asked` when a key was last asked for, `awaited` the index whose response is let in.
    Times are ns of CLOCK_BOOTTIME, 0 or None never."""

    def __init__(self) -> None:
        self.keys = Keypairs()
        self.promoted: int | None = None
        self.endpoint: Endpoint | None = None
        self.via: tuple[int, int] | None = None  # slot and time, see wgpy.protocol.loops
        self.staged: deque[bytes] = deque()
        self.armed = 0
        self.wants = 0
        self.asked: int | None = None
        self.awaited: int | None = None
        self.answers = 0
        self.unanswered_since = self.unacknowledged_since = 0
        self.last_data_received = self.last_received = self.last_sent = 0
        self.rx_bytes = self.tx_bytes = self.rx_packets = self.tx_packets = 0
