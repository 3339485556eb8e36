"""A room that only moves packets: its pumps and its answers to the supervisor."""

import logging
import os
import threading
from typing import Any

from wgpy._fast.ports import Port, Pump
from wgpy.errors import WgpyError
from wgpy.ring import backing, region
from wgpy.rooms.control import Channel

log = logging.getLogger(__name__)


def ring_end(fds: dict[str, int], ring: str) -> backing.End:
    """Attaches to one end of a ring by its descriptors; those of its memory are closed.
    KeyError, HostError."""
    own, theirs, data, space = (fds.pop(f"ring.{ring}.{part}") for part in ("own", "theirs", "data", "space"))
    end = backing.attach(own, theirs, data, space)
    os.close(own)
    os.close(theirs)
    return end


def joined(room: str, other: str, options: dict[str, Any], fds: dict[str, int]) -> backing.Duplex:
    """What `room` shares with `other`, crypto being one of them: a region, with its place in
    options, or rings and a lane of their own. KeyError, HostError."""
    if (fd := fds.pop(f"region.{other}", None)) is not None:
        place, *more = options[f"region.{other}"]
        if not more:
            return region.attach(fd, *place, side=int(room != "crypto"))
        return region.attach_pair(region.Region(fd, *place), region.Region(fds.pop(f"region.{other}.from"), *more[0]))
    speaker = other if room == "crypto" else room
    end = backing.attach_lane(fds.pop(f"lane.{speaker}"), fds.pop(f"bell.{speaker}"), writable=room == speaker)
    return backing.Duplex(ring_end(fds, f"{room}-{other}"), ring_end(fds, f"{other}-{room}"),
                          *((end, None) if room == speaker else (None, end)))


class PumpRoom:
    """`pumps` and `ports` by name, filled by the room in its constructor, with the rights
    of root, or in start(), jailed but not yet locked. run() is locked. as_root() is for
    what the jailed process alone may have and needs root's rights to get. `library`: a
    descriptor of what load() loads, None: nothing."""

    OUTSIDE = ""  # the pump that takes datagrams from the network

    def __init__(self, channel: Channel):
        self.channel = channel
        self.pumps: dict[str, Pump] = {}
        self.ports: dict[str, Port] = {}
        self.library: int | None = None
        self._threads: list[threading.Thread] = []

    def as_root(self) -> None:
        """In the process of the room, before it gives the rights of root up."""

    def load(self) -> None:
        """Jailed, before start(): code that is not ours."""

    def start(self) -> None:
        """Without these rights, before files and system calls are taken away."""

    def writable(self) -> tuple[int, ...]:
        """Descriptors of files in whose midst it writes when it is locked."""
        return ()

    def launch(self) -> None:
        """Starts the pumps. Not before the lock: capabilities, Landlock and system call
        filter are each thread's own, and only threads made later inherit them."""
        for name, pump in self.pumps.items():
            for i in range(pump.threads):
                thread = threading.Thread(target=self._pump, args=(name, pump, i), daemon=True, name=f"{name}-{i}")
                self._threads.append(thread)
                thread.start()

    def answer(self, what: str | None) -> None:
        """`what` the supervisor asks for; what this room does not know is passed over."""
        if what == "status":
            self.channel.send({"status": self.status()})
        elif what == "refused":
            self.channel.send(self.refused())

    def refused(self) -> dict[str, Any]:
        """For the alarms of the supervisor."""
        return {"refused": {reason: n for reason, n in self.pumps[self.OUTSIDE].drops().items() if n}}

    def status(self) -> dict[str, Any]:
        """Counters since the process began, by port, by pump and by reason of a drop."""
        return {
            "ports": {name: port.stats() for name, port in self.ports.items()},
            "pumps": {name: pump.stats() for name, pump in self.pumps.items()},
            "drops": {reason: n for pump in self.pumps.values() for reason, n in pump.drops().items() if n},
        }

    def _next(self) -> dict[str, Any] | None:
        try:
            received = self.channel.receive()
        except WgpyError as e:
            log.error("%s", e)
            return {}
        return None if received is None else received[0]

    def _pump(self, name: str, pump: Pump, thread: int) -> None:
        code = pump.run(thread)
        if code:
            log.error("%s: the port is gone (errno %d)", name, code)
            self.channel.send({"failed": name, "errno": code})
