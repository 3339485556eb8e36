"""`wgpy lab` and the demo end as they say, and leave nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from orphans import adopted

from wgpy.lab.netns import wait_until

pytestmark = pytest.mark.netns
LAB = (sys.executable, "-I", "-m", "wgpy.cli", "lab")
DEMO = (sys.executable, "-I", "-m", "wgpy.lab.encryptor_demo")
ROOT = Path(__file__).resolve().parents[2]


def net_of(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None


def family(pid):
    """A process and everything below it."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        below = []
    return {str(pid)}.union(*(family(child) for child in below))


def inhabitants(namespaces):
    return {p.name for p in Path("/proc").iterdir() if p.name.isdigit() and net_of(p.name) in namespaces}


def watch(command, line):
    """Starts it and returns when it has printed the line: (process, its namespaces)."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while line not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    return process, {net_of(pid) for pid in family(process.pid)} - {net_of("self"), None}


@pytest.mark.parametrize(("arguments", "namespaces"), ((("two-sites",), 5), (("encryptors", "--mode", "large"), 7 + 3 * 2)))
def test_lab_stays_until_interrupted(arguments, namespaces):
    lab, made = watch((*LAB, *arguments), "Ctrl-C")
    assert len(made) == namespaces
    lab.send_signal(signal.SIGINT)
    out, err = lab.communicate(timeout=60)
    assert lab.returncode == 130 and err == "everything is gone\n"
    wait_until(lambda: not inhabitants(made), 60, "everything in the namespaces is gone")


def test_lab_runs_a_command_in_the_first_host():
    done = subprocess.run((*LAB, "two-sites", "--run", "ping -qc1 -W20 $THERE && curl -s http://$WEB/ && exit 7"),
                          cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    assert "1 received" in done.stdout and "a page" in done.stdout.lower()


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM, signal.SIGKILL))
def test_interrupted_demo_leaves_nothing(number):
    with adopted() as reap:
        demo, made = watch(DEMO, ".. through the tunnel")
        assert len(made) == 5 + 3 * 2
        demo.send_signal(number)
        out, err = demo.communicate(timeout=60)
        assert demo.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
        assert "Traceback" not in err
        wait_until(lambda: reap() or not inhabitants(made), 60, "everything in the namespaces is gone")
