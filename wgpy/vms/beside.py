"""What the supervisor has done by a process of its own, which may wait for a guest while the loop goes on."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterable

from wgpy.isolate import kernel
from wgpy.loop import READ, Loop
from wgpy.node.timers import Timers

SECONDS = 300.0  # after which it is killed: whom it waits for may have been taken over
_MOST = 4096  # bytes of what it said that are looked at


def run(loop: Loop, timers: Timers, command: list[str], ended: Callable[[int, str], None], fds: Iterable[int] = ()) -> None:
    """`ended(status, said)` is called once; `said` is what stood on its standard error. `fds` are for it. It ends with this
    process. OSError when it cannot start."""
    said = os.memfd_create("said", os.MFD_CLOEXEC)
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, pass_fds=tuple(fds),
                                   cwd="/", preexec_fn=lambda: kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL))
        pidfd = os.pidfd_open(process.pid)
    except BaseException:
        os.close(said)
        raise

    def over(_: int) -> None:
        loop.forget(pidfd)
        os.close(pidfd)
        text = os.pread(said, _MOST, 0).decode(errors="replace").strip()
        os.close(said)
        ended(process.wait(), text)

    loop.watch(pidfd, READ, over)
    timers.after(SECONDS, lambda: process.kill() if process.returncode is None else None)
