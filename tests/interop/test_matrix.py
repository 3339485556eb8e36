"""TCP, UDP and ping both ways against every peer, role, outside, PSK and MTU (F7)."""

from itertools import product

import pytest
from arena import PEERS, UNDER_TEST, Case

from wgpy.lab.wire import Capture

pytestmark = [pytest.mark.netns, pytest.mark.interop]
CASES = [(peer, Case(*values)) for peer in PEERS
         for values in product(("us", "them"), (4, 6), (False, True), (1280, 1420, 8920))
         if (peer, values[0]) != ("self", "them")]
TRANSPORT, INITIATION, RESPONSE = 4, 1, 2
MESSAGE_BYTES = {INITIATION: 148, RESPONSE: 92}


@pytest.mark.parametrize("peer, case", CASES, ids=str)
def test_traffic_both_ways(arena, case):
    initiator, responder = arena.configure(case)
    with Capture(arena.near) as capture:
        assert arena.ping(initiator, 4).lost == 0
    check_handshake(capture, from_us=case.initiator == "us")
    for sender, version in ((responder, 4), (initiator, 6), (responder, 6)):
        assert arena.ping(sender, version, interval=0.02).lost == 0
    for version, headers, reverse in ((4, 28, False), (6, 48, True)):
        full = arena.ping(arena.ours, version, size=case.mtu - headers, interval=0.02)
        assert full.lost == 0, "a packet as large as the MTU"
        for reader in (arena.ours, arena.theirs):
            owned, read = arena.file_hashes(reader, version)
            assert read == owned
        assert udp_arrives(arena, version, reverse, min(case.mtu - headers, 1400))
    assert initiator.peer().handshake and responder.peer().handshake


def udp_arrives(arena, version: int, reverse: bool, length: int) -> bool:
    """Less than 5 % lost in one of three runs: the emulated machine stalls at times."""
    return any(arena.udp(version, reverse=reverse, length=length).lost_percent < 5
               for _ in range(3))


def check_handshake(capture, from_us: bool):
    """One initiation, one response, the first data from the initiator; sizes and AF41."""
    frames = [f for f in capture.frames(INITIATION, RESPONSE, TRANSPORT)]
    assert [f.kind for f in frames[:3]] == [INITIATION, RESPONSE, TRANSPORT]
    assert [f.outgoing for f in frames[:3]] == [from_us, not from_us, from_us]
    for frame in frames[:2]:
        assert len(frame.payload) == MESSAGE_BYTES[frame.kind]
        if frame.outgoing and UNDER_TEST == "wgpyd":
            assert frame.tos == 0x88
    assert frames[1].index == frames[0].index, "the response names the initiation's sender"
    assert len(capture.frames(INITIATION)) == 1
