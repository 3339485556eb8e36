"""The users that a node's rooms become: three uids that no other node of this host has, so
that limits which the kernel counts for a user are each room's own. Outside the ranges that
distributions hand out."""

import fcntl
import os
import zlib
from collections.abc import Callable
from pathlib import Path

from wgpy.errors import HostError
from wgpy.node.descriptors import Given
from wgpy.rooms.room import MODULES

DIRECTORY = Path("/run/wgpy-users")
ROOMS = tuple(MODULES)
_FIRST, _BLOCKS, _BLOCK = 0x77670000, 4096, 4


class Users:
    """`uid` by room; held until close(), or until the process ends."""

    def __init__(self, node: str, directory: Path = DIRECTORY):
        """HostError when all are taken; OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        begin = zlib.crc32(node.encode())
        for block in ((begin + i) % _BLOCKS for i in range(_BLOCKS)):
            self._fd = os.open(directory / str(block), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                os.close(self._fd)
        else:
            raise HostError(f"all users for rooms are taken: {directory}")
        self.uid = {room: _FIRST + _BLOCK * block + i for i, room in enumerate(ROOMS)}

    def as_user(self, room: str, give: Callable[[], Given]) -> Callable[[], Given]:
        """What a room is given, with the user to become."""
        def given() -> Given:
            options, fds = give()
            return options | {"uid": self.uid[room]}, fds
        return given

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
