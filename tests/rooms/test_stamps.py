"""What a node remembers of its peers' time stamps outlives its crypto room: an initiation
recorded before is refused after, and does not move the peer's endpoint."""

import signal
import socket

import pytest
from rooms.nodes import Pair

from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import ping
from wgpy.lab.wire import Capture

pytestmark = pytest.mark.netns
INITIATION, RESPONSE = 1, 2
INITIATION_SIZE = 148


def answered(wire, source):
    """The initiations from there that had a response: what nobody has accepted is not refused. Two that were
    sent at once are one frame, of which the first is taken."""
    indices = {f.index for f in wire.frames() if f.kind == RESPONSE}
    return [f.payload[:INITIATION_SIZE] for f in wire.frames()
            if f.kind == INITIATION and f.source[0] == source and f.index in indices]


def test_an_initiation_recorded_before_a_restart_of_crypto_is_refused_after_it(tmp_path):
    pair = Pair(tmp_path)
    a, b = pair.nodes
    try:
        b.write_site([a], endpoints={"a": ""})  # so that it is a who begins
        b.start()
        with Capture(pair.internet, "to-a") as wire:
            a.start()
            wait_until(lambda: ping(a.host, b.address, wait=1).lost == 0 and answered(wire, a.wan), 60, "traffic")
            recorded = answered(wire, a.wan)
        a.stop()
        b.signal("crypto", signal.SIGKILL)
        wait_until(lambda: b.status()["rooms"]["crypto"]["restarts"] == 1
                   and b.status()["rooms"]["crypto"]["status"].get("peers"), 60, "crypto is there again")

        with pair.internet.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:

            def refused() -> int:  # a single datagram may be lost while black finds the new crypto
                s.sendto(recorded[-1], (b.wan, 51820))
                return b.status()["rooms"]["crypto"]["status"].get("engine", {}).get("reject_replay", 0)

            wait_until(refused, 60, "the recording is refused", interval=0.5)
        (peer,) = b.status()["rooms"]["crypto"]["status"]["peers"]
        assert not peer["endpoint"] and not peer["events"].get("responses")
    finally:
        pair.close()
