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
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from wgpy.errors import WgpyError

START = "0" * 64
MAX_LINE = 4096  # bytes
_MAX_TEXT = 200  # characters of one value
_MAX_TORN = 16  # lines cut short, one after another
_FIELDS = {"n", "time", "who", "what", "result", "detail", "by", "prev", "hash"}


class AuditError(WgpyError):
    """The trail is not what was written; names file and line."""


class Head(NamedTuple):
    """Of a whole trail: how many entries, and the hash to keep elsewhere."""
    entries: int
    hash: str


def _hash(entry: dict[str, Any]) -> str:
    return _digest(_text(entry).encode())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _text(entry: dict[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True, separators=(",", ":"))


class AuditLog:
    """`fd` is open for reading and appending, and rotate() closes it. `clock()` gives
    wall time in seconds. What an entry says is the caller's care: never a secret."""

    def __init__(self, fd: int, head: Head | None = None, clock: Callable[[], float] = time.time):
        """Goes on where the file ends, or after `head` in an empty file. A last line
        that power loss cut short is kept and said to be that, now or, without space for
        it, before the next entry."""
        self._fd, self._clock = fd, clock
        found, self._torn, self._unended = _end(fd)
        self.head = found or head or Head(0, START)
        try:
            self._recover()
        except OSError:
            pass

    def add(self, who: str | dict[str, Any], what: str, result: str, /, *, by: str = "", **detail: object) -> None:
        """On disk when it returns. `by`: at whose word, where that is not the writer's
        own. Raises OSError; what got no space is left out, and the next entry that gets
        some says so."""
        self._recover()
        self._add(who, what, result, by, detail)

    def _add(self, who: str | dict[str, Any], what: str, result: str, by: str, detail: dict[str, Any]) -> None:
        entry = {"n": self.head.entries + 1, "time": _stamp(self._clock()), "who": bounded(who),
                 "what": bounded(what), "result": bounded(result), "prev": self.head.hash}
        if by:
            entry["by"] = bounded(by)
        if detail:
            entry["detail"] = {str(k)[:_MAX_TEXT]: bounded(v) for k, v in detail.items()}
            if len(_text(entry)) > MAX_LINE - 100:
                entry["detail"] = {"left out": len(_text(entry))}
        digest = _hash(entry)
        self._write((_text(entry | {"hash": digest}) + "\n").encode())
        self.head = Head(entry["n"], digest)  # it is in the file, whatever became of the disk
        os.fdatasync(self._fd)

    def _write(self, data: bytes) -> None:
        written = os.write(self._fd, data)
        if written != len(data):
            self._torn.append(data[:written])
            self._unended = True
            raise OSError(errno.ENOSPC, "the audit log has no space")

    def _recover(self) -> None:
        """Ends what was cut short, and says of each such line which it was."""
        if self._unended:
            os.write(self._fd, b"\n")
            self._unended = False
        if torn := self._torn[-_MAX_TORN:]:
            self._add("wgpy", "recovered", "torn line", "", {"torn": [_digest(line) for line in torn]})
            self._torn = []

    def rotate(self, following: Callable[[], int]) -> None:
        """Goes on in an empty file, of which `following` gives the descriptor, and closes
        the one of before. Without space for its last line, or without another file, it
        stays with it. Raises OSError."""
        self.add("wgpy", "rotated", "ok")
        fd = following()
        os.close(self._fd)
        self._fd = fd
        self.add("wgpy", "continued", "ok")


def last_head(fd: int) -> Head | None:
    """Of a file that a rotation has left: what the next one follows."""
    return _end(fd)[0]


def _end(fd: int) -> tuple[Head | None, list[bytes], bool]:
    """The last entry, the lines after it, which are none, and whether a newline lacks."""
    size = os.fstat(fd).st_size
    *lines, rest = os.pread(fd, 4 * MAX_LINE, max(0, size - 4 * MAX_LINE)).split(b"\n")
    torn: list[bytes] = []
    for line in [rest, *reversed(lines)]:
        entry = _entry(line)
        if entry is not None:
            return Head(entry["n"], entry["hash"]), torn, bool(rest)
        if line:
            torn.insert(0, line)
    return None, torn, bool(rest)


def _stamp(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03}Z"


def bounded(value: object, depth: int = 3) -> Any:
    """What of a value goes into an entry: printable, and of limited length and depth."""
    if isinstance(value, dict) and depth:
        return {str(k)[:_MAX_TEXT]: bounded(v, depth - 1) for k, v in list(value.items())[:64]}
    if isinstance(value, (list, tuple)) and depth:
        return [bounded(v, depth - 1) for v in value[:64]]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return "".join(c if c.isprintable() else "?" for c in str(value)[:_MAX_TEXT])


def _entry(line: bytes) -> dict[str, Any] | None:
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


def _follows(entry: dict[str, Any], state: Head | None, place: str) -> None:
    if state is None:
        if entry["n"] == 1 and entry["prev"] != START:
            raise AuditError(f"{place}: a first line that follows another one")
    elif entry["n"] != state.entries + 1 or entry["prev"] != state.hash:
        raise AuditError(f"{place}: does not follow the line before it: lines were removed, added or reordered")


def _excused(line: bytes, lines: list[bytes], number: int) -> bool:
    """A line cut by power loss or for want of space, of which the next entry says so."""
    after = next((entry for later in lines[number:number + _MAX_TORN] if (entry := _entry(later)) is not None), None)
    if after is None or after["what"] != "recovered":
        return False
    torn = after.get("detail", {}).get("torn")
    return _digest(line) in (torn if isinstance(torn, list) else [torn])
