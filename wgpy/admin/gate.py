"""Who may administer a node (I1, I3). The supervisor accepts connections, turns strangers
away, says whose the others are and passes them on; here they are let in, and what they
change is written down before it is done: what cannot be written down is refused. Nothing
of this listens on a network.

A request is the UAPI's, or `wgpy=1`, a line of JSON and a blank line; the answer to that
is a line of JSON with "errno" and a blank line.
"""

import errno
import grp
import json
import logging
import socket
import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple

from wgpy.admin import uapi_server
from wgpy.admin.clients import Client, Clients
from wgpy.admin.pen import Pen, Written
from wgpy.config import uapi
from wgpy.config.model import SetRequest
from wgpy.config.values import short_key
from wgpy.errors import WgpyError

log = logging.getLogger("wgpy")

ADMIN_GROUP = "wgpy-admin"
JSON = b"wgpy=1\n"
MAX_SET = 256 << 10      # bytes of a UAPI request: some 10,000 allowed IPs, read in 0.2 s
MAX_COMMAND = 512 << 10  # bytes: 2,000 sites in a site file's text, read in 0.5 s
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


def allowed(who: Who, gid: int | None) -> bool:
    """Root, and the members of the administrators' group."""
    return who.uid == 0 or gid is not None and gid in (who.gid, *who.groups)


def refusal(block: bytes) -> str:
    """To whatever somebody without permission asks."""
    if block.startswith(JSON):
        return _json({"errno": errno.EACCES, "error": "permission denied"})
    return uapi.reply_errno(errno.EACCES, to_set=block.startswith(b"set="))


class Change(NamedTuple):
    """A change that was looked at and could be carried out: what the trail is to say of
    it, and what does it, whose answer may have an "audit" of its own for the outcome."""
    detail: dict
    carry_out: Callable[[], dict]


class Gate:
    """`uapi_handler` has apply, describe and metrics as for UapiServer, and check(request)
    for what apply would refuse. `commands` maps names to functions of the request's
    object that return an object, or raise WgpyError or OSError; those in `changing` change
    nothing themselves and return a Change."""

    def __init__(self, loop, pen: Pen, gid: int | None, uapi_handler,
                 commands: Mapping[str, Callable[[dict], dict]], changing: Mapping[str, Callable[[dict], Change]]):
        self._pen, self._gid, self._handler = pen, gid, uapi_handler
        self._commands, self._changing = commands, changing
        self._admins = Clients(loop, self._reply, lambda start: start.startswith(JSON), long=MAX_SET, longest=MAX_COMMAND)

    def connect(self, who: Who, connection: socket.socket) -> None:
        """Takes over a non-blocking connection that the supervisor accepted."""
        if allowed(who, self._gid):
            self._admins.add(connection, who)
            return
        connection.close()
        self.record(who, "connect", "refused")

    def record(self, who: Who | str, what: str, result: str, **detail) -> None:
        """Of what has happened already."""
        self._pen.write(_name(who), what, result, _complain, **detail)

    def close(self) -> None:
        self._admins.close()

    def _reply(self, client: Client, block: bytes) -> str | None:
        if block.startswith(JSON):
            return self._command(client, block[len(JSON):])
        if not block.startswith(b"set="):
            return uapi_server.answer(self._handler, block)
        self._set(client, block)
        return None

    def _set(self, client: Client, block: bytes) -> None:
        def answer(failure: dict | None, _: dict) -> str:
            return uapi.reply_errno(failure["errno"] if failure else 0, to_set=True)
        summary: dict = {}

        def prepare() -> Change:
            try:
                request = uapi.parse_request(block)
            except WgpyError as e:
                summary["error"] = str(e)
                raise
            summary.update(_summary(request))
            self._handler.check(request)
            return Change(summary, lambda: self._handler.apply(request) or {})
        self._change(client, "set", prepare, answer, summary)

    def _command(self, client: Client, text: bytes) -> str | None:
        try:
            request = json.loads(text)
            name = request["cmd"]
            changes = name in self._changing
            command = self._changing[name] if changes else self._commands[name]
        except (ValueError, TypeError, KeyError, RecursionError):
            return _json({"errno": errno.EINVAL, "error": "no such command"})
        if name == "audit":
            self._pen.head(lambda w: client.answer(_json(_failed(w) or {"entries": w.head.entries, "hash": w.head.hash})))
            return None
        if changes:
            self._change(client, name, lambda: command(request),
                         lambda failure, answer: _json(failure or {"errno": 0} | answer), {})
            return None
        failure, answer = _attempt(lambda: command(request) or {})
        return _json(failure or {"errno": 0} | answer)

    def _change(self, client: Client, what: str, prepare: Callable[[], Change],
                reply: Callable[[dict | None, dict], str], refused: dict) -> None:
        """Looked at; written down; carried out; its outcome written down; answered.
        `refused`: what the trail says of one that was refused when it was looked at."""
        who = _name(client.who)

        def finish(failure: dict | None, answer: dict, **detail) -> None:
            result = _result(what, failure)

            def told(written: Written) -> None:
                _complain(written)
                client.answer(reply(failure, answer))
            self._pen.write(who, what, result, told, **detail)

        def carry_out(written: Written) -> None:
            if failure := _failed(written):
                log.error("%s is refused: %s", what, failure["error"])
                client.answer(reply(failure, {}))
                return
            failure, answer = _attempt(change.carry_out)
            finish(failure, answer, of=written.head.entries, **answer.pop("audit", {}))

        failure, change = _attempt(prepare)
        if failure:
            finish(failure, {}, **refused)
        else:
            self._pen.write(who, what, "asked", carry_out, **change.detail)


def _attempt(action: Callable):
    """(None, what it returns), or (the failure, nothing)."""
    try:
        return None, action()
    except WgpyError as e:
        return {"errno": errno.EINVAL, "error": str(e)}, {}
    except OSError as e:
        return {"errno": e.errno or errno.EIO, "error": e.strerror or "failed"}, {}
    except Exception:
        log.exception("admin: internal error")
        return {"errno": errno.EIO, "error": "internal error"}, {}


def _result(what: str, failure: dict | None) -> str:
    if failure is None:
        return "ok"
    log.error("%s: %s", what, failure["error"])
    return errno.errorcode.get(failure["errno"], str(failure["errno"])) if what == "set" else failure["error"]


def _failed(written: Written) -> dict | None:
    if not written.errno:
        return None
    return {"errno": written.errno, "error": f"the audit trail cannot be written ({written.error}): nothing was changed"}


def _complain(written: Written) -> None:
    if written.errno:
        log.error("audit log: %s", written.error)


def _name(who: Who | str) -> str | dict:
    return who if isinstance(who, str) else who.entry()


def _json(answer: dict) -> str:
    return json.dumps(answer) + "\n\n"


def _summary(request) -> dict:
    """What a set request wants to change; never a key that is secret."""
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
