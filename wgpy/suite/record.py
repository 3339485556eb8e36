"""What a network needs from cryptography, as one record of plain functions and sizes.

The lengths of all messages follow from the sizes (wgpy.protocol.messages); the Noise state
machine, HKDF, cookies and timers are the same for every suite. Preshared keys have 32 bytes
and time stamps 12, whatever the suite is.
"""

from collections.abc import Callable
from dataclasses import dataclass

from wgpy._fast.plane import LoadedSuite

PSK_SIZE = 32
# sizes that the messages and tables can carry, as in wgpy_suite.h
BOUNDS = {
    "entropy_size": (16, 256), "private_size": (16, 256), "public_size": (16, 256), "shared_size": (16, 256),
    "hash_size": (32, 64), "block_size": (32, 256), "key_size": (16, 64), "tag_size": (12, 32), "mac_size": (16, 32),
    "xkey_size": (16, 64), "xnonce_size": (12, 32), "xtag_size": (12, 32),
}


@dataclass(frozen=True, slots=True)
class Suite:
    """One suite. Functions take and return bytes and keep no state.

    private(entropy) -> the private key that these bytes stand for, or None: draw others.
    clamp(private) -> the form in which a private key is kept and shown; of most, the same.
    public(private) -> public key, or None when it is no private key.
    dh(private, public) -> shared secret, or None when it has to be refused.
    hash(data); hmac(key, data); mac(key, data) with a key of hash_size or mac_size.
    kdf(chain, data, n) -> tuple of n outputs of hash_size (HKDF as in the Noise
    specification, section 4.3). Keys of the AEADs are the first bytes of such outputs.
    seal(key, counter, plaintext, aad) / open(key, counter, ciphertext, aad): AEAD with
    the nonce of transport packets; open gives None for a bad tag.
    xseal(key, nonce, plaintext, aad) / xopen(...): that of cookie replies, with a random nonce.
    self_test() -> None, or a text that says which known answer failed.
    """

    name: str
    construction: bytes   # Noise protocol name: the initial chaining key is its hash
    identifier: bytes     # prologue of every handshake
    private: Callable[[bytes], bytes | None]
    clamp: Callable[[bytes], bytes]
    public: Callable[[bytes], bytes | None]
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
    table: LoadedSuite | None = None  # what the data plane in C takes for its suite; None: WireGuard's
    label_mac1: bytes = b"mac1----"
    label_cookie: bytes = b"cookie--"
    entropy_size: int = 32
    private_size: int = 32
    public_size: int = 32
    shared_size: int = 32
    hash_size: int = 32
    block_size: int = 64  # of the hash function, for HMAC
    key_size: int = 32    # of the AEAD, as the next
    tag_size: int = 16
    mac_size: int = 16    # of MAC1, MAC2 and cookies
    xkey_size: int = 32   # of the cookie replies' AEAD, as the next two
    xnonce_size: int = 24
    xtag_size: int = 16
