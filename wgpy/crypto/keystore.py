"""The key store: one file of fixed size with two sealed areas that take turns, so that
power may fail at any moment of a write without the loss of a key.

Layout: a block that announces a write, then the two areas. A write announces the next
generation with a MAC, syncs, writes the older area, syncs, and withdraws the announcement.
So an area that cannot be read is excused only when a write of it had been announced;
without that it was changed by somebody, and the store says so. What no file can show of
itself is that the whole of it was replaced by an older copy.

It works on a descriptor that the room inherited; the room has no file system.
"""

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from hmac import compare_digest
from typing import NamedTuple, Protocol, TypeVar

from wgpy.crypto.sealed import (
    AREA_SIZE,
    DEFAULT_COST,
    Cost,
    Damaged,
    Document,
    Header,
    KeyStoreError,
    WrongKey,
    derive,
    keyed,
    parse_header,
    seal,
    unseal,
    wipe,
)
from wgpy.errors import HostError

_T = TypeVar("_T")
BLOCK = 4096
FILE_SIZE = BLOCK + 2 * AREA_SIZE
FLOOR_HEADROOM = 120_000_000_000  # ns by which the saved floor runs ahead of the stamps
_INTENT = struct.Struct("<Q16s")
_WRONG = "the passphrase or credential does not open this key store"
_CUT_SHORT = "the change to this passphrase was cut short: the one before it still opens the key store"


class Slot(Protocol):
    """Storage of FILE_SIZE bytes. write() may be lost or torn until sync() returns."""

    def read(self) -> bytes:
        """All of it, or one byte more to show that it is too long."""
    def write(self, offset: int, data: bytes) -> None:
        """All of `data`, from `offset` on."""
    def sync(self) -> None:
        """Returns when what was written is on the medium."""


class FileSlot:
    """An open descriptor; `fixed`: for reading only, as of a store that is part of an image. OSError
    becomes HostError."""

    def __init__(self, fd: int):
        self._fd = fd
        self.fixed = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY

    def read(self) -> bytes:
        """All of it, by pread(2), whatever the file's offset is."""
        return self._do(lambda: _whole(self._fd, FILE_SIZE + 1))

    def write(self, offset: int, data: bytes) -> None:
        """Again for the rest, if the host took but a part."""
        if self.fixed:
            raise HostError("the key store is part of this guest's image: change it there, and start the guest again")

        def all_of_it() -> None:
            done = 0
            while done < len(data):
                done += os.pwrite(self._fd, data[done:], offset + done)
        self._do(all_of_it)

    def sync(self) -> None:
        """fdatasync(2): the file's length does not change."""
        self._do(lambda: os.fdatasync(self._fd))

    @staticmethod
    def _do(action: Callable[[], _T]) -> _T:
        try:
            return action()
        except OSError as e:
            raise HostError(f"key store: {e.strerror}") from None


class _Area(NamedTuple):
    number: int
    data: bytes
    header: Header


class KeyStore:
    """An open store. `document` may be changed and then saved."""

    def __init__(self, slot: Slot, key: bytearray, salt: bytes, cost: Cost, document: Document,
                 generation: int = 0, area: int = 1):
        self.document, self.generation = document, generation
        self.healed = False  # a write had been interrupted, and was made good
        self._slot, self._key, self._salt, self._cost, self._area = slot, key, salt, cost, area

    @classmethod
    def create(cls, slot: Slot, passphrase: bytearray, document: Document, cost: Cost = DEFAULT_COST) -> "KeyStore":
        """Over whatever the slot holds. An empty passphrase is a KeyStoreError."""
        salt = os.urandom(16)
        store = cls(slot, _derive(passphrase, salt, cost), salt, cost, document)
        store.save()
        return store

    @classmethod
    def open(cls, slot: Slot, passphrase: bytearray | None = None, *, key: bytearray | None = None) -> "KeyStore":
        """With the passphrase (or a credential's bytes), or with the file key that an
        earlier open gave. Raises WrongKey, Damaged (both KeyStoreError), HostError."""
        areas, errors = _areas(slot.read())
        if not areas:
            raise errors[0]
        for area, found in _openable(areas, passphrase, key):
            try:
                document = unseal(area.data, area.header, found)
            except Damaged as e:
                errors.append(e)
                continue
            h = area.header
            store = cls(slot, found, h.salt, h.cost, document, h.generation, area.number)
            store._look_at_the_other(next((a for a in areas if a is not area), None), errors)
            return store
        if len(areas) + len(errors) == 2:
            raise WrongKey(_WRONG)
        raise WrongKey(_CUT_SHORT) if len({a.header.salt for a in areas}) == 2 else errors[-1]

    @property
    def file_key(self) -> bytearray:
        """A copy, for whoever keeps the store open across a restart of the room."""
        return bytearray(self._key)

    def save(self) -> None:
        """Both areas, one after the other: what was removed is nowhere any more."""
        self._write()
        self._write()

    def raise_floor(self, greatest_stamp: int) -> bool:
        """Makes sure that the floor on disk is later than any stamp used, with headroom
        so that this is not a write each time. True when it wrote."""
        if greatest_stamp <= self.document.floor - FLOOR_HEADROOM // 2:
            return False
        before, self.document.floor = self.document.floor, greatest_stamp + FLOOR_HEADROOM
        try:
            self._write()
        except BaseException:  # the next stamp must try again
            self.document.floor = before
            raise
        return True

    def change_passphrase(self, old: bytearray, new: bytearray, cost: Cost = DEFAULT_COST) -> None:
        """WrongKey when `old` is not the present one; afterwards it opens nothing here."""
        proof = derive(old, self._salt, self._cost)
        right = compare_digest(proof, self._key)
        wipe(proof)
        if not right:
            raise WrongKey("the present passphrase is another one")
        salt = os.urandom(16)
        key = _derive(new, salt, cost)
        self._write(key, salt, cost)  # announced with the old key, under which a torn area is looked at
        wipe(self._key)
        self._key, self._salt, self._cost = key, salt, cost
        self._write()

    def close(self) -> None:
        """Overwrites the keys in memory."""
        self.document.wipe()
        wipe(self._key)

    def _write(self, key: bytearray | None = None, salt: bytes = b"", cost: Cost | None = None) -> None:
        generation, number = self.generation + 1, 1 - self._area
        self._slot.write(0, _intent(self._key, generation))
        self._slot.sync()
        data = seal(self.document, key or self._key, generation, salt or self._salt, cost or self._cost)
        self._slot.write(BLOCK + number * AREA_SIZE, data)
        self._slot.sync()
        self._slot.write(0, bytes(_INTENT.size))
        self.generation, self._area = generation, number

    def _look_at_the_other(self, other: _Area | None, errors: list[Damaged]) -> None:
        """It must be the generation before, whole; or else a write of it was cut short,
        which the announcement proves. Then it is written anew."""
        changed = other is not None and other.header.salt != self._salt
        if other and not errors and other.header.generation == self.generation - 1:
            if changed:  # the second half of a change of passphrase is missing
                return self._heal()
            if other.header.fits(self._key):
                try:
                    return unseal(other.data, other.header, self._key).wipe()
                except Damaged as e:
                    errors.append(e)
        data = self._slot.read()
        new = self.generation == 1 and not any(data[BLOCK + AREA_SIZE:])
        if new or compare_digest(data[:_INTENT.size], _intent(self._key, self.generation + 1)):
            return self._heal()
        if other and changed and not errors and other.header.generation > self.generation:
            raise WrongKey(_WRONG)
        raise errors[-1] if errors else Damaged("the key store was changed since it was sealed")

    def _heal(self) -> None:
        self._write()
        self.healed = True


def blank() -> bytes:
    """Zeros, into which a store can be sealed: its whole length is there beforehand, so that no
    later write needs room on the disk."""
    return bytes(FILE_SIZE)


def _areas(data: bytes) -> tuple[list[_Area], list[Damaged]]:
    """Those with a sound header, the newest first, and what is wrong with the others."""
    if not any(data):
        raise Damaged("the key store is empty: wgpy keys seal FILE fills it")
    if len(data) != FILE_SIZE:
        known = data[BLOCK:BLOCK + 8] == b"WGPYKEYS"
        raise Damaged(f"the key store is {'truncated' if len(data) < FILE_SIZE else 'too long'}" if known
                      else "not a key store of wgpy")
    areas, errors = [], []
    for number in (0, 1):
        area = data[BLOCK + number * AREA_SIZE:][:AREA_SIZE]
        try:
            areas.append(_Area(number, area, parse_header(area)))
        except Damaged as e:
            errors.append(e)
    return sorted(areas, key=lambda a: -a.header.generation), errors


def _openable(areas: list[_Area], passphrase: bytearray | None,
              key: bytearray | None) -> Iterator[tuple[_Area, bytearray]]:
    """Areas that the key fits; Argon2id runs once a salt."""
    known: dict[tuple[bytes, Cost], bytearray] = {}
    used: list[bytearray] = []
    try:
        for area in areas:
            recipe = (area.header.salt, area.header.cost)
            if recipe not in known:
                known[recipe] = bytearray(key) if key is not None else _derive(passphrase, *recipe)
            if area.header.fits(known[recipe]):
                used.append(known[recipe])
                yield area, known[recipe]
    finally:
        wipe(*(k for k in known.values() if not any(k is u for u in used)))


def _derive(passphrase: bytearray | None, salt: bytes, cost: Cost) -> bytearray:
    if not passphrase:
        raise KeyStoreError("an empty passphrase")
    return derive(passphrase, salt, cost)


def _intent(key: bytearray, generation: int) -> bytes:
    return _INTENT.pack(generation, keyed(key, b"write", generation.to_bytes(8, "little")))


def _whole(fd: int, limit: int) -> bytes:
    out = b""
    while len(out) < limit and (data := os.pread(fd, limit - len(out), len(out))):
        out += data
    return out
