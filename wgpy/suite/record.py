"""What the handshake needs from cryptography, as one record of plain functions.

The message formats are fixed, so every suite has keys and hashes of 32 bytes, tags
and MACs of 16 and extended nonces of 24; the sizes stand in the record so that a
suite made for others is refused when it is registered, not on the wire.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Suite:
    """One suite. Functions take and return bytes and keep no state.

    private(entropy) -> the private key that these bytes stand for; of a private key, itself.
    public(private) -> public key.
    dh(private, public) -> shared secret, or None when it would be all-zero.
    hash(data); hmac(key, data); mac(key, data) with key 16 or 32 bytes -> 16 bytes.
    kdf(chain, data, n) -> tuple of n 32-byte outputs (HKDF as in the Noise
    specification, section 4.3).
    seal(key, counter, plaintext, aad) / open(key, counter, ciphertext, aad): AEAD with
    the nonce of transport packets; open gives None for a bad tag.
    xseal(key, nonce, plaintext, aad) / xopen(...): the same with a 24-byte nonce.
    self_test() -> None, or a text that says which known answer failed.
    """

    name: str
    construction: bytes   # Noise protocol name: the initial chaining key is its hash
    identifier: bytes     # prologue of every handshake
    transport: int        # id of the data plane's AEAD
    private: Callable[[bytes], bytes]
    public: Callable[[bytes], bytes]
    dh: Callable[[bytes, bytes], bytes | None]
    hash: Callable[[bytes], bytes]
    hmac: Callable[[bytes, bytes], bytes]
    kdf: Callable[[bytes, bytes, int], tuple[bytes, ...]]
    mac: Callable[[bytes, bytes], bytes]
    seal: Callable[[bytes, int, bytes, bytes], bytes]
    open: Callable[[bytes, int, bytes, bytes], bytes | None]
    xseal: Callable[[bytes, bytes, bytes, bytes], bytes]
    xopen: Callable[[bytes, bytes, bytes, bytes], bytes | None]
    self_test: Callable[[], str | None]
    label_mac1: bytes = b"mac1----"
    label_cookie: bytes = b"cookie--"
    key_size: int = 32
    hash_size: int = 32
    tag_size: int = 16
    mac_size: int = 16
    xnonce_size: int = 24
