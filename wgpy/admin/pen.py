"""The audit trail from crypto's side: it has no descriptor of it, and asks the supervisor,
which no packet reaches, to write. What may happen only once it is written down happens
when the supervisor has said that it is.

One request is under way at a time; its answer names it:
{"pen": 7, "entry": {"who", "what", "result", "detail"}}, or no entry, to hear of the head;
{"pen": 7, "errno": 0, "error": "", "entries": 12, "hash": "…"}.
"""

import errno
import json
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from wgpy.admin.audit import START, Head, bounded
from wgpy.errors import WgpyError

CONSOLE = "console"  # who types at the console of crypto's guest
MAX_ENTRY = 16384  # bytes of JSON; the writer bounds it again
_WAITING = 128
_WORDS = {"who", "what", "result", "detail"}


class Written(NamedTuple):
    """What became of a request: errno 0 when the entry is on disk."""
    errno: int
    error: str
    head: Head


class Pen:
    """`send(message)` -> False when the supervisor does not take it."""

    def __init__(self, send: Callable[[dict[str, Any]], bool]):
        self._send, self._number = send, 0
        self._waiting: deque[tuple[dict[str, Any], Callable[[Written], None]]] = deque()

    def write(self, who: str | dict[str, Any], what: str, result: str, then: Callable[[Written], None] = lambda _: None,
              **detail: object) -> None:
        """`then` is told, at once when it cannot be asked for. An entry never holds a secret."""
        entry = {"who": bounded(who), "what": bounded(what), "result": bounded(result), "detail": bounded(detail)}
        if (size := len(json.dumps(entry))) > MAX_ENTRY:
            entry["detail"] = {"left out": size}
        self._ask({"entry": entry}, then)

    def head(self, then: Callable[[Written], None]) -> None:
        """`then` is told the trail's last hash and how many entries it has."""
        self._ask({}, then)

    def answered(self, message: dict[str, Any]) -> None:
        """The supervisor's answer; any other message is passed over."""
        if not self._waiting or message.get("pen") != self._number:
            return
        _, then = self._waiting.popleft()
        self._next()
        then(Written(message.get("errno", errno.EIO), message.get("error", ""),
                     Head(message.get("entries", 0), message.get("hash", START))))

    def _ask(self, request: dict[str, Any], then: Callable[[Written], None]) -> None:
        if len(self._waiting) >= _WAITING:
            then(Written(errno.EBUSY, "too many wait for the audit trail", Head(0, START)))
            return
        self._waiting.append((request, then))
        if len(self._waiting) == 1:
            self._next()

    def _next(self) -> None:
        while self._waiting:
            self._number += 1
            if self._send({"pen": self._number} | self._waiting[0][0]):
                return
            _, then = self._waiting.popleft()
            then(Written(errno.EIO, "the supervisor does not answer", Head(0, START)))


def asked_for(message: dict[str, Any]) -> dict[str, Any] | None:
    """The entry of a room's request, None when it asks for the head. WgpyError."""
    number, entry = message.get("pen"), message.get("entry")
    if type(number) is not int or not 0 < number < 1 << 63:
        raise WgpyError("a request to the audit trail without its number")
    if entry is None:
        return None
    if not isinstance(entry, dict) or set(entry) != _WORDS or len(json.dumps(entry)) > MAX_ENTRY:
        raise WgpyError("not an entry")
    who, detail = entry["who"], entry["detail"]
    person = isinstance(who, dict) and set(who) == {"uid", "gid", "pid"} and all(type(n) is int for n in who.values())
    if not (person or who in ("wgpy", CONSOLE)) or not isinstance(detail, dict) \
            or not all(isinstance(entry[k], str) for k in ("what", "result")):
        raise WgpyError("not an entry")
    return entry
