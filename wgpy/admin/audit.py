"""The audit trail: JSON lines, each with the hash of the line before it and its own, on
a descriptor that only appends (I1, I3).

`verify` notices lines that were changed, removed, added, reordered or cut out of the
middle. It cannot notice that the last lines are gone, nor a trail made anew from its
beginning: for that the head hash, which it returns, has to be kept somewhere else. A
rotated trail goes on in the next file, whose first line names the last hash of this one.
"""

import errno
import hashlib
import json
import os
import time
from collections.abc import Iterable
from typing import NamedTuple

from wgpy.errors import WgpyError

START = "0" * 64
MAX_LINE = 4096  # bytes
_MAX_TEXT = 200  # characters of one value
_FIELDS = {"n", "time", "who", "what", "result", "detail", "prev", "hash"}


class AuditError(WgpyError):
    """The trail is not what was written; names file and line."""


class Head(NamedTuple):
    """Of a whole trail: how many entries, and the hash to keep elsewhere."""
    entries: int
    hash: str


def _hash(entry: dict) -> str:
    return hashlib.sha256(_text(entry).encode()).hexdigest()


def _text(entry: dict) -> str:
    return json.dumps(entry, sort_keys=True, separators=(",", ":"))


class AuditLog:
    """`fd` is open for reading and appending, and rotate() closes it. `clock()` gives
    wall time in seconds. What an entry says is the caller's care: never a secret."""

    def __init__(self, fd: int, head: Head | None = None, clock=time.time):
        """Goes on where the file ends, or after `head` in an empty file. A last line
        that power loss cut short is kept and said to be that."""
        self._fd, self._clock = fd, clock
        found, self._torn = _end(fd)
        self.head = found or head or Head(0, START)
        if self._torn is not None:
            self._recover()

    def add(self, who: str | dict, what: str, result: str, **detail) -> None:
        """On disk when it returns. Raises OSError; what got no space is left out, and the
        next entry that gets some says so."""
        if self._torn is not None:
            self._recover()
        entry = {"n": self.head.entries + 1, "time": _stamp(self._clock()), "who": _bounded(who),
                 "what": _bounded(what), "result": _bounded(result), "prev": self.head.hash}
        if detail:
            entry["detail"] = {k: _bounded(v) for k, v in detail.items()}
            if len(_text(entry)) > MAX_LINE - 100:
                entry["detail"] = {"left out": len(_text(entry))}
        digest = _hash(entry)
        data = (_text(entry | {"hash": digest}) + "\n").encode()
        written = os.write(self._fd, data)
        if written != len(data):
            self._torn = data[:written]
            raise OSError(errno.ENOSPC, "the audit log has no space")
        os.fdatasync(self._fd)
        self.head = Head(entry["n"], digest)

    def _recover(self) -> None:
        os.write(self._fd, b"\n")
        torn, self._torn = self._torn, None
        if torn:
            self.add("wgpy", "recovered", "torn line", torn=hashlib.sha256(torn).hexdigest())

    def rotate(self, fd: int) -> None:
        """Goes on in an empty file, which it takes over, and closes the one of before.
        Where that has no space for its last line it stays with it. Raises OSError."""
        try:
            self.add("wgpy", "rotated", "ok")
        except OSError:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd = fd
        self.add("wgpy", "continued", "ok")


def last_head(fd: int) -> Head | None:
    """Of a file that a rotation has left: what the next one follows."""
    return _end(fd)[0]


def _end(fd: int) -> tuple[Head | None, bytes | None]:
    """The last entry, and what stands after the last newline: None for nothing, empty
    for an entry that lacks only its newline."""
    size = os.fstat(fd).st_size
    *lines, torn = os.pread(fd, 4 * MAX_LINE, max(0, size - 4 * MAX_LINE)).split(b"\n")
    for line in [torn, *reversed(lines)]:
        entry = _entry(line)
        if entry is not None:
            return Head(entry["n"], entry["hash"]), b"" if line is torn else torn or None
    return None, torn or None


def _stamp(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03}Z"


def _bounded(value, depth: int = 3):
    if isinstance(value, dict) and depth:
        return {str(k)[:_MAX_TEXT]: _bounded(v, depth - 1) for k, v in list(value.items())[:64]}
    if isinstance(value, (list, tuple)) and depth:
        return [_bounded(v, depth - 1) for v in value[:64]]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return "".join(c if c.isprintable() else "?" for c in str(value)[:_MAX_TEXT])


def _entry(line: bytes) -> dict | None:
    """The entry of a line whose form and own hash are right."""
    if not 0 < len(line) <= MAX_LINE:
        return None
    try:
        entry = json.loads(line)
        digest = entry.pop("hash")
        right = _FIELDS > set(entry) and isinstance(entry["n"], int) and _hash(entry) == digest \
            and line == _text(entry | {"hash": digest}).encode()
        return entry | {"hash": digest} if right else None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None


def verify(files: Iterable[tuple[str, bytes]], head: str | None = None) -> Head:
    """Reads the files of one trail, (name, contents) from the oldest on; the first may
    go on after files that are no more. `head`, kept from an earlier run, must be the
    hash of one of the lines. Raises AuditError at the first line that is wrong."""
    state: Head | None = None
    seen, last = head is None or head == START, ""
    for name, data in files:
        last = name
        lines = data.split(b"\n")
        torn = lines.pop()
        for number, line in enumerate(lines, 1):
            place = f"{name}:{number}"
            entry = _entry(line)
            if entry is None:
                if not _excused(line, lines, number):
                    raise AuditError(f"{place}: this line was changed")
                continue
            _follows(entry, state, place)
            state = Head(entry["n"], entry["hash"])
            seen = seen or entry["hash"] == head
        if torn:
            raise AuditError(f"{name}:{len(lines) + 1}: the last line is not whole (power loss, or it was cut)")
    if not seen:
        raise AuditError(f"{last or 'audit log'}: no line has the hash that was kept: lines are missing at the end, "
                         "or the trail was made anew")
    return state or Head(0, START)


def _follows(entry: dict, state: Head | None, place: str) -> None:
    if state is None:
        if entry["n"] == 1 and entry["prev"] != START:
            raise AuditError(f"{place}: a first line that follows another one")
    elif entry["n"] != state.entries + 1 or entry["prev"] != state.hash:
        raise AuditError(f"{place}: does not follow the line before it: lines were removed, added or reordered")


def _excused(line: bytes, lines: list[bytes], number: int) -> bool:
    """A line cut by power loss, of which the next one says so."""
    after = _entry(lines[number]) if number < len(lines) else None
    return (after is not None and after["what"] == "recovered"
            and after.get("detail", {}).get("torn") == hashlib.sha256(line).hexdigest())
