"""Signals during `up` and `down`: no step is cut in half, every wait can be.

A signal that would end the process is noted, and raised as Interrupted at the next `check`
or inside `waiting`. What was done is undone, and only then the process ends by that signal.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from wgpy.errors import WgpyError

_Handler = Callable[[int, FrameType | None], object] | int | None  # what signal.signal() takes and gives back

_ENDING = tuple(getattr(signal, name) for name in (
    "SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF",
    "SIGXCPU", "SIGIO", "SIGPWR", "SIGSTKFLT") if hasattr(signal, name))


class Interrupted(WgpyError):
    """By a signal of this number, while something was done that had to be undone."""

    def __init__(self, number: int):
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number

    def end(self) -> None:
        """Ends this process as the signal would have."""
        signal.signal(self.number, signal.SIG_DFL)
        os.kill(os.getpid(), self.number)


class Signals:
    """Those that are ignored at the start (nohup) stay ignored."""

    def __init__(self) -> None:
        self._came: int | None = None
        self._raises = False
        self._before: dict[int, _Handler] = {}

    def __enter__(self) -> "Signals":
        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._came is None:
            self._came = number
        if self._raises:
            self._raises = False
            raise Interrupted(self._came)

    def check(self) -> None:
        """Raises Interrupted when a signal came."""
        if self._came is not None:
            raise Interrupted(self._came)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, a signal raises at once."""
        self._raises = True
        try:
            self.check()
            yield
        finally:
            self._raises = False
