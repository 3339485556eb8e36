"""A room that is stopped, as by SIGSTOP, is noticed and started anew (F10)."""

import signal

import pytest
from rooms.nodes import ROOMS

from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import ping

pytestmark = pytest.mark.netns


@pytest.mark.parametrize("room", ROOMS)
def test_a_stopped_room_is_started_anew(small, room):
    node = small.a
    assert ping(node.host, small.b.address, wait=60).lost == 0
    before = node.status()["rooms"][room]["restarts"]
    node.signal(room, signal.SIGSTOP)
    wait_until(lambda: node.status()["rooms"][room]["restarts"] == before + 1, 60, f"{room} is started anew")
    wait_until(lambda: ping(node.host, small.b.address, count=1, wait=1).lost == 0, 60, "traffic is back")
    said = [line for line in node.log.read_text().splitlines() if line.endswith(": killed")]
    assert [line for line in said if f" {room} " in line] == [line for line in said if f"{room} is stopped" in line], said
    assert sum(f"{room} is stopped" in line for line in said) == 1, said
