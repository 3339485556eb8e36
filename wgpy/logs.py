"""The form of a line in a log, for all programs. Loggers bear the names of their modules, so
that a level can be set for each."""

import logging
import os
import select
from abc import ABC, abstractmethod


def formatter(program: str, *, when: bool = True) -> logging.Formatter:
    """`program`: the interface, node or room whose line it is. `when`: with date and time,
    where nobody who copies the line has them."""
    return logging.Formatter(f"{'%(asctime)s ' if when else ''}{program.replace('%', '%%')} %(levelname)s: %(message)s")


def begin(handler: logging.Handler, program: str, *, level: int = logging.INFO, when: bool = True) -> None:
    """What is logged from now on goes to `handler` alone."""
    handler.setFormatter(formatter(program, when=when))
    logging.basicConfig(level=level, handlers=[handler], force=True)


class Handler(logging.Handler, ABC):
    """Whoever reads the log may hang: what cannot be handed over at once is lost, and the next
    line that arrives says how many were lost before it. `lost` counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = self._untold = 0

    def emit(self, record: logging.LogRecord) -> None:
        """As logging calls it; never waits, never raises."""
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        before = f" (lines lost before this one: {self._untold})" if self._untold else ""
        try:
            self.hand_over(record, text, before)
        except OSError:
            self.lost += 1
            self._untold += 1
        else:
            self._untold = 0

    @abstractmethod
    def hand_over(self, record: logging.LogRecord, text: str, before: str) -> None:
        """Without waiting, or OSError."""


class Stderr(Handler):
    """Stderr, which other processes may share, so that it stays as it is (blocking)."""

    def hand_over(self, record: logging.LogRecord, text: str, before: str) -> None:
        """A pipe that can be written to takes PIPE_BUF bytes at once (pipe(7)); OSError when it cannot."""
        line = f"{text}{before}\n".encode(errors="backslashreplace")
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        for at in range(0, len(line), select.PIPE_BUF):
            if not any(events & select.POLLOUT for _, events in poll.poll(0)):
                raise BlockingIOError
            os.write(2, line[at:at + select.PIPE_BUF])
