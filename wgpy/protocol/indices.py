"""Receiver indices: random 32-bit numbers, one table for handshakes and keypairs, so
that a cookie reply finds its peer by either."""

from collections.abc import Callable
from typing import Generic, TypeVar

Owner = TypeVar("Owner")


class IndexTable(Generic[Owner]):
    """Owner by index; `entropy(4)` gives four unpredictable bytes."""

    def __init__(self, entropy: Callable[[int], bytes]):
        self._entropy = entropy
        self._owner: dict[int, Owner] = {}

    def new(self, owner: Owner) -> int:
        """An index that nobody has, unpredictable as `entropy` is."""
        while True:
            index = int.from_bytes(self._entropy(4), "little")
            if index not in self._owner:
                self._owner[index] = owner
                return index

    def get(self, index: int) -> Owner | None:
        """None for an index that was never given out, or was freed."""
        return self._owner.get(index)

    def free(self, index: int) -> None:
        """No-op for an index that nobody has."""
        self._owner.pop(index, None)

    def __len__(self) -> int:
        return len(self._owner)
