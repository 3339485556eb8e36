"""What a killed process leaves comes to the test and is reaped, as a host's init does it. A PID
namespace ends when the last of its processes is reaped; where the test itself is PID 1, as in
some containers, nobody else would."""

import ctypes
import os
from contextlib import contextmanager
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def _children() -> set[int]:
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


@contextmanager
def adopted():
    """Yields reap(), for when the processes that the block itself started have been waited for."""
    before = _children()

    def reap() -> None:
        for pid in _children() - before:
            os.waitpid(pid, os.WNOHANG)

    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield reap
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0)
