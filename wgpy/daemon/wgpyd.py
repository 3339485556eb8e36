"""wgpyd [-f|--foreground] IFACE: a standalone tunnel, a drop-in for wireguard-go.

In the background it logs to syslog, and to stderr as well where LOG_LEVEL is given.

Environment: WG_TUN_FD, WG_UAPI_FD, WG_PROCESS_FOREGROUND=1, LOG_LEVEL (verbose, debug,
info, error, silent; another word is error), WGPY_QUEUES (threads that seal, and that open),
WGPY_AEAD, WGPY_MAX_PEERS (16384), WGPY_PATH_MTU (fixed, discover), WGPY_SUITE and
WGPY_SUITE_SHA256 (a library with cryptographic functions, and its digest).
"""

import os
import sys
from collections.abc import Callable
from typing import Protocol

from wgpy.isolate import start

USAGE = "usage: wgpyd [-f|--foreground] IFACE"
_READY = b"\0"


class _Tunnel(Protocol):
    """wgpy.daemon.standalone.Standalone, which is not loaded for a usage message."""
    lines_lost: Callable[[], int]


def main() -> None:
    """Of `wgpyd`; ends with its exit status."""
    start.begin()
    sys.exit(_main(sys.argv[1:]))


def _main(args: list[str]) -> int:
    if args in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if args == ["--version"]:
        from wgpy import __version__
        print(f"wgpyd {__version__}")
        return 0
    foreground = os.environ.get("WG_PROCESS_FOREGROUND") == "1"
    if args and args[0] in ("-f", "--foreground"):
        foreground, args = True, args[1:]
    if len(args) != 1 or args[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 2
    return _serve(args[0], lambda tunnel: None) if foreground else _background(args[0])


def _background(name: str) -> int:
    """The parent leaves when the socket answers, with the child's status and message
    when it never does."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            os.setsid()
            status = _serve(name, lambda tunnel: _detach(name, tunnel, writer), report=writer)
        except Exception:
            import logging
            logging.getLogger(__name__).critical("the daemon ends", exc_info=True)
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    if said == _READY:
        return 0
    if said:
        print(said.decode(errors="replace"), file=sys.stderr)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if not said:
        print(f"wgpyd: {name}: the daemon ended with status {code}", file=sys.stderr)
    return code if code > 0 else 1


def _detach(name: str, tunnel: _Tunnel, writer: int) -> None:
    from wgpy.daemon import process
    handler = process.log_to_syslog(name)
    tunnel.lines_lost = lambda: handler.lost
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    keep = os.environ.get("LOG_LEVEL", "") not in ("", "silent")
    for fd in (0,) if keep else (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    os.write(writer, _READY)
    os.close(writer)


def _serve(name: str, ready: Callable[[_Tunnel], None], report: int = 2) -> int:
    """Runs the tunnel to its end. `ready(tunnel)` is called once its socket answers; errors
    before that go as one line to the descriptor `report`."""
    from wgpy.errors import WgpyError
    try:
        from wgpy.daemon import process
        process.harden()
        process.log_to_stderr(name)
        whole = process.Process(name)
    except (WgpyError, OSError, ImportError) as e:
        os.write(report, f"wgpyd: {e}{os.linesep if report == 2 else ''}".encode())
        return 1
    try:
        ready(whole.tunnel)
        whole.run()
    finally:
        whole.close()
    return 0


if __name__ == "__main__":
    main()
