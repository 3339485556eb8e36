"""python -I -m wgpy.guest.main [ROOMFILE]: the main process of a guest that is one room, which may
be the first of its kernel. It opens what the room shares with its neighbours, configures this
kernel, starts the room and starts it anew when it ends. What is a room's own, its side does:
outer.py, inner.py."""

import logging
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wgpy import logs
from wgpy.config import site as site_file
from wgpy.config.site_model import Site
from wgpy.errors import ConfigError, HostError, WgpyError
from wgpy.guest import roomfile
from wgpy.guest.roomfile import RoomFile
from wgpy.guest.side import Given, Side
from wgpy.isolate import kernel, start
from wgpy.loop import Loop
from wgpy.node.liveness import LOOK
from wgpy.node.room_process import RoomProcess, reap
from wgpy.node.timers import Timers, try_start
from wgpy.ring.region import Region, open_regions
from wgpy.rooms.room import MODULES

log = logging.getLogger(__name__)

_TICK = 2.0  # s between two questions how the room is


class Guest:
    """One room, its links and its regions, until SIGTERM."""

    def __init__(self, file: RoomFile, site: Site, text: bytes):
        """WgpyError, OSError."""
        self._file, self.loop = file, Loop()
        self._timers, self._stopping = Timers(self.loop), False
        self._regions: dict[str, tuple[Region, ...]] = {name: open_regions(where) for name, where in file.rings.items()}
        self._side: Side
        if file.room == "crypto":
            from wgpy.guest.inner import Inner  # neither black's guest nor red's has what it needs
            self._side = Inner(file, text, self.loop, self._timers)
        else:
            from wgpy.guest.outer import Outer  # crypto has neither firewall nor links
            self._side = Outer(file, site, self.loop, self._timers)
        self.room = RoomProcess(self.loop, file.room, self._give, self._message, self._ended)
        self._side.attach(self.room)

    def run(self) -> None:
        """Until SIGTERM or SIGINT; then the room has ended."""
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.on_signal(number, self._told)
        self._start()
        self._timers.every(_TICK, self._tick)
        self._timers.every(LOOK, self._look)
        self.loop.run()
        while self.room.pid:
            self.room.kill()
            self.loop.turn(0.05)

    def _tick(self) -> None:
        self.room.tick()
        reap([self.room.pid])

    def _look(self) -> None:
        self.room.look()
        self._side.look()

    def _give(self) -> Given:
        options, fds = self._side.give()
        for name, regions in self._regions.items():
            options[f"region.{name}"] = [list(region[1:]) for region in regions]
            fds |= {key: os.dup(region.fd) for key, region in zip((f"region.{name}", f"region.{name}.from"), regions)}
        return options | {"uid": self._file.uid}, fds

    def _start(self) -> None:
        try_start(self._timers, self._file.room, self.room, lambda: self._stopping)

    def _message(self, room: RoomProcess, message: dict[str, Any], fds: dict[str, int]) -> None:
        for fd in fds.values():
            os.close(fd)
        if "failed" in message:
            room.kill()
        elif message.get("ready") is True:
            log.info("ready")
        elif message.get("asking") is True:
            log.info("asks for the passphrase")
        self._side.heard(message)

    def _ended(self, room: RoomProcess) -> None:
        self._side.ended()
        if not self._stopping:
            self._timers.after(room.pause(), self._start)

    def _told(self) -> None:
        self._stopping = True
        self.loop.stop()


def main() -> None:
    """Exits with 1 and one line when the room cannot be."""
    start.begin()
    try:
        if len(sys.argv) > 2:
            sys.exit("usage: python -I -m wgpy.guest.main [ROOMFILE], or wgpy.room=ROOMFILE on the kernel's command line")
        named = sys.argv[1] if len(sys.argv) == 2 else roomfile.named_by(Path("/proc/cmdline").read_text())
        file = roomfile.load(Path(named))
        if find_spec(MODULES[file.room].rpartition(".")[0]) is None:
            raise ConfigError("is another room than this guest's image has", source=named, key="room")
        logs.begin(logs.Stderr(), f"{file.room} guest", when=False)
        text = file.site.read_bytes()
        os.umask(0o077)
        site = site_file.checked(text, str(file.site))
        if site.suite is not None:
            raise HostError(f"{file.site}: [suite]: a room that runs alone has WireGuard's suite only")
        guest = Guest(file, site, text)
    except WgpyError as e:
        sys.exit(f"guest: {e}")
    except OSError as e:
        sys.exit(f"guest: {e.filename or 'this guest'}: {e.strerror}")
    guest.run()


if __name__ == "__main__":
    main()
