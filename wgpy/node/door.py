"""Whose connections are passed on to crypto: those of administrators. Others are answered
here with EACCES, so that a user of the machine cannot take crypto's time, and the refusal
is written down."""

import socket
from collections.abc import Callable
from typing import Any

from wgpy.admin.clients import Clients
from wgpy.admin.gate import JSON, Who, allowed, refusal
from wgpy.admin.refusals import Refusals
from wgpy.loop import Watcher
from wgpy.node.trail import Trail

MAX_STRANGERS = 8     # connections of people without permission, at a time
MAX_REQUEST = 65536   # bytes of theirs that are read; nothing is made of them


class Door:
    """`send(message, fds)` goes to crypto; `gid` is the administrators' group."""

    def __init__(self, loop: Watcher, send: Callable[[dict[str, Any], dict[str, int]], bool], gid: int | None, trail: Trail | None):
        self._send, self._gid, self._trail = send, gid, trail
        self._refusals = Refusals()
        self._strangers: Clients[Who] = Clients(loop, lambda client, block: refusal(block), lambda start: start.startswith(JSON),
                                  most=MAX_STRANGERS, long=MAX_REQUEST, longest=MAX_REQUEST)

    def admit(self, connection: socket.socket) -> None:
        """Takes over a non-blocking connection; passed on unread, with the kernel's word
        for whose it is."""
        try:
            who = Who.of(connection)
        except OSError:
            connection.close()
            return
        if allowed(who, self._gid):
            with connection:
                self._send({"admin": who.as_message()}, {"connection": connection.fileno()})
            return
        self._strangers.add(connection, who)
        if self._trail is not None and (detail := self._refusals.note(who.uid)) is not None:
            self._trail.add(who.entry(), "connect", "refused", **detail)

    def close(self) -> None:
        """Strangers that still wait for their refusal."""
        self._strangers.close()
