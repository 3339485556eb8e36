"""The node's long-term keys as the crypto room received them."""

import os

from wgpy.errors import WgpyError

_KEY, _NAME = 32, 32


class Keys:
    """Takes the descriptor `key` out of `fds`: a memfd with the private key, 32 raw
    bytes, then for each pre-shared key its name, padded to 32 bytes with zeros, and 32
    bytes. WgpyError if there is none."""

    def __init__(self, fds: dict[str, int]):
        fd = fds.pop("key", None)
        if fd is None:
            raise WgpyError("no private key")
        data = os.pread(fd, 1 << 20, 0)
        os.close(fd)
        if len(data) < _KEY or len(data) % (_NAME + _KEY) != _KEY:
            raise WgpyError("the private key has not 32 bytes")
        self.private_key = data[:_KEY]
        self.psks = {data[i:i + _NAME].rstrip(b"\0").decode(errors="replace"): data[i + _NAME:i + _NAME + _KEY]
                     for i in range(_KEY, len(data), _NAME + _KEY)}
