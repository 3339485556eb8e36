"""One guest as the supervisor sees it: a QEMU process, and the lines on the guest's first serial port.
Both may have been taken over, so what comes from them is bounded, cleaned, and believed for nothing but
the time at which a node says that it is up."""

import logging
import logging.handlers
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from wgpy import logs
from wgpy.errors import HostError
from wgpy.isolate import kernel
from wgpy.loop import READ, Loop
from wgpy.node.room_process import clean
from wgpy.node.timers import Backoff

log = logging.getLogger(__name__)

BACKOFF_FIRST, BACKOFF_LAST = 0.2, 10.0  # s
_STABLE = 10.0  # s of being ready after which the back-off starts anew
_BYTES_A_TICK = 65536  # after which nobody listens until the next tick
_LOG_BYTES = 1 << 20
_LONGEST = 400   # characters of a line
_POWERED_OFF = re.compile(r"^\[ *[\d.]+\] reboot: ")  # nothing about why
_ESCAPE = re.compile(r"\x1b(\[[?0-9;]*[a-zA-Z]|c)")  # the firmware's, which clears its screen
_READY, _ASKS = re.compile(r"^\w+ guest INFO: ready$"), re.compile(r"^\w+ guest INFO: asks for the passphrase$")


# What QEMU's programs, libraries and firmware do not lie in.
_HIDDEN = "boot home media mnt root run srv tmp var".split()


class Start(NamedTuple):
    """A command, the descriptors that it names, which are closed when QEMU has its copies, and devices of the
    host that it opens by their paths."""
    command: list[str]
    fds: list[int]
    devices: tuple[str, ...] = ()


class Guest:
    """`give(log)` makes a start, of whose command `log` is the descriptor of the serial port.
    `on_change(guest)` is called when `state` is another one: stopped, starting, asking or ready."""

    def __init__(self, loop: Loop, room: str, uid: int, give: Callable[[int], Start], log_file: Path,
                 on_change: Callable[["Guest"], None]):
        self.room, self.uid = room, uid
        self._loop, self._give, self._on_change = loop, give, on_change
        self.state, self.pid, self.restarts, self.last_line = "stopped", 0, -1, ""
        self.boot_seconds: float | None = None
        self._backoff = Backoff(BACKOFF_FIRST, BACKOFF_LAST, _STABLE)
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd, self._began, self._ready_since = -1, 0.0, 0.0
        self._serial: socket.socket | None = None
        self._errors = -1
        self._partial: dict[int, str] = {}
        self._bytes = 0
        self._deaf: set[int] = set()
        handler = logging.handlers.RotatingFileHandler(log_file, maxBytes=_LOG_BYTES, backupCount=1)
        handler.setFormatter(logs.formatter(room))
        self._handler = handler

    # life

    def start(self) -> None:
        """Returns at once. OSError, HostError, with nothing left open and no process."""
        ours, theirs = socket.socketpair()
        reader, writer = os.pipe()
        fds: list[int] = []
        try:
            start = self._give(theirs.fileno())
            fds = start.fds
            supervisor = os.getpid()
            self._process = subprocess.Popen(
                start.command, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, pass_fds=(theirs.fileno(), *fds),
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}, cwd="/",
                preexec_fn=lambda: _shut_in(self.uid, start.devices, supervisor))
            self._pidfd = os.pidfd_open(self._process.pid)
        except BaseException as e:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None
            os.close(reader)
            ours.close()
            if isinstance(e, subprocess.SubprocessError):
                raise HostError(f"{self.room}: this root may not shut a process in: namespaces, mounts and users need CAP_SYS_ADMIN, "
                                "CAP_SETUID and CAP_MKNOD") from None
            raise
        finally:
            for fd in (writer, *fds):
                os.close(fd)
            theirs.close()
        for fd in (ours.fileno(), reader):
            os.set_blocking(fd, False)
        self._serial, self._errors, self.pid = ours, reader, self._process.pid
        self._began, self._ready_since = time.monotonic(), 0.0
        self.boot_seconds = None
        self.restarts += 1
        for fd in (ours.fileno(), reader):
            self._listen(fd)
        self._loop.watch(self._pidfd, READ, lambda _: self._ended())
        self._to("starting")

    def end(self) -> None:
        """QEMU writes back what a disk of its guest has, and ends."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """At once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._pidfd >= 0:
            signal.pidfd_send_signal(self._pidfd, number)

    def pause(self) -> float:
        """Seconds to wait before the next start."""
        return self._backoff.pause(self._ready_since)

    def tick(self) -> None:
        """To be called every second or two."""
        self._bytes = 0
        for fd in self._deaf:
            self._listen(fd)
        self._deaf.clear()

    def close(self) -> None:
        """The log; the process has ended."""
        self._handler.close()

    def facts(self) -> dict[str, Any]:
        """For status.json."""
        return {"state": self.state, "pid": self.pid, "uid": self.uid, "restarts": max(self.restarts, 0),
                "boot_seconds": self.boot_seconds, "said": self.last_line}

    # what it says

    def _listen(self, fd: int) -> None:
        self._loop.watch(fd, READ, lambda _: self._read(fd))

    def _read(self, fd: int) -> bool:
        """False when there is nothing more to read now."""
        try:
            data = os.read(fd, 4096)
        except OSError as e:
            if isinstance(e, BlockingIOError):
                return False
            data = b""
        if not data:
            self._loop.forget(fd)
            return False
        self._bytes += len(data)
        if self._bytes > _BYTES_A_TICK:
            self._loop.forget(fd)
            self._deaf.add(fd)
        text = self._partial.get(fd, "") + data.decode("ascii", "replace")
        *lines, self._partial[fd] = re.split(r"[\r\n]+", text)
        self._partial[fd] = self._partial[fd][-_LONGEST:]
        for line in lines:
            self._say(clean(_ESCAPE.sub("", line[:_LONGEST]).strip()))
        return True

    def _say(self, line: str) -> None:
        if not line:
            return
        self._keep(line)
        if not _POWERED_OFF.match(line):
            self.last_line = line
        if _READY.match(line):
            self._ready_since = time.monotonic()
            if self.boot_seconds is None:
                self.boot_seconds = round(self._ready_since - self._began, 1)
            self._to("ready")
        elif _ASKS.match(line) and self.state == "starting":
            self._to("asking")

    def _keep(self, line: str) -> None:
        self._handler.emit(logging.LogRecord(self.room, logging.INFO, "", 0, "%s", (line,), None))

    def _to(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self._on_change(self)

    def _ended(self) -> None:
        serial, process = self._serial, self._process
        if serial is None or process is None:
            return
        for fd in (serial.fileno(), self._errors):
            while self._read(fd):
                pass
        status = process.wait()
        self._keep(f"(QEMU ended with status {status})")
        for fd in (serial.fileno(), self._errors, self._pidfd):
            self._loop.forget(fd)
        serial.close()
        for fd in (self._errors, self._pidfd):
            os.close(fd)
        self._partial.clear()
        self._deaf.clear()
        self._serial, self._process, self._errors, self._pidfd, self.pid = None, None, -1, -1, 0
        self._to("stopped")


def _shut_in(uid: int, devices: tuple[str, ...], supervisor: int) -> None:
    """In QEMU's process, as root: no network, no files but programs, no sight of other processes, no
    identity of the host's, no way to get more. It ends with the supervisor."""
    kernel.unshare(kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP | kernel.CLONE_NEWNS)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    nothing = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    if devices:
        _own_nodes(uid, devices)
    for name in _HIDDEN:
        if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}"):
            kernel.mount("none", f"/{name}", "tmpfs", nothing | kernel.MS_RDONLY, "size=4k,mode=555")
    kernel.mount("proc", "/proc", "proc", nothing, "hidepid=2")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # last: a change of identity takes it back
    if os.getppid() != supervisor:
        os._exit(1)


def _own_nodes(uid: int, devices: tuple[str, ...]) -> None:
    """In front of the host's device nodes, for this process alone, nodes of its own user: who may open the
    host's stays as it is."""
    kernel.mount("none", "/tmp", "tmpfs", kernel.MS_NOSUID | kernel.MS_NOEXEC, "size=64k,mode=755")
    for number, device in enumerate(devices):
        node = f"/tmp/{number}"
        os.mknod(node, stat.S_IFCHR | 0o600, os.stat(device).st_rdev)
        os.chown(node, uid, uid)
        kernel.mount(node, device, None, kernel.MS_BIND)
