"""The two encryptors of the lab, and an eye on what their networks carry."""

import socket
import threading

from wgpy.lab.encryptors import MARKER, ROOMS, WEB, Node, Pair
from wgpy.lab.wire import refuse

__all__ = ["MARKER", "ROOMS", "WEB", "Node", "Pair", "Watch"]


class Watch:
    """Looks at every packet of every interface of a namespace: `space` is a context in
    which sockets belong to it."""

    def __init__(self, space):
        self.leaks, self.sealed, self.clear = [], 0, 0
        with space:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.settimeout(0.2)
        self._stop = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                packet, where = self._socket.recvfrom(65536)
            except OSError:  # nothing came, or a link went down
                if self._stop:
                    return
                continue
            if MARKER in packet:
                self.leaks.append((where[0], packet[:60].hex()))
            self.sealed += b"\xca\x6c\xca\x6c" in packet[:48]  # port 51820, twice
            self.clear += b"in clear" in packet

    def stop(self) -> None:
        """Returns when all that has come is looked at."""
        refuse(self._socket)
        self._stop = True
        self._thread.join()
        self._socket.close()
