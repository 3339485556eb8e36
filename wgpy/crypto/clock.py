"""The one place where the control side reads clocks."""

import time

from wgpy.protocol.timers import Instant


def now() -> Instant:
    """CLOCK_BOOTTIME (which counts suspend) and wall time, in ns."""
    return Instant(time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())
