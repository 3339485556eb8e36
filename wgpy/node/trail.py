"""The pen of the audit trail, in the hands of the supervisor: no packet of any network
reaches it. Crypto asks it to write, see wgpy.admin.pen, and has no descriptor of the trail."""

import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wgpy.admin.audit import START, AuditLog, Head, last_head
from wgpy.admin.pen import asked_for
from wgpy.errors import WgpyError

log = logging.getLogger(__name__)

AUDIT = "audit.log"
AUDIT_BYTES = 8 << 20  # a trail is rotated when it is longer
MEMORY_BYTES = 1 << 20  # that a trail without a disk may have
_LAST_BYTES = 1 << 20   # from the end, in which last() looks
_OLD_TRAILS = 999
_ROTATE_AGAIN = 60.0   # s after a rotation that failed
AT_ONCE = 256          # entries that crypto may ask for, and then
A_SECOND = 10          # more of them a second


class Trail:
    """Open for as long as the supervisor lives, and without a directory no longer than that. `error`
    and `errno` say why the last entry is not there, "" and 0 when it is."""

    def __init__(self, directory: Path | None):
        """OSError. A disk without space is none: the node starts, and changes are refused."""
        self._directory, self._again = directory, 0.0
        self.error, self.errno = "", 0
        self._fd = -1
        self._log: AuditLog | None = None
        try:
            self._begin()
        except OSError as e:
            if e.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._refused(e)

    @property
    def head(self) -> Head:
        """Entries and hash of the latest that is on disk."""
        return self._log.head if self._log else Head(0, START)

    def add(self, who: str | dict[str, Any], what: str, result: str, /, *, by: str = "", **detail: object) -> str:
        """"" when the entry is on disk; else why not, in the words of an error."""
        try:
            opened = self._log or self._begin()
            self._rotate(opened)
            if self._directory is None and os.fstat(self._fd).st_size >= MEMORY_BYTES:
                raise OSError(errno.ENOSPC, "the trail in memory is full; it begins anew when the guest does")
            opened.add(who, what, result, by=by, **detail)
            self.error, self.errno = "", 0
            if self._directory is None:  # whoever keeps the log has a copy
                log.info("audit: %s", self.last(1)[0])
        except OSError as e:
            self._refused(e)
        return self.error

    def last(self, most: int) -> list[str]:
        """The last lines of the file that is written now, the oldest first. OSError."""
        if self._log is None:
            return []
        size = os.fstat(self._fd).st_size
        start = max(0, size - _LAST_BYTES)
        lines = os.pread(self._fd, _LAST_BYTES, start).decode("ascii", "replace").splitlines()
        return lines[1 if start else 0:][-most:]

    def reading(self) -> int:
        """A new descriptor to read the file that is written now. OSError."""
        return os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Nothing waits: each entry was on disk when add() returned."""
        if self._fd >= 0:
            os.close(self._fd)

    def _begin(self) -> AuditLog:
        if self._directory is not None:
            self._directory.mkdir(mode=0o700, exist_ok=True)
        self._fd = self._open()
        old = self._last()
        self._log = AuditLog(self._fd, _last_head(old) if old else None)
        return self._log

    def _refused(self, why: OSError) -> None:
        if not self.error:
            log.error("audit log: %s: changes are refused", why.strerror)
        self.error, self.errno = why.strerror or "failed", why.errno or errno.EIO

    def _rotate(self, opened: AuditLog) -> None:
        directory = self._directory
        if directory is None or os.fstat(self._fd).st_size < AUDIT_BYTES or time.monotonic() < self._again \
                or len(trails(directory)) > _OLD_TRAILS:
            return
        try:
            opened.rotate(lambda: self._following(directory))
        except OSError as e:
            self._again = time.monotonic() + _ROTATE_AGAIN
            log.error("audit log: not rotated: %s", e.strerror)

    def _following(self, directory: Path) -> int:
        fresh = self._open(f"{AUDIT}.new", os.O_TRUNC)
        number = len(trails(directory))
        os.rename(directory / AUDIT, directory / f"{AUDIT}.{number:03}")
        os.rename(directory / f"{AUDIT}.new", directory / AUDIT)
        self._fd = fresh
        return fresh

    def _open(self, name: str = AUDIT, flags: int = 0) -> int:
        if self._directory is None:
            return os.memfd_create(name, os.MFD_CLOEXEC)
        return os.open(self._directory / name, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | flags,
                       0o600)

    def _last(self) -> Path | None:
        found = trails(self._directory) if self._directory is not None else []
        return found[-2] if len(found) > 1 else None


class Scribe:
    """Writes what crypto asks for, one request at a time and AT_ONCE of them, A_SECOND
    later: neither a disk nor the supervisor's time is crypto's to fill. `after(seconds,
    call)` is the supervisor's clock, `reply(message)` goes to crypto."""

    def __init__(self, trail: Trail, after: Callable[[float, Callable[[], None]], None],
                 reply: Callable[[dict[str, Any]], bool], clock: Callable[[], float] = time.monotonic):
        self._trail, self._after, self._reply, self._clock = trail, after, reply, clock
        self._left, self._since = float(AT_ONCE), clock()
        self._held, self._life = False, 0

    def asked(self, message: dict[str, Any]) -> None:
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

    def _answer(self, number: int, entry: dict[str, Any] | None, life: int) -> None:
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
