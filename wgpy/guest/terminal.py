"""The terminal of crypto's console: a tty, or a port of virtio-serial. It may hang, be gone, come back
and be somebody else's by then; nobody here waits for it."""

import errno
import logging
import os
import stat
import termios
import tty
from collections.abc import Callable

from wgpy.loop import READ, WRITE, Loop
from wgpy.node.timers import Timers

log = logging.getLogger(__name__)

AGAIN = 1.0      # s from losing it to opening it anew
_PIECE = 4096    # bytes read or written at a time
_PIECES = 16     # written in one turn of the loop
_LOCAL = termios.CLOCAL | termios.CREAD


class Terminal:
    """Opened whenever it is there. `opened()` and `lost()` tell of it, `heard(buffer)` of what is typed,
    while `listens()`; `drained()`: what was put has left."""

    def __init__(self, path: str, loop: Loop, timers: Timers):
        self._path, self._loop, self._timers = path, loop, timers
        self._fd, self._out, self._kept, self._refused = -1, bytearray(), False, ""
        self.opened: Callable[[], None] = lambda: None
        self.lost: Callable[[], None] = lambda: None
        self.drained: Callable[[], None] = lambda: None
        self.heard: Callable[[memoryview], None] = lambda data: None
        self.listens: Callable[[], bool] = lambda: True

    def open(self) -> None:
        """Now, and again every AGAIN seconds until it is there; the log has the reason once."""
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            if not stat.S_ISCHR(os.fstat(self._fd).st_mode):
                raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
            if os.isatty(self._fd):
                _make_raw(self._fd)
            self._loop.watch(self._fd, READ, self._ready)
        except (OSError, termios.error) as e:
            self._refuse(os.strerror(e.args[0]))
            return
        self._refused = ""
        self.opened()
        self.look()

    def put(self, data: bytes) -> None:
        """Sends it, or keeps what cannot leave now. Without a terminal it is lost."""
        if self._fd >= 0:
            waited = bool(self._out)
            self._out += data
            if not waited:
                self._write()

    def clear(self) -> bool:
        """Nothing is kept."""
        return not self._out

    def look(self) -> None:
        """To be called when listens() may say something else."""
        if self._fd < 0:
            return
        if self._out:
            self._loop.watch(self._fd, WRITE, self._ready)
        elif self.listens():
            self._loop.watch(self._fd, READ, self._ready)
        else:
            self._loop.forget(self._fd)  # a hang-up, too, is heard when somebody listens

    def _ready(self, events: int) -> None:
        if self._out:
            if events & WRITE or not events & READ:
                self._write()
            else:  # it hung up with an answer unread
                self._lose()
        elif self.listens():
            self._read()
        self.look()

    def _write(self) -> None:
        try:
            for _ in range(_PIECES):
                if not self._out:
                    break
                with memoryview(self._out)[:_PIECE] as piece:
                    done = os.write(self._fd, piece)
                del self._out[:done]
        except BlockingIOError:
            pass
        except OSError:
            return self._lose()
        if self._out:
            self._kept = True
            self.look()
        elif self._kept:
            self._kept = False
            self.drained()

    def _read(self) -> None:
        buffer = bytearray(_PIECE)
        try:
            got = os.readv(self._fd, [buffer])
        except BlockingIOError:
            return
        except OSError:
            got = 0
        if not got:
            return self._lose()
        with memoryview(buffer)[:got] as typed:
            self.heard(typed)
        buffer[:] = bytes(_PIECE)

    def _lose(self) -> None:
        if self._fd < 0:
            return
        self._loop.forget(self._fd)
        os.close(self._fd)
        self._fd, self._kept = -1, False
        self._out.clear()
        self.lost()
        self._timers.after(AGAIN, self.open)

    def _refuse(self, why: str) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if why != self._refused:
            log.error("console %s: %s: tried again", self._path, why)
            self._refused = why
        self._timers.after(AGAIN, self.open)


def _make_raw(fd: int) -> None:
    """Bytes as they are, without echo and signals; a line without modem control."""
    tty.setraw(fd, termios.TCSANOW)
    modes = termios.tcgetattr(fd)
    modes[0] |= termios.IGNBRK
    modes[2] = modes[2] & ~termios.HUPCL | _LOCAL
    termios.tcsetattr(fd, termios.TCSANOW, modes)
