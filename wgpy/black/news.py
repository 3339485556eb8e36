"""What happens to black's links, addresses and routes, for crypto: whether peers have to learn
where the node is now, and whether it is worth asking again who did not answer."""

from wgpy import netlink
from wgpy.ring.lane import Kind, Speaker


class News:
    """`fileno()` is readable when something happened; then call read(), jailed too."""

    def __init__(self, wan: str, lane: Speaker):
        """Of the network namespace of the calling thread. OSError."""
        self._socket = netlink.netlink_socket(netlink.LINKS | netlink.PLACES)
        self._lane, self._where, self._carrier = lane, netlink.Whereabouts(), netlink.Carrier(wan)
        self._moved = self._changed = self._plugged = 0

    def fileno(self) -> int:
        """Of the netlink socket."""
        return self._socket.fileno()

    def read(self) -> None:
        """Empties the socket and says on the lane what came of it."""
        happened = list(netlink.events(self._socket))
        if not happened:
            return
        plugged = any([self._carrier.came(*event) for event in happened])
        moved = any([self._where.moved(*event) for event in happened])
        self._changed += 1
        self._moved += moved or plugged
        self._plugged += plugged
        self._lane.say(Kind.NETWORK, self._moved, self._changed, self._plugged, soon=True)
