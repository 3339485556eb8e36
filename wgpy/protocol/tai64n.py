"""TAI64N timestamps of initiations (paper, section 5.4.2).

They need not be true, only greater each time for the peer that receives them. So a
stamp is the wall clock or one quantum more than the last stamp, whichever is later:
a clock that steps back, or a node that lost its clock with the power and was told the
floor it had reached before, still makes stamps that its peers accept. This is also
what answers CVE-2021-46873: after a clock was far ahead once, later stamps go on from
there instead of staying behind it for years.
"""

from wgpy.constants import SECOND

BASE = 0x400000000000000A
SIZE = 12
ZERO = bytes(SIZE)
QUANTUM = 1 << 24  # ns; the low 24 bits are masked, as the Linux module whitens them


def whiten(wall: int) -> int:
    """Wall time in ns with a resolution that tells nobody much about the clock."""
    seconds, nanoseconds = divmod(wall, SECOND)
    return seconds * SECOND + (nanoseconds & -QUANTUM)


def after(wall: int, *earlier: int) -> int:
    """The whitened wall time to stamp now, greater than each whitened time before."""
    return whiten(max((wall, *(e + QUANTUM for e in earlier))))


def encode(wall: int) -> bytes:
    """12 bytes that sort as the times do, for ns since 1970 (0 to 2^62 s)."""
    seconds, nanoseconds = divmod(wall, SECOND)
    return (BASE + seconds).to_bytes(8, "big") + nanoseconds.to_bytes(4, "big")


def decode(stamp: bytes) -> int:
    """The reverse of encode; may be negative for what is no sensible stamp."""
    return ((int.from_bytes(stamp[:8], "big") - BASE) * SECOND
            + int.from_bytes(stamp[8:], "big"))
