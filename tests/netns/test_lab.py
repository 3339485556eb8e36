"""The lab leaves nothing behind, however it ends, and the demo says how it ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from orphans import adopted

from wgpy.lab.netns import Netns, wait_until
from wgpy.lab.traffic import ping

pytestmark = pytest.mark.netns
DEMO = (sys.executable, "-I", "-m", "wgpy.lab.demo", "--seconds", "5")
ROOT = Path(__file__).resolve().parents[2]


def net_of(pid) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None


def inhabitants(namespaces: set[str]) -> set[str]:
    return {p.name for p in Path("/proc").iterdir() if p.name.isdigit() and net_of(p.name) in namespaces}


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM, signal.SIGKILL))
def test_interrupted_demo_leaves_nothing(number):
    with adopted() as reap:
        demo = subprocess.Popen(DEMO, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while ".. ping" not in demo.stdout.readline():
            assert demo.poll() is None
        children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
        namespaces = {net_of(pid) for pid in children} - {net_of("self"), None}
        assert len(namespaces) == 2
        assert len(inhabitants(namespaces)) >= 2 * 3, "anchors, daemons"
        demo.send_signal(number)
        status = demo.wait(timeout=60)
        assert status == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
        assert "Traceback" not in demo.stderr.read()
        wait_until(lambda: reap() or not inhabitants(namespaces), 60, "everything in the namespaces is gone")


def test_demo_says_why_a_daemon_does_not_start():
    done = subprocess.run((*DEMO, "--left", "/bin/false"), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "false exited with status 1" in done.stderr


def test_ping_counts_what_is_lost():
    with Netns("alone") as ns:
        assert ping(ns, "127.0.0.1").lost == 0
        ns.ip("link", "set", "lo", "down")
        began = time.monotonic()
        assert ping(ns, "127.0.0.1", wait=0.5).lost == 3
        assert time.monotonic() - began < 30


def test_namespaces_are_separate_and_die_with_what_runs_in_them():
    with Netns("one") as one, Netns("two") as two:
        one.run("touch", "/run/wireguard/here")
        assert two.run("ls", "/run/wireguard").stdout == ""
        process = one.popen("sleep", 1000)
        command = Path(f"/proc/{process.pid}/comm")
        wait_until(lambda: command.read_text() == "sleep\n", 20, "sleep runs")
    assert process.poll() == -signal.SIGKILL
