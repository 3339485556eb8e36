"""The node's long-term keys as the crypto room received them."""

import os
from collections.abc import Mapping

from wgpy.crypto import unlock
from wgpy.crypto.keystore import FileSlot, KeyStore
from wgpy.errors import WgpyError

_KEY, _NAME = 32, 32


class Keys:
    """Takes the descriptor `keys` out of `fds`: the sealed key store, opened as
    wgpy.crypto.unlock says. Or `key`, for labs: a memfd with the private key, 32 raw
    bytes, then for each pre-shared key its name, padded to 32 bytes with zeros, and 32
    bytes. WgpyError if there is neither, or it does not open. `descriptors`: of the store."""

    def __init__(self, fds: dict[str, int], kept: unlock.Kept, node: str = ""):
        self.store: KeyStore | None = None
        self.descriptors: tuple[int, ...] = ()
        self.psks: Mapping[str, bytes | bytearray] = {}
        if "keys" in fds:
            self._kept = kept
            self.descriptors = (fds.pop("keys"),)
            self.store = unlock.open_inherited(FileSlot(self.descriptors[0]), fds, node, kept)
            if not self.store.document.private_key:
                raise WgpyError("the key store has no private key: wgpy site seal FILE makes one")
            self.private_key, self.psks = bytes(self.store.document.private_key), self.store.document.psks
            return
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

    @property
    def floor(self) -> int:
        """Earlier than it no initiation may be stamped (CLOCK_REALTIME ns)."""
        return self.store.document.floor if self.store else 0

    def sealed(self) -> KeyStore:
        """WgpyError when the keys are not from a key store."""
        if self.store is None:
            raise WgpyError("this node runs without a key store")
        return self.store

    def change_passphrase(self, old: bytearray, new: bytearray) -> None:
        """KeyStoreError, HostError."""
        self.sealed().change_passphrase(old, new)
        self._kept.keep(self.store.file_key)
