"""What becomes of a port of the host that a wire took (F10), however the wire's process ends."""

import json
import os
import signal
import subprocess

import pytest

from wgpy.isolate import start
from wgpy.lab.netns import Netns, wait_until

PLUGGED = """
import sys, time
from wgpy.vms.wires import Wire
wire = Wire(1400)
wire.plug("wan0")
print("plugged", flush=True)
sys.stdin.read()
wire.close()
"""


def ports(box: Netns) -> dict[str, dict]:
    return {link["ifname"]: link for link in json.loads(box.run("ip", "-j", "link", "show").stdout)}


@pytest.mark.netns
@pytest.mark.parametrize("kill", [False, True], ids=["closed", "killed"])
def test_a_port_that_is_no_hardware_comes_back_down(kill):
    with Netns("box") as box:
        box.ip("link", "add", "wan0", "type", "veth", "peer", "name", "far0")
        box.ip("link", "set", "wan0", "up")
        wire = box.popen(start.python("x")[0], "-I", "-c", PLUGGED, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert wire.stdout.readline() == b"plugged\n" and "wan0" not in ports(box)
        if kill:
            os.kill(wire.pid, signal.SIGKILL)
        else:
            wire.stdin.close()
        wire.wait(60)
        wait_until(lambda: "wan0" in ports(box), 60, "the port is back")
        assert "UP" not in ports(box)["wan0"]["flags"] and "master" not in ports(box)["wan0"]
        wire.stdout.close()
