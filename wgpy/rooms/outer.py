"""Black or red: a room that moves packets, and tells crypto over its control lane what crypto
has to know of it."""

import select
import time
from collections.abc import Callable
from typing import Any

from wgpy.errors import HostError
from wgpy.ring.lane import Kind, Speaker
from wgpy.rooms.control import Channel
from wgpy.rooms.pumproom import PumpRoom, joined

BEAT = 1.0  # s


class OuterRoom(PumpRoom):
    """`room`: which one. Takes what it shares with crypto out of `fds`, see joined()."""

    def __init__(self, room: str, channel: Channel, options: dict[str, Any], fds: dict[str, int]):
        super().__init__(channel)
        self.crypto = joined(room, "crypto", options, fds)
        if self.crypto.says is None:
            raise HostError(f"{room} has no lane to crypto")
        self.lane = Speaker(self.crypto.says.area, self.crypto.says.bell.kick)
        self._poll, self._beats = select.poll(), 0
        self._hears: dict[int, Callable[[], None]] = {}

    def hear(self, fd: int, call: Callable[[], None]) -> None:
        """`call()` whenever `fd` is readable, while the room runs."""
        self._hears[fd] = call
        self._poll.register(fd, select.POLLIN)

    def run(self) -> None:
        """Answers the supervisor until it says stop or is gone, and says that it is up."""
        self._poll.register(self.channel.fileno(), select.POLLIN)
        due = 0.0
        while True:
            if (now := time.monotonic()) >= due:
                due = now + BEAT
                self._beat()
            wait = min(due - now, self.look())
            for fd, _ in self._poll.poll(max(0.0, wait) * 1000):
                if call := self._hears.get(fd):
                    call()
                elif not self._answer():
                    return

    def look(self) -> float:
        """At what nothing wakes it for; returns seconds until it wants to look again."""
        return BEAT

    def _answer(self) -> bool:
        message = self._next()
        if message is None or message.get("stop"):
            return False
        self.answer(message.get("ask"))
        return True

    def _beat(self) -> None:
        """The counters first: who hears that this life is up finds them."""
        self._beats += 1
        self.lane.say(Kind.COUNTERS, *self._counters())
        self.lane.say(Kind.UP, self._beats, soon=self._beats == 1)

    def _counters(self) -> tuple[int, ...]:
        to_crypto, from_crypto = self.ports["to_crypto"].stats(), self.ports["from_crypto"].stats()
        dropped = sum(n for pump in self.pumps.values() for n in pump.drops().values())
        return (from_crypto["packets_in"], to_crypto["packets_out"], from_crypto["bytes_in"], to_crypto["bytes_out"], dropped)

    def status(self) -> dict[str, Any]:
        """And how often it said that it is up."""
        return super().status() | {"beats": self._beats}
