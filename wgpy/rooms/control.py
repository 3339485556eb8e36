"""The channel between the supervisor and a room: JSON messages with descriptors on a
SOCK_SEQPACKET pair. Each side treats the other's messages as hostile input."""

import json
import os
import socket
from typing import Any

from wgpy.errors import WgpyError

MESSAGE_BYTES = 65536
MAX_DESCRIPTORS = 64


class Channel:
    """One end. `sock` is blocking until set otherwise by its owner."""

    def __init__(self, sock: socket.socket):
        self.sock = sock

    def fileno(self) -> int:
        """For a Loop."""
        return self.sock.fileno()

    def send(self, message: dict[str, Any], fds: dict[str, int] | None = None) -> bool:
        """False when the other side is gone or does not read."""
        fds = fds or {}
        data = json.dumps(message | ({"fds": list(fds)} if fds else {})).encode()
        if len(data) > MESSAGE_BYTES or len(fds) > MAX_DESCRIPTORS:
            raise ValueError("control message too large")
        try:
            socket.send_fds(self.sock, [data], list(fds.values()), socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def receive(self) -> tuple[dict[str, Any], dict[str, int]] | None:
        """The next message with its descriptors by name; None when the other side is
        gone. BlockingIOError on an empty non-blocking channel; WgpyError for a message
        that is no JSON object or names its descriptors wrongly (they are closed)."""
        data, fds, flags, _ = socket.recv_fds(self.sock, MESSAGE_BYTES, MAX_DESCRIPTORS)
        if not data and not fds:
            return None
        try:
            message = json.loads(data)
            names = [str(name) for name in message.pop("fds", [])]
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or not len(names) == len(set(names)) == len(fds):
                raise ValueError
            return message, dict(zip(names, fds))
        except (ValueError, AttributeError, TypeError, RecursionError):
            for fd in fds:
                os.close(fd)
            raise WgpyError("control: not a message") from None

    def close(self) -> None:
        """The other side hears of it as the end: receive() gives None there."""
        self.sock.close()


def of_text(text: bytes) -> int:
    """A descriptor of memory that holds a site file, to go with a message."""
    fd = os.memfd_create("site", os.MFD_CLOEXEC)
    os.write(fd, text)
    return fd


def pair() -> tuple[Channel, Channel]:
    """For the supervisor and for a room, both blocking."""
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(a), Channel(b)
