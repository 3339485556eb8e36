"""Lines for the log daemon of this host (syslog(3), RFC 3164): a datagram each to /dev/log.
A socket that is full, absent or of another type loses the line. Each line connects anew, so a
log daemon may restart."""

import logging
import os
import socket
import time

from wgpy import logs

PATH = "/dev/log"
LONGEST = 4096  # characters of a line; log daemons take 8 KiB and more
_DAEMON = 3 << 3
_SEVERITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class Handler(logs.Handler):
    """One for each daemon in the background, beside what LOG_LEVEL sends to stderr."""

    def __init__(self, program: str, name: str, path: str = PATH):
        """Lines begin with `program`, its process number, and the interface's `name`."""
        super().__init__()
        self._program, self._name, self._path = program, name, path

    def hand_over(self, record: logging.LogRecord, text: str, before: str) -> None:
        """A datagram, or OSError when the log daemon does not take it now."""
        severity = next((s for level, s in _SEVERITIES if record.levelno >= level), 7)
        text = "".join(c if c.isprintable() else "?" for c in text.replace("\n", " | ")[:LONGEST])
        when = time.strftime("%b %e %H:%M:%S", time.localtime(record.created))
        line = f"<{_DAEMON | severity}>{when} {self._program}[{os.getpid()}]: {self._name}: {text}{before}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.setblocking(False)
            s.connect(self._path)
            s.send(line.encode(), socket.MSG_NOSIGNAL)
