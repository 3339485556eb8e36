"""What a node remembers of its peers' time stamps outlives its crypto room: an initiation
recorded before is refused after, and does not move the peer's endpoint."""

import signal

import pytest
from rooms.nodes import Pair
from rooms.recorded import answered, send_until_refused

from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import ping
from wgpy.lab.wire import Capture

pytestmark = pytest.mark.netns


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

        send_until_refused(pair.internet, recorded[-1], b.wan, lambda: b.status()["rooms"]["crypto"]["status"])
        (peer,) = b.status()["rooms"]["crypto"]["status"]["peers"]
        assert not peer["endpoint"] and not peer["events"].get("responses")
    finally:
        pair.close()
