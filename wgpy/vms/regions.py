"""The memory that two guests share, and the doorbells between them: QEMU's ivshmem-doorbell.

Its server would hand these out to whoever connects (docs/specs/ivshmem-spec). Here is none: what it
would say lies in a socket pair before QEMU starts, so that a QEMU has the regions of its own room,
and nobody else has any.
"""

import os
import socket

from wgpy.errors import HostError
from wgpy.ring.backing import sealed_memory

SIZE = 8 << 20  # bytes: each side's half holds a ring of the usual size and more
CRYPTO, NEIGHBOUR = 0, 1  # ids at the server that is not there; to ring, a guest names the other one


class Region:
    """Between crypto and one `neighbour`. The memory cannot be made smaller or larger; it and its doorbells
    stay the same however often a guest starts anew."""

    def __init__(self, neighbour: str):
        """HostError when the host gives no memory."""
        self.size = SIZE
        self._bells: list[int] = []
        self._servers: dict[int, socket.socket] = {}
        try:
            self._memory = sealed_memory(f"wgpy-vms-region-{neighbour}", SIZE)
            self._bells = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in (CRYPTO, NEIGHBOUR)]
        except OSError as e:
            raise HostError(f"no memory for the region of {neighbour}: {e.strerror}") from None

    def plug(self, side: int) -> int:
        """A descriptor for a start of this side's QEMU; the caller closes it. The server's end stays
        open, since a QEMU takes its closing for the end of the server."""
        ours, theirs = socket.socketpair()
        other = CRYPTO if side == NEIGHBOUR else NEIGHBOUR
        for number, *fds in ((0,), (side,), (-1, self._memory), (other, self._bells[other]), (side, self._bells[side])):
            socket.send_fds(ours, [number.to_bytes(8, "little", signed=True)], fds)
        if (before := self._servers.pop(side, None)) is not None:
            before.close()
        self._servers[side] = ours
        return theirs.detach()

    def close(self) -> None:
        """Guests that still run keep what they have."""
        for fd in (self._memory, *self._bells):
            os.close(fd)
        for server in self._servers.values():
            server.close()
        self._servers = {}
