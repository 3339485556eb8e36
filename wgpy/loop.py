"""A small event loop: descriptors, one deadline source, calls from other threads.

epoll directly: asyncio would cost 8 MB and 45 ms a daemon and offers nothing that is
needed here. Deadlines are CLOCK_BOOTTIME; after a suspend they are looked at on the
next event at the latest when the remaining monotonic time has run out.
"""

import logging
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVarTuple

log = logging.getLogger(__name__)

_Arguments = TypeVarTuple("_Arguments")

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
READ_EDGE = select.EPOLLIN | select.EPOLLET
_GONE = select.EPOLLERR | select.EPOLLHUP
_PAUSE = 1_000_000_000  # ns, after a deadline's callback that raised


class Watcher(Protocol):
    """As much of a Loop as those need who only have descriptors to look after."""

    def watch(self, fd: int, events: int, callback: Callable[[int], object]) -> None:
        """As Loop.watch."""

    def forget(self, fd: int) -> None:
        """No-op for what is not watched."""


class Loop:
    """Descriptors by epoll(7), calls from other threads, and one deadline. Callbacks are called
    one after the other, in the thread that is in run()."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[int], object]] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._wake_read, self._wake_write = socket.socketpair()
        for s in (self._wake_read, self._wake_write):
            s.setblocking(False)
        self.watch(self._wake_read.fileno(), READ, self._woken)
        self._running = True
        # () -> CLOCK_BOOTTIME ns or None, and what to do then
        self.next_deadline: Callable[[], int | None] = lambda: None
        self.on_deadline: Callable[[], None] = lambda: None
        self._put_off = 0  # when it raised: not before

    def watch(self, fd: int, events: int, callback: Callable[[int], object]) -> None:
        """`callback(events)` on READ or WRITE readiness (errors and hang-up come as
        READ). A second call for the same fd replaces the first."""
        if fd in self._watched:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._watched[fd] = callback

    def forget(self, fd: int) -> None:
        """Must be called before the descriptor is closed. No-op if not watched."""
        if self._watched.pop(fd, None):
            self._epoll.unregister(fd)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Runs the callback in the loop's thread; may be called from any thread."""
        self._calls.append(callback)
        try:
            self._wake_write.send(b"\0")
        except (BlockingIOError, OSError):
            pass  # full: it is awake; closed: it has ended

    def on_signal(self, number: int, callback: Callable[[], None]) -> None:
        """Main thread only. The callback runs in the loop, not in the handler."""
        signal.signal(number, lambda *_: self._calls.append(callback))
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)

    def stop(self) -> None:
        """run() returns after the turn that is under way."""
        self._running = False

    def run(self) -> None:
        """Until stop(). A callback that raises is logged and the loop goes on: one bad
        event must not end the tunnel. A deadline's is called again a second later, not at once
        and for ever."""
        while self._running:
            self.turn()

    def turn(self, longest: float | None = None) -> None:
        """One round of waiting, of at most `longest` seconds, and of calling."""
        wait = self._timeout()
        if longest is not None:
            wait = longest if wait is None else min(wait, longest)
        for fd, events in self._epoll.poll(wait, 32):
            callback = self._watched.get(fd)
            if callback is not None:
                self._guarded(callback, events | READ if events & _GONE else events)
        while self._calls:
            self._guarded(self._calls.popleft())
        deadline = self._deadline()
        if deadline is not None and deadline <= _boottime() and not self._guarded(self.on_deadline):
            self._put_off = _boottime() + _PAUSE

    @staticmethod
    def _guarded(callback: Callable[[*_Arguments], object], *arguments: *_Arguments) -> bool:
        try:
            callback(*arguments)
        except Exception:
            log.exception("internal error")
            return False
        return True

    def _deadline(self) -> int | None:
        deadline = self.next_deadline()
        return None if deadline is None else max(deadline, self._put_off)

    def close(self) -> None:
        """After run() has returned; what is watched is left to who opened it."""
        signal.set_wakeup_fd(-1)
        self._epoll.close()
        self._wake_read.close()
        self._wake_write.close()

    def _timeout(self) -> float | None:
        if self._calls:
            return 0
        deadline = self._deadline()
        return None if deadline is None else max(0.0, (deadline - _boottime()) / 1e9)

    def _woken(self, _events: int) -> None:
        try:
            while self._wake_read.recv(4096):
                pass
        except BlockingIOError:
            pass


def _boottime() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
