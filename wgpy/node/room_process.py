"""One room as the supervisor sees it: a process, a channel, a stream of log lines. The
room may have been taken over, so everything that it says is bounded, counted and cleaned."""

import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from wgpy.constants import PLANE_PEERS
from wgpy.errors import WgpyError
from wgpy.isolate import start
from wgpy.loop import READ, Loop
from wgpy.node import liveness
from wgpy.node.liveness import Judge
from wgpy.node.timers import Backoff
from wgpy.rooms import control

log = logging.getLogger(__name__)

BACKOFF_FIRST, BACKOFF_LAST = 0.1, 2.0  # s
_STABLE = 1.0            # s of being ready after which the back-off starts anew
_MESSAGES_A_TICK = 64    # a room that sends more between two ticks is killed
_LOG_LINES_A_TICK = 200  # that are copied, of
_LOG_BYTES_A_TICK = 16384
_LOG_FLOOD = 1 << 20     # bytes between two ticks for which a room is killed
_LOG_BYTES = 65536       # that a pipe holds
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def clean(value: object, depth: int = 5) -> Any:
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
    closed here. `on_message(room, message, fds)` gets what the supervisor handles itself and
    owns `fds`; `on_end(room)` is called when the process has ended, however it did."""

    def __init__(self, loop: Loop, name: str, give: Callable[[], tuple[dict[str, Any], dict[str, int]]],
                 on_message: Callable[["RoomProcess", dict[str, Any], dict[str, int]], None],
                 on_end: Callable[["RoomProcess"], None]):
        self.name, self._loop, self._give = name, loop, give
        self._on_message, self._on_end = on_message, on_end
        self.state, self.pid, self.restarts = "stopped", 0, -1
        self.status: dict[str, Any] = {}
        self._peers: list[Any] = []  # of the status that comes next
        self.last_line = ""
        self._backoff = Backoff(BACKOFF_FIRST, BACKOFF_LAST, _STABLE)
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
                sys.executable, *start.python_in(_environment(self.name), "wgpy.rooms.room", self.name),
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
        self._judge = Judge(time.monotonic())
        self._messages = self._logged = self._lines = 0
        self._asking = self._condemned = False
        self._loop.watch(ours.fileno(), READ, lambda _: self._receive())
        self._loop.watch(reader, READ, lambda _: self._copy_log())
        self._loop.watch(self._pidfd, READ, lambda _: self._ended())

    def send(self, message: dict[str, Any], fds: dict[str, int] | None = None) -> bool:
        """False when the room is not there or does not read. Never blocks."""
        return self._channel is not None and self._channel.send(message, fds)

    def kill(self) -> None:
        """The room's process dies with its waiting parent."""
        if self._pidfd >= 0:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def pause(self) -> float:
        """Seconds to wait before the next start."""
        return self._backoff.pause(self._was_ready)

    def tick(self) -> None:
        """To be called every second or two: asks for the status."""
        self._messages = self._logged = self._lines = 0
        if self._pidfd >= 0 and self.state == "ready" and self.send({"ask": "status"}):
            self._judge.asked(time.monotonic())

    def look(self) -> None:
        """To be called every liveness.LOOK seconds: kills what is stuck."""
        if self._pidfd < 0 or self._condemned or self.state == "stopping":
            return
        # looked for each time: what was its child while it started may have been a helper
        reason = self._judge.seen(liveness.look(liveness.jailed(self.pid)), time.monotonic())
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
        if (channel := self._channel) is None:
            return
        self._messages += 1
        if self._messages > _MESSAGES_A_TICK:
            self._loop.forget(channel.fileno())
            self._condemn("floods its channel")
            return
        try:
            received = channel.receive()
        except WgpyError as e:
            log.error("%s: %s", self.name, e)
            return
        except BlockingIOError:
            return
        except OSError:
            received = None
        if received is None:
            self._loop.forget(channel.fileno())
            return
        message, fds = received
        answered = self.state != "ready"  # until then whatever it says is progress
        if message.get("ready") is True and self.state == "starting":
            self.state, self._was_ready, self._asking = "ready", time.monotonic(), False
        elif message.get("asking") is True and self.state == "starting":
            self._asking = True  # a person, who may take any time over a passphrase
        elif isinstance(message.get("peers"), list):
            self._peers = (self._peers + clean(message["peers"]))[:PLANE_PEERS]
        elif isinstance(message.get("status"), dict):
            self.status = clean(message["status"]) | ({"peers": self._peers} if self._peers else {})
            self._peers, answered = [], True
        if answered:  # what it says besides is no answer to what it was asked
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
        if self._channel is not None:
            self._loop.forget(self._channel.fileno())
            self._channel.close()
        for fd in (self._log, self._pidfd):
            self._loop.forget(fd)
            os.close(fd)
        self._channel, self._log, self._pidfd, self.pid = None, -1, -1, 0
        self.state = "stopped"
        self._on_end(self)


def reap(rooms: list[int]) -> None:
    """Takes leave of jailed processes whose waiting parent was killed: they come to a subreaper.
    Those of `rooms` have pidfds, which tell of them."""
    try:
        while orphan := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if orphan.si_pid in rooms:
                break
            os.waitpid(orphan.si_pid, 0)
    except ChildProcessError:  # none at all
        pass


def _environment(room: str) -> dict[str, str]:
    """Nothing of the administrator's. In
    crypto freed memory is overwritten: CPython's copies of keys end there."""
    wiping = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.perturb=90:glibc.malloc.tcache_count=0"}
    return {"PATH": start.DEFAULT_PATH, "LC_ALL": "C.UTF-8"} | (wiping if room == "crypto" else {})
