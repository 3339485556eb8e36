"""A suite for tests only, none of whose sizes is WireGuard's: P-384 with uncompressed points,
SHA-384, and toy AEADs of SHAKE-256 and HMAC whose tags have lengths that no real one has. It
refuses some entropy and all points that are not on the curve. Not for keys of anybody."""

import hashlib
import hmac as stdlib
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wgpy.suite import Suite

CURVE, ORDER = ec.SECP384R1(), int("ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf"
                                   "581a0db248b0a77aecec196accc52973", 16)
TAG, MAC, XTAG = 20, 24, 28


def private(entropy: bytes) -> bytes | None:
    return entropy[:48] if entropy[-1] % 4 and 0 < int.from_bytes(entropy[:48], "big") < ORDER else None


@lru_cache(64)
def _key(private: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(private, "big"), CURVE)


def public(private: bytes) -> bytes | None:
    if not 0 < int.from_bytes(private, "big") < ORDER:
        return None
    return _key(private).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def dh(private: bytes, public: bytes) -> bytes | None:
    try:
        return _key(private).exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, public))
    except ValueError:
        return None


def hash(data: bytes) -> bytes:
    return hashlib.sha384(data).digest()


def hmac(key: bytes, data: bytes) -> bytes:
    return stdlib.digest(key, data, "sha384")


def kdf(chain: bytes, data: bytes, n: int) -> tuple[bytes, ...]:
    secret, last = hmac(chain, data), b""
    return tuple(last := hmac(secret, last + bytes((i,))) for i in range(1, n + 1))


def mac(key: bytes, data: bytes) -> bytes:
    return hmac(key, data)[:MAC]


def _crypt(key: bytes, nonce: bytes, text: bytes) -> bytes:
    stream = hashlib.shake_256(key + nonce).digest(len(text))
    return bytes(a ^ b for a, b in zip(text, stream))


def _tag(key: bytes, nonce: bytes, sealed: bytes, aad: bytes, size: int) -> bytes:
    return stdlib.digest(key, nonce + len(aad).to_bytes(8, "big") + aad + sealed, "sha384")[:size]


def _seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes, size: int) -> bytes:
    sealed = _crypt(key, nonce, plaintext)
    return sealed + _tag(key, nonce, sealed, aad, size)


def _open(key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes, size: int) -> bytes | None:
    sealed, tag = ciphertext[:-size], ciphertext[-size:]
    right = stdlib.compare_digest(tag, _tag(key, nonce, sealed, aad, size))
    return _crypt(key, nonce, sealed) if right and len(ciphertext) >= size else None


WIDE = Suite(
    name="wide", construction=b"Noise_IKpsk2_P384_Toy_SHA384", identifier=b"wgpy tests: wide",
    private=private, clamp=lambda key: key, public=public, dh=dh,
    hash=hash, hmac=hmac, kdf=kdf, mac=mac,
    seal=lambda key, counter, plaintext, aad: _seal(key, counter.to_bytes(8, "big"), plaintext, aad, TAG),
    open=lambda key, counter, sealed, aad: _open(key, counter.to_bytes(8, "big"), sealed, aad, TAG),
    xseal=lambda key, nonce, plaintext, aad: _seal(key, nonce, plaintext, aad, XTAG),
    xopen=lambda key, nonce, sealed, aad: _open(key, nonce, sealed, aad, XTAG),
    self_test=lambda: None, entropy_size=56, private_size=48, public_size=97, shared_size=48, hash_size=48,
    block_size=128, key_size=40, tag_size=TAG, mac_size=MAC, xkey_size=44, xnonce_size=20, xtag_size=XTAG)
