"""Who may administer a node (I1, I3). The supervisor accepts connections, says whose
they are and passes them on; here they are let in or turned away, and what they change
is written down. Nothing of this listens on a network.

A request is the UAPI's, or `wgpy=1`, a line of JSON and a blank line; the answer to that
is a line of JSON with "errno" and a blank line.
"""

import errno
import fcntl
import grp
import json
import logging
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from wgpy.admin import uapi_server
from wgpy.admin.audit import AuditLog
from wgpy.admin.clients import Client, Clients
from wgpy.config import uapi
from wgpy.config.model import SetRequest
from wgpy.config.values import short_key
from wgpy.errors import WgpyError

log = logging.getLogger("wgpy")

ADMIN_GROUP = "wgpy-admin"
JSON = b"wgpy=1\n"
MAX_STRANGERS = 8        # connections of people without permission, at a time
REFUSALS_EVERY = 60.0    # s between two entries about the same uid
_MAX_REMEMBERED = 256    # uids
_SO_PEERGROUPS = 59


class Who(NamedTuple):
    """The other end of a connection when it was made (unix(7), SO_PEERCRED)."""
    uid: int
    gid: int
    groups: tuple[int, ...]
    pid: int

    @classmethod
    def of(cls, connection: socket.socket) -> "Who":
        """Raises OSError."""
        pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        try:
            groups = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 65536)
        except OSError:  # ERANGE: so many groups that none of them shall count
            groups = b""
        return cls(uid, gid, struct.unpack(f"{len(groups) // 4}I", groups), pid)

    @classmethod
    def parse(cls, value) -> "Who":
        """What as_message() made. WgpyError for anything else."""
        try:
            numbers = [value["uid"], value["gid"], value["pid"], *value["groups"]]
            if any(type(n) is not int or n < 0 for n in numbers):
                raise ValueError
            return cls(*numbers[:2], tuple(numbers[3:]), numbers[2])
        except (TypeError, KeyError, ValueError):
            raise WgpyError("an admin connection without credentials") from None

    def as_message(self) -> dict:
        return self._asdict() | {"groups": list(self.groups[:1024])}

    def entry(self) -> dict:
        return {"uid": self.uid, "gid": self.gid, "pid": self.pid}


def admin_gid() -> int | None:
    try:
        return grp.getgrnam(ADMIN_GROUP).gr_gid
    except KeyError:
        return None


class Refusals:
    """Keeps somebody who is turned away again and again from filling the audit log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._last, self._untold = clock, {}, {}

    def note(self, uid: int) -> int:
        """How many refusals to write down now; 0: not yet."""
        now, count = self._clock(), self._untold.get(uid, 0) + 1
        if uid not in self._last and len(self._last) >= _MAX_REMEMBERED:
            oldest = min(self._last, key=self._last.get)
            del self._last[oldest]
            self._untold.pop(oldest, None)
        if now - self._last.get(uid, -REFUSALS_EVERY) < REFUSALS_EVERY:
            self._untold[uid] = count
            return 0
        self._last[uid], self._untold[uid] = now, 0
        return count


class Gate:
    """`uapi_handler` has apply, describe and metrics as for UapiServer; `commands` maps
    names to functions of the request's object that return an object, or raise WgpyError
    or OSError; those in `changing` are written down whatever comes of them."""

    def __init__(self, loop, audit: AuditLog, admin_gid: int | None, uapi_handler,
                 commands: Mapping[str, Callable[[dict], dict]], changing: frozenset[str],
                 clock: Callable[[], float] = time.monotonic):
        self.audit, self._gid, self._handler = audit, admin_gid, uapi_handler
        self._commands, self._changing = commands, changing
        self._refusals = Refusals(clock)
        self._admins = Clients(loop, self._reply, lambda start: start.startswith(JSON))
        self._strangers = Clients(loop, self._refuse)

    def connect(self, who: Who, connection: socket.socket) -> None:
        """Takes over a connection that the supervisor accepted."""
        descriptor = connection.fileno()
        # not setblocking(): its ioctl is none of the system calls of a jailed room
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_NONBLOCK)
        if self.allows(who):
            self._admins.add(connection, who)
            return
        if len(self._strangers) >= MAX_STRANGERS:
            self._strangers.drop_idlest()
        self._strangers.add(connection, who)
        if count := self._refusals.note(who.uid):
            self.record(who, "connect", "refused", **({"times": count} if count > 1 else {}))

    def allows(self, who: Who) -> bool:
        return who.uid == 0 or self._gid in (who.gid, *who.groups)

    def record(self, who: Who | str, what: str, result: str, **detail) -> None:
        try:
            self.audit.add(who if isinstance(who, str) else who.entry(), what, result, **detail)
        except OSError as e:
            log.error("audit log: %s", e.strerror)

    def close(self) -> None:
        self._admins.close()
        self._strangers.close()

    def _refuse(self, client: Client, block: bytes) -> str:
        if block.startswith(JSON):
            return _json({"errno": errno.EACCES, "error": "permission denied"})
        return uapi.reply_errno(errno.EACCES, to_set=block.startswith(b"set="))

    def _reply(self, client: Client, block: bytes) -> str:
        if block.startswith(JSON):
            return _json(self._command(client.who, block[len(JSON):]))
        if not block.startswith(b"set="):
            return uapi_server.answer(self._handler, block)
        reply = uapi_server.answer(self._handler, block)
        code = abs(int(reply.strip().removeprefix("errno=")))
        self.record(client.who, "set", errno.errorcode.get(code, str(code)) if code else "ok", **_summary(block))
        return reply

    def _command(self, who: Who, text: bytes) -> dict:
        try:
            request = json.loads(text)
            name = request["cmd"]
            command = self._commands[name]
        except (ValueError, TypeError, KeyError, RecursionError):
            return {"errno": errno.EINVAL, "error": "no such command"}
        detail, answer = {}, {}
        try:
            answer = command(request) or {}
            detail = answer.pop("audit", {})
            failure = None
        except WgpyError as e:
            failure = {"errno": errno.EINVAL, "error": str(e)}
        except OSError as e:
            failure = {"errno": e.errno or errno.EIO, "error": e.strerror or "failed"}
        except Exception:
            log.exception("admin: internal error")
            failure = {"errno": errno.EIO, "error": "internal error"}
        if name in self._changing:
            self.record(who, name, failure["error"] if failure else "ok", **detail)
        return failure or {"errno": 0} | answer


def _json(answer: dict) -> str:
    return json.dumps(answer) + "\n\n"


def _summary(block: bytes) -> dict:
    """What a set request wanted to change; never a key that is secret."""
    try:
        request = uapi.parse_request(block)
    except WgpyError as e:
        return {"error": str(e)}
    assert isinstance(request, SetRequest)
    device = [k for k in ("private_key", "listen_port", "fwmark") if getattr(request, k) is not None]
    peers = {}
    for p in request.peers[:32]:
        changed = [k for k in ("preshared_key", "endpoint", "keepalive") if getattr(p, k) is not None]
        changed += [k for k in ("remove", "update_only", "replace_allowed_ips", "allowed_ips") if getattr(p, k)]
        peers[short_key(p.public_key)] = " ".join(changed)
    out = {"device": device} if device else {}
    if request.replace_peers:
        out["replace_peers"] = True
    return out | ({"peers": peers, "count": len(request.peers)} if peers else {})
