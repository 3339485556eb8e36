"""The black room: ciphertext between the Internet and crypto's rings. It holds no key
and no cryptography, and decides nothing but which datagrams are worth crypto's time."""

from wgpy._fast.ports import Gate, Pump, UdpPort
from wgpy.isolate.control import Channel
from wgpy.isolate.pumproom import PumpRoom, ring_end


class Room(PumpRoom):
    """Descriptors: `udp4`, `udp6` where the host has the family, opened and kept by the
    supervisor, so that nothing that arrives is lost while black starts anew; its rings."""

    OUTSIDE = "in"

    def __init__(self, channel: Channel, options: dict, fds: dict[str, int]):
        super().__init__(channel)
        udp = UdpPort(fds.pop("udp4", -1), fds.pop("udp6", -1))
        to_crypto = ring_end(fds, "black-crypto").producer(datagrams=True)
        from_crypto = ring_end(fds, "crypto-black").consumer(datagrams=True)
        self._gate = Gate(to_crypto)
        self.ports = {"udp": udp, "to_crypto": to_crypto, "from_crypto": from_crypto}
        self.pumps = {"in": Pump(udp, self._gate.stage(), to_crypto),
                      "out": Pump(from_crypto, self._gate.tap(), udp)}
