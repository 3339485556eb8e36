"""The red room: cleartext between the TUN and crypto's rings. It holds no key."""

from typing import Any

from wgpy._fast.ports import Pump, TunPort
from wgpy.constants import TRANSPORT_OVERHEAD
from wgpy.rooms.control import Channel
from wgpy.rooms.outer import OuterRoom


class Room(OuterRoom):
    """options: merge_tcp, merge_udp (what the kernel takes); overhead, of crypto's suite; descriptors `tun`, its rings and its lane."""

    def __init__(self, channel: Channel, options: dict[str, Any], fds: dict[str, int]):
        super().__init__("red", channel, options, fds)
        tun = TunPort(fds.pop("tun"), merge_tcp=bool(options["merge_tcp"]), merge_udp=bool(options["merge_udp"]),
                      overhead=options.get("overhead", TRANSPORT_OVERHEAD))
        to_crypto = self.crypto.outgoing.producer(datagrams=False)
        from_crypto = self.crypto.incoming.consumer(datagrams=False)
        self.ports = {"tun": tun, "to_crypto": to_crypto, "from_crypto": from_crypto}
        self.pumps = {"out": Pump(tun, None, to_crypto), "in": Pump(from_crypto, None, tun)}
