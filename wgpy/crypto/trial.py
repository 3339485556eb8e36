"""python -I -m wgpy.crypto.trial FD REPORT check|new|public: tries the library of a suite in
this process, which can do nothing but say what came of it; wgpy.isolate.library starts it.

What is asked for goes to the descriptor REPORT as lines of JSON: the check that begins, then
`done` or `refused`. `public` reads a private key from standard input."""

import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any

from wgpy.crypto.library import load
from wgpy.errors import SuiteError, WgpyError
from wgpy.isolate import jail, kernel, start
from wgpy.protocol.noise import Noise
from wgpy.suite import Suite

_OUTPUT = 1 << 16  # bytes that may be printed


def main() -> None:
    """Ends with 0 when it has reported, whatever it was."""
    start.begin()
    fd, report, what = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    given = sys.stdin.buffer.read(4096) if what == "public" else b""

    def say(**words: Any) -> None:
        os.write(report, json.dumps(words).encode() + b"\n")

    check = ["load"]

    def begin(name: str) -> None:
        check[0] = name
        say(check=name)

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_OUTPUT, _OUTPUT))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        jail.become_nobody()
        jail.before_foreign_code()
        suite = load(fd, begin)
        begin("threads")
        if len(os.listdir("/proc/self/task")) > 1:
            raise WgpyError("it starts a thread")
        begin(what)
        done = _answer(suite, what, given)
        ctypes.CDLL(None).fflush(None)
        say(check=check[0], done=done)
    except SuiteError as e:
        say(check=getattr(e, "check", check[0]), refused=str(e))
    except WgpyError as e:
        say(check=check[0], refused=str(e))
    os._exit(0)


def _answer(suite: Suite, what: str, given: bytes) -> dict[str, Any]:
    if what == "new":
        return {"key": Noise(suite).ephemeral(os.urandom).hex()}
    if what == "public":
        public = suite.public(given) if len(given) == suite.private_size else None
        if public is None:
            raise WgpyError(f"not a private key, which has {suite.private_size} bytes")
        return {"key": public.hex()}
    assert suite.table is not None  # it is a library
    return {"name": suite.name, "noise": suite.construction.decode("ascii", "replace"), "private_size": suite.private_size,
            "public_size": suite.public_size, "lengths": list(suite.table.lengths)}


if __name__ == "__main__":
    main()
