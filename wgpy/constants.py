"""Protocol constants (WireGuard paper, section 6; messages.h of the Linux module).

Times are integer nanoseconds, sizes bytes.
"""

from typing import NamedTuple

SECOND = 1_000_000_000
MILLISECOND = 1_000_000

REKEY_AFTER_TIME = 120 * SECOND
REJECT_AFTER_TIME = 180 * SECOND
REKEY_TIMEOUT = 5 * SECOND
REKEY_TIMEOUT_JITTER = 334 * MILLISECOND
REKEY_ATTEMPT_TIME = 90 * SECOND
KEEPALIVE_TIMEOUT = 10 * SECOND
REKEY_AFTER_MESSAGES = 2**60
REJECT_AFTER_MESSAGES = 2**64 - 2**13 - 1
WIPE_AFTER_TIME = 3 * REJECT_AFTER_TIME
COOKIE_SECRET_LIFETIME = 120 * SECOND
COOKIE_LATENCY = 5 * SECOND
MIN_INITIATION_INTERVAL = 20 * MILLISECOND

# Admission of handshake messages; the same values as in _fast/c/plane/admission.h.
HANDSHAKE_QUEUE_UNDER_LOAD = 512
UNDER_LOAD_HOLD = 5 * SECOND
UNDER_LOAD_RATE = 50            # unproven messages a second above which load goes on
ANSWERS = 4                     # responses to one initiation that need no cookie
COOKIE_REPLIES_PER_SECOND = 100
COOKIE_REPLIES_BURST = 50

INITIATION_SIZE = 148
RESPONSE_SIZE = 92
COOKIE_REPLY_SIZE = 64
TRANSPORT_OVERHEAD = 32
UDP_OVER_IPV6, UDP_OVER_IPV4 = 48, 28  # bytes of headers


class Lengths(NamedTuple):
    """Bytes of whole messages, and of a transport message beside its padded payload: what follows
    from a suite's sizes, for those that know no cipher."""
    initiation: int
    response: int
    cookie_reply: int
    overhead: int


LENGTHS = Lengths(INITIATION_SIZE, RESPONSE_SIZE, COOKIE_REPLY_SIZE, TRANSPORT_OVERHEAD)

STAGED_PACKETS = 128
PLANE_PEERS = 1024                # of a plane, if nobody says otherwise
PLANE_PREFIXES = 131072           # allowed IPs of all of them
DEFAULT_MTU = 1420
HANDSHAKE_TOS = 0x88
