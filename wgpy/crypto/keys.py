"""The node's long-term keys as the crypto room received them."""

import os
from collections.abc import Mapping

from wgpy.crypto import unlock
from wgpy.crypto.keystore import FileSlot, KeyStore
from wgpy.errors import WgpyError

_PSK, _NAME = 32, 32


class Keys:
    """Takes the descriptor `keys` out of `fds`: the sealed key store, opened as
    wgpy.crypto.unlock says. Or `key`, for labs: a memfd with the private key, raw and of
    `private_size` bytes, then for each pre-shared key its name, padded to 32 bytes with zeros, and 32
    bytes. WgpyError if there is neither, or it does not open. `descriptors`: of the store, where it
    can be written."""

    def __init__(self, fds: dict[str, int], kept: unlock.Kept, node: str = "", private_size: int = 32):
        self.store: KeyStore | None = None
        self.descriptors: tuple[int, ...] = ()
        self.psks: Mapping[str, bytes | bytearray] = {}
        if "keys" in fds:
            self._kept = kept
            slot = FileSlot(fds["keys"])
            self.descriptors = () if slot.fixed else (fds["keys"],)
            del fds["keys"]
            self.store = unlock.open_inherited(slot, fds, node, kept)
            if not self.store.document.private_key:
                raise WgpyError("the key store has no private key: wgpy keys seal FILE makes one")
            self.private_key, self.psks = bytes(self.store.document.private_key), self.store.document.psks
            if len(self.private_key) != private_size:
                raise WgpyError(f"the private key in the key store has {len(self.private_key)} bytes, those of the suite have "
                                f"{private_size}: wgpy keys seal FILE --new-key makes another")
            return
        fd = fds.pop("key", None)
        if fd is None:
            raise WgpyError("no private key")
        data = os.pread(fd, 1 << 20, 0)
        os.close(fd)
        if len(data) < private_size or (len(data) - private_size) % (_NAME + _PSK):
            raise WgpyError(f"the private key has not {private_size} bytes")
        self.private_key = data[:private_size]
        self.psks = {data[i:i + _NAME].rstrip(b"\0").decode(errors="replace"): data[i + _NAME:i + _NAME + _PSK]
                     for i in range(private_size, len(data), _NAME + _PSK)}

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
        store = self.sealed()
        store.change_passphrase(old, new)
        self._kept.keep(store.file_key)
