"""A node that cannot be shut in says which step was refused and what may have refused it
(I6); limits that a shell had are no reason."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.netns
PROBE = """
import errno, os, sys
from wgpy.isolate import jail, kernel
from wgpy.errors import HostError
real = kernel.unshare
def unshare(flags):
    if flags & {flag}:
        raise OSError(errno.ENOSPC, "refused")
    real(flags)
kernel.unshare = unshare
if not {flag}:
    def fork():
        raise OSError(errno.EAGAIN, "refused")
    os.fork = fork
try:
    jail.enter_network(None)
    jail.enter("red", 0x77670000, lambda: None)
except HostError as e:
    print(e, flush=True)
"""


@pytest.mark.parametrize("flag, says", [
    ("kernel.CLONE_NEWNET", "a network namespace: No space left on device ("),
    ("kernel.CLONE_NEWPID", "a pid namespace: No space left on device ("),
    ("kernel.CLONE_NEWUSER", "a user namespace: No space left on device ("),
    ("kernel.CLONE_NEWUTS", "mount, IPC, UTS and cgroup namespaces: No space left on device ("),
    ("0", "the process of the room: Resource temporarily unavailable ("),
])
def test_a_refused_step_is_named(flag, says):
    """And what may have refused it."""
    done = subprocess.run([sys.executable, "-I", "-c", PROBE.format(flag=flag)], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith(says) and "Traceback" not in done.stderr, done


def test_rooms_of_two_nodes_are_six_users(small):
    uids = {real_uid(node.pid(room)) for node in small.nodes for room in ("black", "crypto", "red")}
    assert len(uids) == 6 and 0 not in uids


def real_uid(pid: int) -> int:
    return next(int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                if line.startswith("Uid"))


def test_a_shells_limits_do_not_keep_a_room_from_running():
    """16 descriptors, as ulimit gives them, are raised as far as the process may."""
    code = ("import resource; from wgpy.isolate import start; start.begin(); "
            "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 1024)")
    done = subprocess.run(["bash", "-c", f'ulimit -Sn 16; exec {sys.executable} -I -c "{code}"'],
                          capture_output=True, text=True, timeout=120)
    assert done.stdout == "True\n", done
