"""What the main process asks crypto in an administrator's name: over a connection of its own for each
request, as docs/administration.md has them, so that crypto's gate decides, writes down and answers."""

import json
import socket
from collections.abc import Callable
from typing import Any

from wgpy.admin.gate import JSON
from wgpy.admin.pen import CONSOLE
from wgpy.errors import WgpyError
from wgpy.loop import READ, Loop

MAX_ANSWER = 4 << 20  # bytes
_PIECE = 65536

Then = Callable[[dict[str, Any] | str], None]  # the answer, or why there is none


class Asking:
    """`send(message, descriptors)` goes to crypto, which may have been taken over: what it answers is
    bounded, and cleaned by whoever shows it."""

    def __init__(self, loop: Loop, send: Callable[[dict[str, Any], dict[str, int]], bool]):
        self._loop, self._send = loop, send
        self._open: dict[int, tuple[socket.socket, bytearray, Then]] = {}

    def ask(self, request: dict[str, Any], then: Then) -> None:
        """`then` is told once, whatever becomes of crypto. WgpyError when it is not there."""
        ours, theirs = socket.socketpair()
        with theirs:
            for end in (ours, theirs):
                end.setblocking(False)
            if not self._send({"admin": CONSOLE}, {"connection": theirs.fileno()}):
                ours.close()
                raise WgpyError("crypto is not up")
        try:
            ours.sendall(JSON + json.dumps(request).encode() + b"\n\n")
        except OSError:
            ours.close()
            raise WgpyError("crypto does not listen") from None
        self._open[ours.fileno()] = ours, bytearray(), then
        self._loop.watch(ours.fileno(), READ, lambda _: self._heard(ours))

    def _heard(self, ours: socket.socket) -> None:
        _, answer, then = self._open[ours.fileno()]
        try:
            data = ours.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        answer += data
        if data and not answer.endswith(b"\n\n") and len(answer) <= MAX_ANSWER:
            return
        del self._open[ours.fileno()]
        self._loop.forget(ours.fileno())
        ours.close()
        then(_read(bytes(answer)))


def _read(answer: bytes) -> dict[str, Any] | str:
    if not answer.endswith(b"\n\n"):
        return "crypto ended before it had answered"
    try:
        said = json.loads(answer)
        if said["errno"] == 0:
            return dict(said)
        return str(said["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return "crypto's answer is none"
