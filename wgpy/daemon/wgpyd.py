"""wgpyd [-f|--foreground] IFACE: a standalone tunnel, a drop-in for wireguard-go.

Environment: WG_TUN_FD, WG_UAPI_FD, WG_PROCESS_FOREGROUND=1, LOG_LEVEL (verbose, debug,
info, error, silent; another word is error), WGPY_QUEUES (threads that seal, and that open),
WGPY_AEAD, WGPY_MAX_PEERS (16384), WGPY_PATH_MTU (fixed, discover).
"""

import os
import sys

from wgpy.isolate import start

USAGE = "usage: wgpyd [-f|--foreground] IFACE"
_READY = b"\0"


def main() -> None:
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
    return _serve(args[0], lambda: None) if foreground else _background(args[0])


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
            status = _serve(name, lambda: _detach(writer), report=writer)
        except Exception:
            sys.excepthook(*sys.exc_info())
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


def _detach(writer: int) -> None:
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    keep = os.environ.get("LOG_LEVEL", "") not in ("", "silent")
    for fd in (0,) if keep else (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    os.write(writer, _READY)
    os.close(writer)


def _serve(name: str, ready, report: int = 2) -> int:
    """Runs the tunnel to its end. Errors before `ready()` go as one line to the
    descriptor `report`."""
    from wgpy.errors import WgpyError
    try:
        from wgpy.daemon import process
        process.harden()
        process.log_to_stderr(name)
        tunnel = process.Process(name)
    except (WgpyError, OSError, ImportError) as e:
        os.write(report, f"wgpyd: {e}{os.linesep if report == 2 else ''}".encode())
        return 1
    try:
        ready()
        tunnel.run()
    finally:
        tunnel.close()
    return 0


if __name__ == "__main__":
    main()
