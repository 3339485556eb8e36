"""What surrounds a tunnel in its process: environment, logging, hardening, signals."""

import contextlib
import logging
import os
import resource
import signal

from wgpy import logs
from wgpy.admin import uapi_server
from wgpy.config.values import INTERFACE_NAME, absolute_path, quoted, sha256
from wgpy.crypto.library import load
from wgpy.daemon import syslog
from wgpy.daemon.standalone import Standalone
from wgpy.environment import discovery, max_peers, queues, whole_number
from wgpy.errors import HostError, SuiteError
from wgpy.isolate import jail, kernel
from wgpy.isolate.library import Library
from wgpy.loop import Loop
from wgpy.red import tun

_LEVELS = {"": logging.WARNING, "verbose": logging.DEBUG, "debug": logging.DEBUG,
           "info": logging.INFO, "error": logging.ERROR, "silent": logging.CRITICAL + 1}


def harden() -> None:
    """No core dumps, no reading of this process's memory by others of its user, and no key
    in swap, as far as the limit on locked memory allows."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    with contextlib.suppress(OSError):
        jail.lock_memory()


def give_up_rights() -> None:
    """Of root's rights those stay that sockets and the TUN need as long as the tunnel lives:
    marks and buffers, ports below 1024, and news of other network namespaces. For threads that are made afterwards. OSError."""
    kernel.drop_capabilities(keep=1 << kernel.CAP_NET_ADMIN | 1 << kernel.CAP_NET_BIND_SERVICE
                             | 1 << kernel.CAP_NET_BROADCAST)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def log_to_stderr(name: str) -> None:
    """LOG_LEVEL as wireguard-go has it: a word that is none of ours may be meant for
    another program of the same environment, and logs errors."""
    level = _LEVELS.get(os.environ.get("LOG_LEVEL", "").lower(), logging.ERROR)
    logs.begin(logs.Stderr(), name, level=level)


def log_to_syslog(name: str) -> syslog.Handler:
    """Of what the level lets through, beside stderr."""
    handler = syslog.Handler("wgpyd", name)
    logging.getLogger().addHandler(handler)
    return handler


def chosen_suite() -> Library | None:
    """Of WGPY_SUITE and WGPY_SUITE_SHA256, tried; None: WireGuard's. HostError."""
    path, digest = (os.environ.get(name, "") for name in ("WGPY_SUITE", "WGPY_SUITE_SHA256"))
    if not path and not digest:
        return None
    try:
        return Library(absolute_path(path), sha256(digest))
    except ValueError as e:
        raise HostError(f"WGPY_SUITE, WGPY_SUITE_SHA256: {e}") from None


class Process:
    """Everything open and answering once the constructor returns. Raises WgpyError."""

    def __init__(self, name: str):
        if not INTERFACE_NAME.match(name):
            raise HostError(f"{quoted(name)} is no interface name (1 to 15 of a-z A-Z 0-9 _=+.-)")
        adopted = _descriptor("WG_TUN_FD")
        library = chosen_suite()
        device = tun.create(name) if adopted is None else tun.adopt(adopted)
        self.loop = Loop()
        try:
            give_up_rights()
            self.tunnel = Standalone(self.loop, device, queues(), os.environ.get("WGPY_AEAD") or None,
                                     discovery(), max_peers(), None if library is None else load(library.fd))
        except SuiteError as e:
            device.close()
            raise HostError(f"{library.path if library else ''}: {e}") from None
        except BaseException:
            device.close()
            raise
        path = uapi_server.socket_path(name)
        try:
            listening = _descriptor("WG_UAPI_FD")
            listener = uapi_server.listen(path) if listening is None else uapi_server.adopt(listening)
        except BaseException:
            self.tunnel.close()
            raise
        self.server = uapi_server.UapiServer(self.loop, listener, path, self.tunnel)
        for stop_signal in (signal.SIGTERM, signal.SIGINT):
            self.loop.on_signal(stop_signal, self.loop.stop)
        self.loop.on_signal(signal.SIGIO, self._check_socket_file)
        self.server.watch_file()

    def run(self) -> None:
        """Until the interface or the socket file is deleted, or SIGTERM or SIGINT."""
        self.loop.run()

    def close(self) -> None:
        """Socket file, tunnel and loop, in this order: nobody finds a daemon that is half
        gone."""
        self.server.close()
        self.tunnel.close()
        self.loop.close()

    def _check_socket_file(self) -> None:
        if not self.server.file_is_ours():
            self.loop.stop()


def _descriptor(variable: str) -> int | None:
    text = os.environ.pop(variable, "")
    return whole_number(variable, text, 0, 2**20) if text else None
