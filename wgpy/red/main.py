"""The red room: cleartext between the TUN and crypto's rings. It holds no key."""

from typing import Any

from wgpy._fast.ports import Pump, TunPort
from wgpy.constants import TRANSPORT_OVERHEAD
from wgpy.red.shelf import Shelf
from wgpy.ring.lane import Listener
from wgpy.rooms.control import Channel
from wgpy.rooms.outer import OuterRoom


class Room(OuterRoom):
    """options: merge_tcp, merge_udp (what the kernel takes); overhead, of crypto's suite; descriptors `tun`, its rings and its lane;
    `kept`, the file of a Shelf, where there is a disk."""

    def __init__(self, channel: Channel, options: dict[str, Any], fds: dict[str, int]):
        super().__init__("red", channel, options, fds)
        tun = TunPort(fds.pop("tun"), merge_tcp=bool(options["merge_tcp"]), merge_udp=bool(options["merge_udp"]),
                      overhead=options.get("overhead", TRANSPORT_OVERHEAD))
        to_crypto = self.crypto.outgoing.producer(datagrams=False)
        from_crypto = self.crypto.incoming.consumer(datagrams=False)
        self.ports = {"tun": tun, "to_crypto": to_crypto, "from_crypto": from_crypto}
        self.pumps = {"out": Pump(tun, None, to_crypto), "in": Pump(from_crypto, None, tun)}
        self._kept = fds.pop("kept", None)
        self._shelf = None if self.crypto.hears is None else Shelf(self.lane, Listener(self.crypto.hears.area), self._kept)

    def writable(self) -> tuple[int, ...]:
        """What is kept for crypto."""
        return () if self._kept is None else (self._kept,)

    def look(self) -> float:
        """At what crypto asks to be kept."""
        return super().look() if self._shelf is None else self._shelf.look()

    def status(self) -> dict[str, Any]:
        """And what became of that."""
        return super().status() | ({} if self._shelf is None else {"shelf": self._shelf.status()})
