"""The black room: ciphertext between the Internet and crypto's rings. It holds no key
and no cryptography, and decides nothing but which datagrams are worth crypto's time."""

from wgpy._fast.ports import Gate, Pump, UdpPort
from wgpy.black.udp import UdpSockets
from wgpy.isolate.control import Channel
from wgpy.isolate.pumproom import PumpRoom, ring_end


class Room(PumpRoom):
    """options: listen_port. Opens its sockets while it may still size their buffers."""

    def __init__(self, channel: Channel, options: dict, fds: dict[str, int]):
        super().__init__(channel)
        self._sockets = UdpSockets(int(options["listen_port"]))
        self._gate = Gate()
        udp = UdpPort(*self._sockets.fds()[0])
        to_crypto = ring_end(fds, "black-crypto").producer(datagrams=True)
        from_crypto = ring_end(fds, "crypto-black").consumer(datagrams=True)
        self.ports = {"udp": udp, "to_crypto": to_crypto, "from_crypto": from_crypto}
        self.pumps = {"in": Pump(udp, self._gate.stage(), to_crypto),
                      "out": Pump(from_crypto, self._gate.tap(), udp)}
