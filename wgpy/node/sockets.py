"""The sockets of a node: admin.sock, and the same under the name that wg(8) looks for. Anybody
may connect; whose connection goes further is the door's to say, see door.py."""

import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

from wgpy.admin import uapi_server
from wgpy.admin.faults import Fault
from wgpy.admin.uapi_server import socket_path
from wgpy.errors import WgpyError
from wgpy.loop import READ, Loop

log = logging.getLogger(__name__)


class Sockets:
    """`faults`: the socket for wg(8), while it cannot be had."""

    def __init__(self, loop: Loop, run_dir: Path, node: str, admit: Callable[[socket.socket], None]):
        """`admit(connection)` takes over a connection. Raises OSError, HostError."""
        self.faults: list[Fault] = []
        self._loop, self._admit = loop, admit
        self._open: list[tuple[socket.socket, Path]] = []
        self._listen(run_dir / "admin.sock")
        self._path_for_wg = Path(socket_path(node))
        self._listen_for_wg()

    def tick(self) -> None:
        """To be called now and then: tries again what failed."""
        if self.faults:
            self._listen_for_wg()

    def close(self) -> None:
        """Their files go, too."""
        for s, path in self._open:
            self._loop.forget(s.fileno())
            s.close()
            path.unlink(missing_ok=True)
        self._open = []

    def _listen_for_wg(self) -> None:
        before = self.faults
        try:
            self._listen(self._path_for_wg)
            self.faults = []
        except (OSError, WgpyError) as e:
            self.faults = [Fault("supervisor", f"wg(8) and the socket {self._path_for_wg}", str(e), False)]
        if self.faults and self.faults != before:
            log.warning("not configured: %s", self.faults[0])

    def _listen(self, path: Path) -> None:
        s = uapi_server.listen(str(path))
        os.chmod(path, 0o666)
        self._open.append((s, path))
        self._loop.watch(s.fileno(), READ, lambda _: self._accept(s))

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        self._admit(connection)
