"""The UAPI socket: many clients, each with a bounded buffer, none of whom can hold up
another. Access is the file's mode (umask 077) and nothing else (I1).
"""

import errno
import fcntl
import logging
import os
import socket
import stat
from typing import Protocol

from wgpy.admin.clients import MAX_CLIENTS, Clients
from wgpy.config import uapi
from wgpy.config.model import DeviceState, KeySizes, SetRequest
from wgpy.errors import HostError, LimitError, WgpyError
from wgpy.loop import READ, Watcher

log = logging.getLogger(__name__)

SOCKET_DIR = "/var/run/wireguard"


def socket_path(name: str) -> str:
    """Where wg(8) and wireguard-tools look for the daemon of this interface."""
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


class Handler(Protocol):
    """Of requests. A WgpyError becomes EINVAL, a LimitError ENOSPC, an OSError its `errno`."""

    @property
    def key_sizes(self) -> KeySizes:
        """Of the keys in requests."""

    def apply(self, request: SetRequest) -> None:
        """Carries a checked request out, whole or not at all."""

    def describe(self) -> DeviceState:
        """The answer to `get=1`, with the private key and the preshared keys in it."""

    def metrics(self) -> dict[str, int | str]:
        """The answer to `metrics=1`: numbers, and a few words such as the backend's name."""


class UapiServer:
    """`listener` is non-blocking and becomes the server's; `path` is where its file stands."""

    def __init__(self, loop: Watcher, listener: socket.socket, path: str, handler: Handler):
        self._loop, self._listener, self._handler = loop, listener, handler
        self._clients: Clients[None] = Clients(loop, lambda client, block: self.answer(block))
        self._path, self._identity, self._directory = path, _identity(path), -1
        loop.watch(listener.fileno(), READ, lambda _: self._clients.accept(listener, None))

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
        """False when somebody removed or replaced it, which asks the daemon to end. True where
        there never was one (WG_UAPI_FD)."""
        return self._identity is None or _identity(self._path) == self._identity

    def close(self) -> None:
        """Closes everything; removes the socket file if it is still ours."""
        self._clients.close()
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        if self._directory >= 0:
            os.close(self._directory)
        if self._identity is not None and self.file_is_ours():
            try:
                os.unlink(self._path)
            except OSError as e:
                log.warning("%s: %s", self._path, e.strerror)

    def answer(self, block: bytes) -> str:
        """To one request, without its blank line; never raises."""
        return answer(self._handler, block)


def answer(handler: Handler, block: bytes) -> str:
    """The reply to one request; never raises."""
    to_set = block.startswith(b"set=")
    try:
        request = uapi.parse_request(block, handler.key_sizes)
        if isinstance(request, SetRequest):
            handler.apply(request)
            return uapi.reply_errno(0, to_set=True)
        if request == uapi.METRICS:
            return uapi.format_metrics(handler.metrics())
        return f"{uapi.OURS}\n{uapi.format_get(handler.describe())}"
    except WgpyError as e:
        log.error("%s", e)
        return uapi.reply_errno(errno.ENOSPC if isinstance(e, LimitError) else errno.EINVAL, to_set=to_set)
    except OSError as e:
        log.error("uapi: %s", e.strerror)
        return uapi.reply_errno(e.errno or errno.EIO, to_set=to_set)
    except Exception:
        log.exception("uapi: internal error")
        return uapi.reply_errno(errno.EIO, to_set=to_set)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        info = os.stat(path)
        return info.st_dev, info.st_ino
    except OSError:
        return None
