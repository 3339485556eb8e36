"""The pen of the audit trail, in the hands of the supervisor: no packet of any network
reaches it. Crypto asks it to write, see wgpy.admin.pen, and has no descriptor of the trail."""

import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from wgpy.admin.audit import AuditLog, Head, last_head
from wgpy.admin.pen import asked_for
from wgpy.errors import WgpyError

log = logging.getLogger("wgpy")

AUDIT = "audit.log"
AUDIT_BYTES = 8 << 20  # a trail is rotated when it is longer
_OLD_TRAILS = 999
_ROTATE_AGAIN = 60.0   # s after a rotation that failed
AT_ONCE = 256          # entries that crypto may ask for, and then
A_SECOND = 10          # more of them a second


class Trail:
    """Open for as long as the supervisor lives. `error` and `errno` say why the last entry
    is not there, "" and 0 when it is."""

    def __init__(self, directory: Path):
        """OSError. A disk without space is none: the node starts, and changes are refused."""
        self._directory, self._again = directory, 0.0
        self.error, self.errno = "", 0
        self._fd = self._open()
        old = self._last()
        self._log = AuditLog(self._fd, _last_head(old) if old else None)

    @property
    def head(self) -> Head:
        return self._log.head

    def add(self, who: str | dict, what: str, result: str, /, *, by: str = "", **detail) -> str:
        """"" when the entry is on disk; else why not, in the words of an error."""
        try:
            self._rotate()
        except OSError as e:
            self._again = time.monotonic() + _ROTATE_AGAIN
            log.error("audit log: not rotated: %s", e.strerror)
        try:
            self._log.add(who, what, result, by=by, **detail)
            self.error, self.errno = "", 0
        except OSError as e:
            if not self.error:
                log.error("audit log: %s: changes are refused", e.strerror)
            self.error, self.errno = e.strerror or "failed", e.errno or errno.EIO
        return self.error

    def close(self) -> None:
        os.close(self._fd)

    def _rotate(self) -> None:
        if os.fstat(self._fd).st_size >= AUDIT_BYTES and time.monotonic() >= self._again \
                and len(trails(self._directory)) <= _OLD_TRAILS:
            self._log.rotate(self._following)

    def _following(self) -> int:
        fresh = self._open(f"{AUDIT}.new", os.O_TRUNC)
        number = len(trails(self._directory))
        os.rename(self._directory / AUDIT, self._directory / f"{AUDIT}.{number:03}")
        os.rename(self._directory / f"{AUDIT}.new", self._directory / AUDIT)
        self._fd = fresh
        return fresh

    def _open(self, name: str = AUDIT, flags: int = 0) -> int:
        return os.open(self._directory / name, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | flags,
                       0o600)

    def _last(self) -> Path | None:
        return trails(self._directory)[-2] if len(trails(self._directory)) > 1 else None


class Scribe:
    """Writes what crypto asks for, one request at a time and AT_ONCE of them, A_SECOND
    later: neither a disk nor the supervisor's time is crypto's to fill. `after(seconds,
    call)` is the supervisor's clock, `reply(message)` goes to crypto."""

    def __init__(self, trail: Trail, after: Callable[[float, Callable[[], None]], None],
                 reply: Callable[[dict], bool], clock: Callable[[], float] = time.monotonic):
        self._trail, self._after, self._reply, self._clock = trail, after, reply, clock
        self._left, self._since = float(AT_ONCE), clock()
        self._held, self._life = False, 0

    def asked(self, message: dict) -> None:
        """WgpyError for what is no request, and for one before the last was answered."""
        entry = asked_for(message)
        if self._held:
            raise WgpyError("a second request to the audit trail before the first is answered")
        now = self._clock()
        self._left = min(AT_ONCE, self._left + (now - self._since) * A_SECOND)
        self._since = now
        if self._left >= 1:
            self._answer(message["pen"], entry, self._life)
            return
        self._held, life = True, self._life
        self._after(1 / A_SECOND, lambda: self._answer(message["pen"], entry, life))

    def restarted(self) -> None:
        """Crypto is another process: what was held is written, and nobody is told."""
        self._held = False
        self._life += 1

    def _answer(self, number: int, entry: dict | None, life: int) -> None:
        self._left -= 1
        code, error = 0, ""
        if entry is not None:
            error = self._trail.add(entry["who"], entry["what"], entry["result"], **entry["detail"] | {"by": "crypto"})
            code = self._trail.errno if error else 0
        if life != self._life:
            return
        self._held = False
        entries, digest = self._trail.head
        self._reply({"pen": number, "errno": code, "error": error, "entries": entries, "hash": digest})


def _last_head(path: Path) -> Head | None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return last_head(fd)
    finally:
        os.close(fd)


def trails(directory: Path) -> list[Path]:
    """The files of the audit trail, the oldest first."""
    return sorted(directory.glob(f"{AUDIT}.[0-9][0-9][0-9]")) + [directory / AUDIT]
