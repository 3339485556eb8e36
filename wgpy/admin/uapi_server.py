"""The UAPI socket: many clients, each with a bounded buffer, none of whom can hold up
another. Access is the file's mode (umask 077) and nothing else (I1).

The handler has apply(SetRequest), describe() -> DeviceState and metrics() -> dict; its
WgpyError becomes EINVAL (or the `errno` attribute of an OSError).
"""

import errno
import fcntl
import logging
import os
import socket
import stat

from wgpy.config import uapi
from wgpy.config.model import SetRequest
from wgpy.errors import HostError, WgpyError

log = logging.getLogger("wgpy")

SOCKET_DIR = "/var/run/wireguard"
MAX_CLIENTS = 64
MAX_REQUEST = 8 << 20  # bytes; room for every allowed IP that the plane can hold
MAX_LINE = 1024
_CHUNK = 65536
_READ, _WRITE = 1, 4  # EPOLLIN, EPOLLOUT


def socket_path(name: str) -> str:
    return f"{SOCKET_DIR}/{name}.sock"


def listen(path: str) -> socket.socket:
    """Listens at `path`, which only appears when it accepts. A socket that nobody
    serves is replaced; HostError if another daemon lives there."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    if _is_served(path):
        raise HostError(f"{path}: another daemon serves this interface")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    temporary = f"{path}.{os.getpid()}"
    old = os.umask(0o077)
    try:
        s.bind(temporary)
        s.listen(MAX_CLIENTS)
        os.rename(temporary, path)
    except OSError as e:
        s.close()
        raise HostError(f"{path}: {e.strerror}") from None
    finally:
        os.umask(old)
    return s


def adopt(fd: int) -> socket.socket:
    """Takes over a listening socket (WG_UAPI_FD). Raises HostError."""
    try:
        s = socket.socket(fileno=fd)
        if s.family != socket.AF_UNIX or not s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            s.detach()
            raise HostError(f"WG_UAPI_FD: descriptor {fd} is no listening Unix socket")
    except OSError as e:
        raise HostError(f"WG_UAPI_FD: descriptor {fd}: {e.strerror}") from None
    s.setblocking(False)
    s.set_inheritable(False)
    return s


def _is_served(path: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise HostError(f"{path}: exists and is no socket")
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:  # its backlog is full: somebody is there
            return True
        return True


class UapiServer:
    def __init__(self, loop, listener: socket.socket, path: str, handler):
        self._loop, self._listener, self._handler = loop, listener, handler
        self._clients: dict[int, _Client] = {}
        self._path, self._identity, self._directory = path, _identity(path), -1
        loop.watch(listener.fileno(), _READ, self._accept)

    def watch_file(self) -> None:
        """Asks for SIGIO when something in the directory is deleted or renamed
        (dnotify: no inotify instance, of which a host has 128 for all its users)."""
        try:
            self._directory = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY)
            fcntl.fcntl(self._directory, fcntl.F_NOTIFY,
                        fcntl.DN_DELETE | fcntl.DN_RENAME | fcntl.DN_CREATE | fcntl.DN_MULTISHOT)
        except OSError as e:
            log.warning("deletion of %s will go unnoticed: %s", self._path, e.strerror)

    def file_is_ours(self) -> bool:
        return self._identity is None or _identity(self._path) == self._identity

    def close(self) -> None:
        """Closes everything; removes the socket file if it is still ours."""
        for client in list(self._clients.values()):
            self.drop(client)
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        if self._directory >= 0:
            os.close(self._directory)
        if self._identity is not None and self.file_is_ours():
            try:
                os.unlink(self._path)
            except OSError as e:
                log.warning("%s: %s", self._path, e.strerror)

    def drop(self, client: "_Client") -> None:
        del self._clients[client.fd]
        self._loop.forget(client.fd)
        client.socket.close()

    def _accept(self, _events: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as e:  # gone again, or out of descriptors: the loop goes on
            if e.errno in (errno.EMFILE, errno.ENFILE) and self._clients:
                self._drop_idlest()
            return
        connection.setblocking(False)
        if len(self._clients) >= MAX_CLIENTS:
            self._drop_idlest()
        client = _Client(connection, self)
        self._clients[client.fd] = client
        self._loop.watch(client.fd, _READ, client.ready)

    def _drop_idlest(self) -> None:
        """The client first in the table: active ones are moved to the end."""
        self.drop(next(iter(self._clients.values())))

    def touch(self, client: "_Client") -> None:
        self._clients[client.fd] = self._clients.pop(client.fd)

    def want(self, client: "_Client", events: int) -> None:
        self._loop.watch(client.fd, events, client.ready)

    def answer(self, block: bytes) -> str:
        """The reply to one request; never raises."""
        to_set = block.startswith(b"set=")
        try:
            request = uapi.parse_request(block)
            if isinstance(request, SetRequest):
                self._handler.apply(request)
                return uapi.reply_errno(0, to_set=True)
            if request == uapi.METRICS:
                return uapi.format_metrics(self._handler.metrics())
            return uapi.format_get(self._handler.describe())
        except WgpyError as e:
            log.error("%s", e)
            return uapi.reply_errno(errno.EINVAL, to_set=to_set)
        except OSError as e:
            log.error("uapi: %s", e.strerror)
            return uapi.reply_errno(e.errno or errno.EIO, to_set=to_set)
        except Exception:
            log.exception("uapi: internal error")
            return uapi.reply_errno(errno.EIO, to_set=to_set)


class _Client:
    """While a reply waits to be written nothing more is read."""

    def __init__(self, connection: socket.socket, server: UapiServer):
        self.socket, self.fd, self._server = connection, connection.fileno(), server
        self._in, self._out = bytearray(), bytearray()
        self._seen = 0  # of self._in, searched for the end of a request
        self._ended = False

    def ready(self, events: int) -> None:
        try:
            if events & _READ and not self._out:
                self._read()
            self._serve()
        except OSError:
            self._server.drop(self)

    def _read(self) -> None:
        data = self.socket.recv(_CHUNK)
        self._ended = not data
        self._in += data
        self._server.touch(self)

    def _serve(self) -> None:
        """At most one request a turn, so that a stream of them shares with others."""
        if self._out:
            self._write()
            return
        block = self._next_request()
        if block is not None:
            self._out += self._server.answer(block).encode("ascii")
            self._write()
        elif self._ended:
            self._server.drop(self)

    def _next_request(self) -> bytes | None:
        end = self._in.find(b"\n\n", max(0, self._seen - 1))
        if end < 0:
            line = len(self._in) - (self._in.rfind(b"\n") + 1)
            self._seen = len(self._in)
            if len(self._in) > MAX_REQUEST or line > MAX_LINE:
                raise ConnectionAbortedError("request too long")
            return None
        block = bytes(self._in[:end])
        del self._in[:end + 2]
        self._seen = 0
        return block.lstrip(b"\n")

    def _write(self) -> None:
        try:
            del self._out[:self.socket.send(self._out)]
        except BlockingIOError:
            pass
        # EPOLLOUT also brings us back for a request that is buffered already.
        again = self._out or b"\n\n" in self._in or self._ended
        self._server.want(self, _WRITE if again else _READ)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        info = os.stat(path)
        return info.st_dev, info.st_ino
    except OSError:
        return None
