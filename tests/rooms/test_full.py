"""Two sites go on speaking while and after a node's tables of connections fill up (F3)."""

import os
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from netns import connections
from rooms.nodes import WEB

from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import ping, pinging

pytestmark = pytest.mark.netns
TESTS = Path(__file__).parents[1]


class Here:
    """The namespace that a process is in, for `connections`."""
    entered = staticmethod(nullcontext)

    @staticmethod
    def run(*command):
        return subprocess.run(command, text=True, capture_output=True, check=True)


def _filled(node, room: str) -> int:
    program = "from rooms.test_full import Here, connections; print(connections.fill(Here, '10.1.0.2', '203.0.113.5'))"
    path = os.pathsep.join([str(TESTS), *(p for p in sys.path if p)])
    return int(node.inside(room, "env", f"PYTHONPATH={path}", sys.executable, "-P", "-s", "-c", program, timeout=600).stdout)


def test_sites_speak_while_and_after_the_tables_of_a_node_fill_up(small):
    a, b = small.nodes
    wait_until(lambda: ping(a.host, b.address, wait=1).lost == 0, 60, "traffic")
    assert ping(a.host, WEB, wait=60).lost == 0
    with pinging(b.host, a.address) as running:
        for room in ("red", "black"):
            assert _filled(a, room) >= connections.limit(Here)
        time.sleep(1)  # a fast machine has filled them before there were twenty
    assert running[0].sent > 20 and running[0].lost <= running[0].sent // 10
    for there, here in ((a.host, b.address), (b.host, a.address)):
        assert sum(ping(there, here, count=1, wait=30).lost for _ in range(5)) == 0
    assert ping(a.host, WEB, wait=1).lost == 3, "which shows that they are full"
