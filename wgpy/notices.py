"""The vocabulary between the data plane and whoever drives it: notice bits and plain
records. Times are integer nanoseconds of CLOCK_BOOTTIME, 0 means never."""

from typing import NamedTuple

# Bits of a notice; the same values as in _fast/c/plane/plane.h.
KEY_NEEDED = 1       # a packet waits and there is no usable keypair
CONFIRMED = 2        # the next keypair became current: its first packet was authenticated
REKEY_SEND = 4       # sent with a keypair past rekey-after-time (initiator) or -messages
REKEY_RECEIVE = 8    # received with a keypair past 165 s (initiator), once a keypair
DATA_SENT = 16       # data sent and nothing heard since; see Activity.unanswered_since
DATA_RECEIVED = 32   # data received and nothing sent since; see unacknowledged_since
ROAMED = 64          # an authenticated packet came from a new endpoint


class Notice(NamedTuple):
    """Of one peer, since the last one."""
    slot: int
    bits: int
    promoted: int | None = None   # with CONFIRMED: the local index of the keypair that became current


class Endpoint(NamedTuple):
    """Address and UDP port of a peer, and the local address to answer it from."""
    address: str      # numeric, no brackets; %scope for link-local IPv6
    port: int
    source: str = ""  # the sticky source: where the peer's last packet arrived; "" unknown
    ifindex: int = 0


class Activity(NamedTuple):
    """What a peer's timers need to know, read from the plane when a deadline comes."""
    unanswered_since: int = 0     # first data packet sent since anything was received
    unacknowledged_since: int = 0  # first data packet received since anything was sent
    last_data_received: int = 0
    last_received: int = 0        # any authenticated transport packet
    last_sent: int = 0            # any transport packet, keepalives too


class PeerStats(NamedTuple):
    """What a peer has cost and brought since it was added."""
    rx_bytes: int     # whole datagrams, headers included, as `wg show` counts
    tx_bytes: int
    rx_packets: int
    tx_packets: int
    staged: int       # packets waiting now
