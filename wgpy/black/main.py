"""The black room: ciphertext between the Internet and crypto's rings. It holds no key
and no cryptography, and decides nothing but which datagrams are worth crypto's time."""

from typing import Any

from wgpy._fast.ports import Gate, Pump, UdpPort
from wgpy.black.news import News
from wgpy.black.udp import NAMES
from wgpy.constants import LENGTHS, Lengths
from wgpy.rooms.control import Channel
from wgpy.rooms.outer import OuterRoom


class Room(OuterRoom):
    """options: wan, the name of its link; lengths, of crypto's suite. Descriptors: those of udp.NAMES that the host has,
    opened and kept by the supervisor, so that nothing that arrives is lost while black starts
    anew; its rings and its lane."""

    OUTSIDE = "in"

    def __init__(self, channel: Channel, options: dict[str, Any], fds: dict[str, int]):
        super().__init__("black", channel, options, fds)
        udp = UdpPort(*(fds.pop(name, -1) for name in NAMES))
        to_crypto = self.crypto.outgoing.producer(datagrams=True)
        from_crypto = self.crypto.incoming.consumer(datagrams=True)
        self._gate = Gate(to_crypto, Lengths(*options.get("lengths", LENGTHS)))
        self.ports = {"udp": udp, "to_crypto": to_crypto, "from_crypto": from_crypto}
        self.pumps = {"in": Pump(udp, self._gate.stage(), to_crypto),
                      "out": Pump(from_crypto, self._gate.tap(), udp)}
        self._news = News(options["wan"], self.lane)
        self.hear(self._news.fileno(), self._news.read)
