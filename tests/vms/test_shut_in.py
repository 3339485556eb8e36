"""What a process of a guest may do, looked at from inside (A4): a shell in QEMU's place."""

import os
import shutil
import time
from pathlib import Path

import pytest
from needs import need

from wgpy.loop import Loop
from wgpy.vms.guest import Guest, Start

UID = 0x77660001
LOOK = """
echo "who $(id -u) $(id -g) $(id -G)"
echo "node $(stat -c '%u %a %t:%T' /dev/full)"
echo "files $(ls -A /var /tmp /root /home /run | grep -v : | wc -w)"
echo "others $(ls /proc | grep -c '^1$')"
echo "links $(ls /proc/self/net/dev_snmp6 | wc -w)"
echo "passed $(cat /proc/self/fd/$1)"
echo >/dev/full || echo "full"
echo "limits $(ulimit -c)"
"""


@pytest.fixture
def started(tmp_path):
    """Starts a command as a QEMU would be, and returns what it said when it has ended."""
    if os.geteuid() != 0:
        pytest.xfail("needs root")
    loop, ended = Loop(), []

    def run(command: list[str], fds: list[int], devices: tuple[str, ...]) -> str:
        guest = Guest(loop, "black", UID, lambda log: Start(command, fds, devices), tmp_path / "log",
                      lambda guest: ended.append(guest.state))
        guest.start()
        until = time.monotonic() + 120
        while ended[-1:] != ["stopped"]:
            loop.turn(0.1)
            assert time.monotonic() < until, (tmp_path / "log").read_text()
        guest.close()
        return (tmp_path / "log").read_text()

    yield run
    loop.close()


@pytest.mark.netns
def test_it_is_nobody_and_has_what_it_was_given(started):
    need("sh")
    kept = os.open("/etc/hostname", os.O_RDONLY)
    before = os.stat("/dev/full")
    said = started([shutil.which("sh"), "-c", LOOK, "sh", str(kept)], [kept], ("/dev/full",))
    print(said)
    for line in (f"who {UID} {UID} {UID}", f"node {UID} 600 1:7", "files 0", "others 0", "links 1",
                 f"passed {Path('/etc/hostname').read_text().strip()}", "full", "limits 0", "(QEMU ended with status 0)"):
        assert line in said
    assert os.stat("/dev/full")[:6] == before[:6]  # the host's own node is as it was
