"""One sealed area of a key store: a header in clear, and what Argon2id and
XChaCha20-Poly1305 make of a document of secrets. The whole header is associated data.

A header carries an unkeyed checksum (damage), a value that only the right key gives
(wrong passphrase), and the AEAD's tag (tampering), so that each has its own error. Secrets
lie in bytearrays that libsodium fills in place; `wipe` overwrites them.
"""

import hashlib
import os
import struct
from hmac import compare_digest
from typing import NamedTuple

from nacl._sodium import ffi, lib

from wgpy.config.values import ANY_KEY
from wgpy.errors import WgpyError

MAGIC = b"WGPYKEYS"
VERSION = 1
AREA_SIZE = 128 << 10  # bytes of one area, header included
KEY_SIZE, TAG = 32, 16
ARGON2ID, XCHACHA20POLY1305 = 2, 1
MAX_NAME = 64  # bytes of a pre-shared key's name

_FIELDS = struct.Struct("<8sHBBQIIQ16s24s")
_CHECK = 16
HEADER_SIZE = _FIELDS.size + 2 * _CHECK
MAX_DOCUMENT = AREA_SIZE - HEADER_SIZE - TAG
_RECORD = struct.Struct("<BBH")
_PRIVATE, _PSK, _FLOOR = 1, 2, 3
_LENGTHS = {_PRIVATE: ANY_KEY, _PSK: (32,), _FLOOR: (8,)}


class Cost(NamedTuple):
    """Of Argon2id: passes, and KiB of memory."""
    passes: int
    memory: int


# 64 MiB: the crypto guest has 256 MiB in all.
DEFAULT_COST = Cost(4, 64 << 10)
_PASSES, _MEMORY = range(1, 17), range(8 << 10, (512 << 10) + 1)


class KeyStoreError(WgpyError):
    """The key store cannot be used; the text says why and what to do."""


class Damaged(KeyStoreError):
    """Truncated, altered or never written whole."""


class WrongKey(KeyStoreError):
    """The passphrase or credential is not the one it was sealed with."""


def wipe(*secrets: bytearray) -> None:
    """Overwrites each with zeros, in place."""
    for secret in secrets:
        secret[:] = bytes(len(secret))


class Document:
    """What is sealed: the private key (empty for none), pre-shared keys by the name that
    a site file uses, and the floor of TAI64N stamps (ns since 1970)."""

    def __init__(self) -> None:
        self.private_key = bytearray()
        self.psks: dict[str, bytearray] = {}
        self.floor = 0

    def encode(self) -> bytearray:
        """KeyStoreError when it does not fit."""
        out = bytearray(_record(_FLOOR, b"", self.floor.to_bytes(8, "little")))
        if self.private_key:
            out += _record(_PRIVATE, b"", self.private_key)
        for name, psk in self.psks.items():
            out += _record(_PSK, name.encode(), psk)
        if len(out) > MAX_DOCUMENT:
            wipe(out)
            raise KeyStoreError(f"more than {MAX_DOCUMENT} bytes of keys")
        return out

    @classmethod
    def decode(cls, data: bytearray) -> "Document":
        """Damaged for what encode() cannot have made."""
        document, at = cls(), 0
        try:
            while at < len(data):
                kind, named, length = _RECORD.unpack_from(data, at)
                name = data[at + _RECORD.size:at + _RECORD.size + named].decode()
                at += _RECORD.size + named
                value = data[at:at + length]
                at += length
                if at > len(data) or length not in _LENGTHS.get(kind, ()):
                    raise ValueError
                if kind == _PRIVATE:
                    document.private_key = value
                elif kind == _PSK:
                    document.psks[name] = value
                else:
                    document.floor = int.from_bytes(value, "little")
        except (struct.error, ValueError):
            raise Damaged("the key store's document contradicts itself") from None
        return document

    def wipe(self) -> None:
        """All keys; the floor is no secret."""
        wipe(self.private_key, *self.psks.values())

    def __repr__(self) -> str:
        return f"<Document of {len(self.psks)} pre-shared keys>"


def _record(kind: int, name: bytes, value: bytes | bytearray) -> bytearray:
    if len(name) > MAX_NAME:
        raise KeyStoreError(f"a name of more than {MAX_NAME} bytes")
    return bytearray(_RECORD.pack(kind, len(name), len(value)) + name) + value


class Header(NamedTuple):
    """What stands in clear in front of the sealed document; `check` is empty until the key is
    known."""
    generation: int
    cost: Cost
    length: int  # of the document
    salt: bytes
    nonce: bytes
    check: bytes = b""

    def packed(self) -> bytes:
        """Without `check` and the checksum."""
        return _FIELDS.pack(MAGIC, VERSION, ARGON2ID, XCHACHA20POLY1305, self.generation, *self.cost,
                            self.length, self.salt, self.nonce)

    def encode(self) -> bytes:
        """HEADER_SIZE bytes, which are the AEAD's associated data."""
        body = self.packed() + self.check
        return body + _digest(body)

    def check_of(self, key: bytearray) -> bytes:
        """What `check` is under this key: it tells a wrong key from a change of the file."""
        return keyed(key, b"key check", self.packed())

    def fits(self, key: bytearray) -> bool:
        """Is it the key that the header was sealed with? In constant time."""
        return compare_digest(self.check_of(key), self.check)


def parse_header(area: bytes) -> Header:
    """Damaged, with the first thing that is wrong. Costs are bounded before anybody
    pays them: a hostile file must not demand the host's memory."""
    if len(area) < HEADER_SIZE or not area.startswith(MAGIC):
        raise Damaged("not a key store of wgpy")
    body = area[:HEADER_SIZE - _CHECK]
    if not compare_digest(_digest(body), area[HEADER_SIZE - _CHECK:HEADER_SIZE]):
        raise Damaged("the key store's header is damaged")
    _, version, kdf, cipher, generation, passes, memory, length, salt, nonce = _FIELDS.unpack_from(area)
    if (version, kdf, cipher) != (VERSION, ARGON2ID, XCHACHA20POLY1305):
        raise Damaged(f"a key store of version {version}.{kdf}.{cipher}, which this wgpy does not read")
    if passes not in _PASSES or memory not in _MEMORY:
        raise Damaged(f"the key store demands {passes} passes over {memory} KiB: refused")
    if length > MAX_DOCUMENT:
        raise Damaged("the key store's header is damaged")
    return Header(generation, Cost(passes, memory), length, salt, nonce, area[_FIELDS.size:_FIELDS.size + _CHECK])


def derive(passphrase: bytearray, salt: bytes, cost: Cost) -> bytearray:
    """The file key, by Argon2id 1.3. KeyStoreError when the host lacks the memory."""
    key = bytearray(KEY_SIZE)
    if lib.crypto_pwhash(ffi.from_buffer(key), len(key), ffi.from_buffer(passphrase), len(passphrase),
                         salt, cost.passes, cost.memory << 10, ARGON2ID):
        raise KeyStoreError(f"no memory for Argon2id ({cost.memory >> 10} MiB)")
    return key


def seal(document: Document, key: bytearray, generation: int, salt: bytes, cost: Cost) -> bytes:
    """A whole area, padded with zeros."""
    plain = document.encode()
    header = Header(generation, cost, len(plain), salt, os.urandom(24))
    head = header._replace(check=header.check_of(key)).encode()
    out = bytearray(len(plain) + TAG)
    lib.crypto_aead_xchacha20poly1305_ietf_encrypt(
        ffi.from_buffer(out), ffi.NULL, ffi.from_buffer(plain), len(plain), head, len(head),
        ffi.NULL, header.nonce, ffi.from_buffer(key))
    wipe(plain)
    return (head + out).ljust(AREA_SIZE, b"\0")


def unseal(area: bytes, header: Header, key: bytearray) -> Document:
    """Damaged when a bit of header or contents was changed."""
    sealed = area[HEADER_SIZE:HEADER_SIZE + header.length + TAG]
    plain = bytearray(header.length)
    failed = len(sealed) != header.length + TAG or lib.crypto_aead_xchacha20poly1305_ietf_decrypt(
        ffi.from_buffer(plain), ffi.NULL, ffi.NULL, sealed, len(sealed), area[:HEADER_SIZE], HEADER_SIZE,
        header.nonce, ffi.from_buffer(key))
    if failed or any(area[HEADER_SIZE + header.length + TAG:]):
        wipe(plain)
        raise Damaged("the key store was changed since it was sealed")
    try:
        return Document.decode(plain)
    finally:
        wipe(plain)


def keyed(key: bytearray, purpose: bytes, data: bytes) -> bytes:
    """BLAKE2b-128 with a key of KEY_SIZE bytes; `purpose`, up to 16 bytes, keeps its uses
    apart."""
    return hashlib.blake2b(data, key=key, person=purpose, digest_size=_CHECK).digest()


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:_CHECK]
