"""The red room: cleartext between the TUN and crypto's rings. It holds no key."""

from wgpy._fast.ports import Pump, TunPort
from wgpy.isolate.control import Channel
from wgpy.isolate.pumproom import PumpRoom, ring_end


class Room(PumpRoom):
    """options: merge_tcp, merge_udp (what the kernel takes); descriptor `tun`."""

    def __init__(self, channel: Channel, options: dict, fds: dict[str, int]):
        super().__init__(channel)
        tun = TunPort(fds.pop("tun"), merge_tcp=bool(options["merge_tcp"]), merge_udp=bool(options["merge_udp"]))
        to_crypto = ring_end(fds, "red-crypto").producer(datagrams=False)
        from_crypto = ring_end(fds, "crypto-red").consumer(datagrams=False)
        self.ports = {"tun": tun, "to_crypto": to_crypto, "from_crypto": from_crypto}
        self.pumps = {"out": Pump(tun, None, to_crypto), "in": Pump(from_crypto, None, tun)}
