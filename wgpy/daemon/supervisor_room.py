"""One room as the supervisor sees it: a process, a channel, a stream of log lines. The
room may have been taken over, so everything that it says is bounded, counted and cleaned."""

import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable

from wgpy.daemon import liveness
from wgpy.daemon.liveness import Judge
from wgpy.errors import WgpyError
from wgpy.isolate import control, start
from wgpy.loop import READ, Loop

log = logging.getLogger("wgpy")

BACKOFF_FIRST, BACKOFF_LAST = 0.1, 2.0  # s
_STABLE = 1.0            # s of being ready after which the back-off starts anew
_MESSAGES_A_TICK = 64    # a room that sends more between two ticks is killed
_LOG_LINES_A_TICK = 200  # that are copied, of
_LOG_BYTES_A_TICK = 16384
_LOG_FLOOD = 1 << 20     # bytes between two ticks for which a room is killed
_LOG_BYTES = 65536       # that a pipe holds
_PEERS = 1024
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def clean(value, depth: int = 5):
    """What may be shown and stored of a room's status: short printable strings, 64-bit
    numbers, dictionaries and lists of them; None for anything else."""
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) < 1 << 64):
        return value
    if isinstance(value, str):
        return _UNPRINTABLE.sub("?", value[:200])
    if depth and isinstance(value, dict):
        return {_UNPRINTABLE.sub("?", str(k)[:64]): clean(v, depth - 1) for k, v in list(value.items())[:1024]}
    if depth and isinstance(value, list):
        return [clean(v, depth - 1) for v in value[:1024]]
    return None


class RoomProcess:
    """`give()` -> (options, descriptors by name) at each start; the descriptors are
    closed here. `on_message(message, fds)` gets what the supervisor handles itself and
    owns `fds`; `on_end()` is called when the process has ended, however it did."""

    def __init__(self, loop: Loop, name: str, give: Callable[[], tuple[dict, dict[str, int]]],
                 on_message: Callable, on_end: Callable[[], None]):
        self.name, self._loop, self._give = name, loop, give
        self._on_message, self._on_end = on_message, on_end
        self.state, self.pid, self.restarts = "stopped", 0, -1
        self.status: dict = {}
        self._peers: list = []  # of the status that comes next
        self.last_line = ""
        self._backoff = BACKOFF_FIRST
        self._channel: control.Channel | None = None
        self._pidfd = self._log = -1

    # life

    def start(self) -> None:
        """Returns at once; `state` becomes "ready" when the room says so. OSError, with
        nothing left open and no process."""
        options, fds = self._give()
        ours, theirs = control.pair()
        reader, writer = os.pipe()
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            self.pid = os.posix_spawn(
                sys.executable, *start.python_in(_environment(self.name), "wgpy.isolate.room", self.name),
                file_actions=[(os.POSIX_SPAWN_DUP2, old, new) for old, new in
                              ((null, 0), (writer, 1), (writer, 2), (theirs.fileno(), 3))],
                setsigmask=[], setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE])
            self._pidfd = os.pidfd_open(self.pid)
            ours.send({"room": self.name} | options, fds)
        except BaseException:
            os.close(reader)
            ours.close()
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                self.pid = 0
            raise
        finally:
            for fd in (writer, null, *fds.values()):
                os.close(fd)
            theirs.close()
        ours.sock.setblocking(False)
        os.set_blocking(reader, False)
        self._channel, self._log = ours, reader
        self.state, self.status = "starting", {}
        self.restarts += 1
        self._was_ready = 0.0
        self._judge, self._jailed = Judge(time.monotonic()), 0
        self._messages = self._logged = self._lines = 0
        self._asking = self._condemned = False
        self._loop.watch(ours.fileno(), READ, lambda _: self._receive())
        self._loop.watch(reader, READ, lambda _: self._copy_log())
        self._loop.watch(self._pidfd, READ, lambda _: self._ended())

    def send(self, message: dict, fds: dict[str, int] | None = None) -> bool:
        """False when the room is not there or does not read. Never blocks."""
        return self._channel is not None and self._channel.send(message, fds)

    def kill(self) -> None:
        """The room's process dies with its waiting parent."""
        if self._pidfd >= 0:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def pause(self) -> float:
        """Seconds to wait before the next start."""
        if self._was_ready and time.monotonic() - self._was_ready > _STABLE:
            self._backoff = BACKOFF_FIRST
        wait, self._backoff = self._backoff, min(2 * self._backoff, BACKOFF_LAST)
        return wait

    def tick(self) -> None:
        """To be called every second or two: asks for the status."""
        self._messages = self._logged = self._lines = 0
        if self._pidfd >= 0 and self.state == "ready" and self.send({"ask": "status"}):
            self._judge.asked(time.monotonic())

    def look(self) -> None:
        """To be called every liveness.LOOK seconds: kills what is stuck."""
        if self._pidfd < 0 or self._condemned or self.state == "stopping":
            return
        if self.state != "ready" or self._jailed in (0, self.pid):
            self._jailed = liveness.jailed(self.pid)
        reason = self._judge.seen(liveness.look(self._jailed), time.monotonic())
        if reason and not (self._asking and reason == "does not answer"):
            self._condemn(reason)

    def _condemn(self, reason: str) -> None:
        log.error("%s %s: killed", self.name, reason)
        self._condemned = True
        self.kill()

    # what it says

    def uncounted(self) -> None:
        """The message that was just heard is bounded by who takes it."""
        self._messages -= 1

    def _receive(self) -> None:
        self._messages += 1
        if self._messages > _MESSAGES_A_TICK:
            self._loop.forget(self._channel.fileno())
            self._condemn("floods its channel")
            return
        try:
            received = self._channel.receive()
        except WgpyError as e:
            log.error("%s: %s", self.name, e)
            return
        except BlockingIOError:
            return
        except OSError:
            received = None
        if received is None:
            self._loop.forget(self._channel.fileno())
            return
        message, fds = received
        if message.get("ready") is True and self.state == "starting":
            self.state, self._was_ready, self._asking = "ready", time.monotonic(), False
        elif message.get("asking") is True and self.state == "starting":
            self._asking = True  # a person, who may take any time over a passphrase
        elif isinstance(message.get("peers"), list):
            self._peers = (self._peers + clean(message["peers"]))[:_PEERS]
        elif isinstance(message.get("status"), dict):
            self.status = clean(message["status"]) | ({"peers": self._peers} if self._peers else {})
            self._peers = []
        self._judge.heard(self.state == "ready")
        self._on_message(self, message, fds)

    def _copy_log(self) -> bool:
        """False when there is nothing more to read now."""
        try:
            data = os.read(self._log, 4096)
        except BlockingIOError:
            return False
        if not data:
            self._loop.forget(self._log)
            return False
        self._logged += len(data)
        if self._logged > _LOG_FLOOD and not self._condemned:
            self._loop.forget(self._log)
            self._condemn("floods its log")
        if self._logged > _LOG_BYTES_A_TICK:
            return True
        for line in data.decode("ascii", "replace").splitlines():
            if line.strip():
                self.last_line = _UNPRINTABLE.sub("?", line[:400])
                self._lines += 1
                if self._lines <= _LOG_LINES_A_TICK:
                    log.info("%s", self.last_line)
        return True

    def _ended(self) -> None:
        for _ in range(_LOG_BYTES // 4096):
            if not self._copy_log():
                break
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if self.state != "stopping":
            log.error("%s ended with status %d", self.name, code)
        for fd in (self._channel.fileno(), self._log, self._pidfd):
            self._loop.forget(fd)
        self._channel.close()
        os.close(self._log)
        os.close(self._pidfd)
        self._channel, self._log, self._pidfd, self.pid = None, -1, -1, 0
        self.state = "stopped"
        self._on_end(self)


def _environment(room: str) -> dict[str, str]:
    """Nothing of the administrator's. In
    crypto freed memory is overwritten: CPython's copies of keys end there."""
    wiping = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.perturb=90:glibc.malloc.tcache_count=0"}
    return {"PATH": start.DEFAULT_PATH, "LC_ALL": "C.UTF-8"} | (wiping if room == "crypto" else {})
