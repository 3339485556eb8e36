"""Routing loops: where the host's route to a peer's endpoint leads into the tunnel, what we
send comes back out of the TUN. The executable specification of wgpy/_fast/c/plane/loop.c."""

import ipaddress
from collections.abc import Mapping

from wgpy.constants import SECOND
from wgpy.notices import Endpoint
from wgpy.protocol import inner
from wgpy.protocol.messages import INITIATION, RESPONSE, TRANSPORT
from wgpy.protocol.plane_peer import PlanePeer

VIA_LASTS = SECOND  # ns that a path through another peer, seen in the TUN, is believed
MOST_HOPS = 16


def closes(packet: bytes, peers: Mapping[int, PlanePeer], owner: int | None, now: int) -> bool:
    """Whether a well-formed packet from the TUN, whose destination is among the allowed IPs of
    `owner`, is a message of ours that comes for the second time to the peer it is for. A peer
    that is reached through another peer closes no loop."""
    slot = _sent_to(packet, peers)
    if slot is None:
        return False
    if owner is None:
        return True
    hop: int | None = owner
    for _ in range(MOST_HOPS + 1):
        if hop == slot:
            return True
        via = None if hop is None or hop not in peers else peers[hop].via
        if via is None or via[1] + VIA_LASTS <= now:
            peers[slot].via = owner, now
            return False
        hop = via[0]
    return True


def _sent_to(packet: bytes, peers: Mapping[int, PlanePeer]) -> int | None:
    """The peer that the message in the packet was sent to; None when it is not ours."""
    found = inner.udp(packet)
    if found is None or len(found.payload) < 8:
        return None
    kind, index = found.payload[:4], int.from_bytes(found.payload[4:8], "little")
    for slot, peer in peers.items():
        if kind == TRANSPORT:
            ours = any(k.remote == index for k in peer.keys.live())
        elif kind in (INITIATION, RESPONSE):
            ours = peer.awaited == index or any(k.local == index for k in peer.keys.live())
        else:
            ours = False
        if ours and peer.endpoint and _place(peer.endpoint) == (found.destination, found.port):
            return slot
    return None


def _place(endpoint: Endpoint) -> tuple[bytes, int]:
    return ipaddress.ip_address(endpoint.address.partition("%")[0]).packed, endpoint.port
