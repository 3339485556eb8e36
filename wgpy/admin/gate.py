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
from typing import Any, NamedTuple, Protocol, TypeVar

from wgpy.admin import uapi_server
from wgpy.admin.clients import Client, Clients
from wgpy.admin.pen import CONSOLE, Pen, Written
from wgpy.config import uapi
from wgpy.config.model import SetRequest
from wgpy.config.values import short_key
from wgpy.errors import WgpyError
from wgpy.loop import Watcher

log = logging.getLogger(__name__)

ADMIN_GROUP = "wgpy-admin"
JSON = b"wgpy=1\n"
MAX_SET = 256 << 10      # bytes of a UAPI request: some 10,000 allowed IPs, read in 0.2 s
MAX_COMMAND = 512 << 10  # bytes: 2,000 sites in a site file's text, read in 0.5 s
_SO_PEERGROUPS = 59

Answer = dict[str, Any]  # an object of JSON, as are requests
_T = TypeVar("_T")


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
    def parse(cls, value: Any) -> "Who | str":
        """What as_message() made, or CONSOLE. WgpyError for anything else."""
        if value == CONSOLE:
            return CONSOLE
        try:
            uid, gid, pid, groups = value["uid"], value["gid"], value["pid"], tuple(value["groups"])
            if any(type(n) is not int or n < 0 for n in (uid, gid, pid, *groups)):
                raise ValueError
            return cls(uid, gid, groups, pid)
        except (TypeError, KeyError, ValueError):
            raise WgpyError("an admin connection without credentials") from None

    def as_message(self) -> dict[str, Any]:
        """For the control channel; parse() reads it. Beyond 1024 groups the rest do not
        count."""
        return self._asdict() | {"groups": list(self.groups[:1024])}

    def entry(self) -> dict[str, int]:
        """As the audit trail has it."""
        return {"uid": self.uid, "gid": self.gid, "pid": self.pid}


def admin_gid() -> int | None:
    """Of ADMIN_GROUP; None on a host that has no such group: then only root administers."""
    try:
        return grp.getgrnam(ADMIN_GROUP).gr_gid
    except KeyError:
        return None


def allowed(who: Who, gid: int | None) -> bool:
    """Root, and the members of the administrators' group."""
    return who.uid == 0 or gid is not None and gid in (who.gid, *who.groups)


class Failure(NamedTuple):
    """The answer to what was not done."""
    errno: int
    error: str


def refusal(block: bytes) -> str:
    """To whatever somebody without permission asks."""
    if block.startswith(JSON):
        return _reply(Failure(errno.EACCES, "permission denied"))
    return uapi.reply_errno(errno.EACCES, to_set=block.startswith(b"set="))


class Change(NamedTuple):
    """A change that was looked at and could be carried out: what the trail is to say of
    it, and what does it, whose answer may have an "audit" of its own for the outcome."""
    detail: Mapping[str, Any]
    carry_out: Callable[[], "Answer | Later"]


class Later:
    """The answer of a change that somebody else carries out: done(outcome) once it is known
    ends it, where outcome() returns the answer or raises as carry_out() does."""

    def __init__(self) -> None:
        self.done: Callable[[Callable[[], Answer]], None] = lambda outcome: None


class Handler(uapi_server.Handler, Protocol):
    """Of the UAPI's requests at a node, where a change is looked at before it is written
    down."""

    def check(self, request: SetRequest) -> None:
        """Raises what apply(request) would raise, and changes nothing."""


class Gate:
    """`commands` maps names to functions of the request's
    object that return an object, or raise WgpyError or OSError; those in `changing` change
    nothing themselves and return a Change."""

    def __init__(self, loop: Watcher, pen: Pen, gid: int | None, uapi_handler: Handler,
                 commands: Mapping[str, Callable[[dict[str, Any]], Answer]],
                 changing: Mapping[str, Callable[[dict[str, Any]], Change]]):
        self._pen, self._gid, self._handler = pen, gid, uapi_handler
        self._commands, self._changing = commands, changing
        self._admins = Clients(loop, self._reply, lambda start: start.startswith(JSON), long=MAX_SET, longest=MAX_COMMAND)

    def connect(self, who: Who | str, connection: socket.socket) -> None:
        """Takes over a non-blocking connection that the supervisor accepted, or made for the console."""
        if isinstance(who, str) or allowed(who, self._gid):
            self._admins.add(connection, who)
            return
        connection.close()
        self.record(who, "connect", "refused")

    def record(self, who: Who | str, what: str, result: str, **detail: object) -> None:
        """Of what has happened already."""
        self._pen.write(_name(who), what, result, _complain, **detail)

    def close(self) -> None:
        """Drops the administrators' connections."""
        self._admins.close()

    def _reply(self, client: Client[Who | str], block: bytes) -> str | None:
        if block.startswith(JSON):
            return self._command(client, block[len(JSON):])
        if not block.startswith(b"set="):
            return uapi_server.answer(self._handler, block)
        self._set(client, block)
        return None

    def _set(self, client: Client[Who | str], block: bytes) -> None:
        """`block` begins with `set=`."""
        def answer(outcome: Answer | Failure) -> str:
            return uapi.reply_errno(outcome.errno if isinstance(outcome, Failure) else 0, to_set=True)
        summary: dict[str, Any] = {}

        def prepare() -> Change:
            try:
                request = uapi.parse_request(block, self._handler.key_sizes)
            except WgpyError as e:
                summary["error"] = str(e)
                raise
            assert isinstance(request, SetRequest)
            summary.update(_summary(request))
            self._handler.check(request)

            def carry_out() -> Answer:
                self._handler.apply(request)
                return {}
            return Change(summary, carry_out)
        self._change(client, "set", prepare, answer, summary)

    def _command(self, client: Client[Who | str], text: bytes) -> str | None:
        try:
            request = json.loads(text)
            name = request["cmd"]
            if name not in self._changing and name not in self._commands:
                raise KeyError(name)
        except (ValueError, TypeError, KeyError, RecursionError):
            return _reply(Failure(errno.EINVAL, "no such command"))
        if name == "audit":
            self._pen.head(lambda w: client.answer(_json(_failed(w) or {"entries": w.head.entries, "hash": w.head.hash})))
            return None
        if name in self._changing:
            self._change(client, name, lambda: self._changing[name](request), _reply, {})
            return None
        return _reply(_attempt(lambda: self._commands[name](request)))

    def _change(self, client: Client[Who | str], what: str, prepare: Callable[[], Change],
                reply: Callable[[Answer | Failure], str], refused: dict[str, Any]) -> None:
        """Looked at; written down; carried out; its outcome written down; answered.
        `refused`: what the trail says of one that was refused when it was looked at."""
        who = _name(client.who)

        def finish(outcome: Answer | Failure, **detail: object) -> None:
            result = _result(what, outcome)

            def told(written: Written) -> None:
                _complain(written)
                client.answer(reply(outcome))
            self._pen.write(who, what, result, told, **detail)

        change = _attempt(prepare)
        if isinstance(change, Failure):
            finish(change, **refused)
            return

        def carry_out(written: Written) -> None:
            if failure := _failed(written):
                log.error("%s is refused: %s", what, failure.error)
                client.answer(reply(failure))
                return
            def conclude(outcome: Callable[[], Answer | Later]) -> None:
                answer = _attempt(outcome)
                if isinstance(answer, Later):
                    answer.done = conclude
                else:
                    audit = {} if isinstance(answer, Failure) else answer.pop("audit", {})
                    finish(answer, of=written.head.entries, **audit)
            conclude(change.carry_out)
        self._pen.write(who, what, "asked", carry_out, **change.detail)


def _attempt(action: Callable[[], _T]) -> _T | Failure:
    """What it returns, or what it raises."""
    try:
        return action()
    except WgpyError as e:
        return Failure(errno.EINVAL, str(e))
    except OSError as e:
        return Failure(e.errno or errno.EIO, e.strerror or "failed")
    except Exception:
        log.exception("admin: internal error")
        return Failure(errno.EIO, "internal error")


def _result(what: str, outcome: Answer | Failure) -> str:
    if not isinstance(outcome, Failure):
        return "ok"
    log.error("%s: %s", what, outcome.error)
    return errno.errorcode.get(outcome.errno, str(outcome.errno)) if what == "set" else outcome.error


def _failed(written: Written) -> Failure | None:
    if not written.errno:
        return None
    return Failure(written.errno, f"the audit trail cannot be written ({written.error}): nothing was changed")


def _complain(written: Written) -> None:
    if written.errno:
        log.error("audit log: %s", written.error)


def _name(who: Who | str) -> str | dict[str, int]:
    return who if isinstance(who, str) else who.entry()


def _reply(outcome: Answer | Failure) -> str:
    return _json(outcome if isinstance(outcome, Failure) else {"errno": 0} | outcome)


def _json(answer: Answer | Failure) -> str:
    return json.dumps(answer._asdict() if isinstance(answer, Failure) else answer) + "\n\n"


def _summary(request: SetRequest) -> dict[str, Any]:
    """What it wants to change; never a key that is secret."""
    device = [k for k in ("private_key", "listen_port", "fwmark") if getattr(request, k) is not None]
    peers = {}
    for p in request.peers[:32]:
        changed = [k for k in ("preshared_key", "endpoint", "keepalive") if getattr(p, k) is not None]
        changed += [k for k in ("remove", "update_only", "replace_allowed_ips", "allowed_ips") if getattr(p, k)]
        peers[short_key(p.public_key)] = " ".join(changed)
    out: dict[str, Any] = {"device": device} if device else {}
    if request.replace_peers:
        out["replace_peers"] = True
    return out | ({"peers": peers, "count": len(request.peers)} if peers else {})
