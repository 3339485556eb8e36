"""The alarms of a node: what its rooms count, asked for twice a second. They were perhaps
taken over: numbers of theirs raise an alarm or do not, and do nothing else."""

import time
from collections.abc import Callable
from typing import Any

from wgpy.admin.alarm import Flood
from wgpy.node.room_process import RoomProcess

ROOMS = ("black", "crypto")  # that see datagrams


class Alarms:
    """`changed()` is called when one begins or ends."""

    def __init__(self, changed: Callable[[], None]):
        self._changed, self.flood = changed, Flood()
        self._asked: set[str] = set()
        self._load: dict[str, bool | int] = {"active": False, "count": 0}

    def facts(self) -> dict[str, Any]:
        """For status.json and crypto, as docs/administration.md has them."""
        return {"flood": self.flood.facts(), "under_load": self._load}

    def ask(self, room: RoomProcess) -> None:
        """To be called every alarm.PERIOD."""
        if room.name in ROOMS and room.state == "ready" and room.send({"ask": "refused"}):
            self._asked.add(room.name)
        self.tell(room)

    def tell(self, room: RoomProcess) -> None:
        """Crypto answers administrators, with what is known here. It is told again and again,
        since it may start anew, or have no place for a message."""
        if room.name == "crypto" and room.state == "ready":
            room.send({"alarms": self.facts()})

    def heard(self, room: str, message: dict[str, Any]) -> None:
        """A room's answer, cleaned; one is taken for each time that it was asked."""
        if room not in self._asked:
            return
        self._asked.discard(room)
        refused, load = message.get("refused"), message.get("under_load")
        changed = isinstance(refused, dict) and self.flood.sample(
            refused, time.clock_gettime_ns(time.CLOCK_BOOTTIME), room)
        if room == "crypto" and isinstance(load, list) and [type(n) for n in load] == [int, int]:
            fresh = {"active": load[0] > load[1], "count": load[0]}
            changed |= fresh != self._load
            self._load = fresh
        if changed:
            self._changed()
