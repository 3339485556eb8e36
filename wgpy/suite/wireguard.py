"""The suite of WireGuard: Curve25519, BLAKE2s, ChaCha20-Poly1305, XChaCha20-Poly1305.

X25519 and the AEADs are libsodium's, through PyNaCl; BLAKE2s is hashlib's.
"""

from hashlib import blake2s

from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_decrypt,
    crypto_aead_chacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_scalarmult,
    crypto_scalarmult_base,
)
from nacl.exceptions import CryptoError

from wgpy.suite.record import Suite

# RFC 2104 with a key of one hash output: half of the block is the key xor the pad,
# the other half the pad itself.
_INNER = bytes(i ^ 0x36 for i in range(256))
_OUTER = bytes(i ^ 0x5C for i in range(256))
_INNER_REST = bytes([0x36]) * 32
_OUTER_REST = bytes([0x5C]) * 32


def clamp(entropy: bytes) -> bytes:
    """A private key of any 32 bytes (RFC 7748, section 5), as wg(8) and the kernel show it."""
    return bytes([entropy[0] & 248, *entropy[1:31], entropy[31] & 127 | 64])


def public(private: bytes) -> bytes:
    """The public key of a private one, which is clamped on use (RFC 7748, section 5)."""
    return crypto_scalarmult_base(private)


def dh(private: bytes, public: bytes) -> bytes | None:
    """X25519; None for the all-zero result that a low-order point gives, which
    libsodium reports as an error (RFC 7748, section 6.1)."""
    try:
        return crypto_scalarmult(private, public)
    except CryptoError:
        return None


def hash(data: bytes) -> bytes:
    """BLAKE2s, 32 bytes (RFC 7693)."""
    return blake2s(data).digest()


def mac(key: bytes, data: bytes) -> bytes:
    """Keyed BLAKE2s, 16 bytes; key of 16 or 32 (WireGuard paper, section 5.4)."""
    return blake2s(data, key=key, digest_size=16).digest()


def hmac(key: bytes, data: bytes) -> bytes:
    """HMAC-BLAKE2s with a 32-byte key."""
    inner = blake2s(key.translate(_INNER) + _INNER_REST + data).digest()
    return blake2s(key.translate(_OUTER) + _OUTER_REST + inner).digest()


def kdf(chain: bytes, data: bytes, n: int) -> tuple[bytes, ...]:
    """`n` outputs of 32 bytes: HKDF as in the Noise specification, section 4.3."""
    secret = hmac(chain, data)
    # hmac(secret, ...) written out, its padded keys made once
    inner, outer = secret.translate(_INNER) + _INNER_REST, secret.translate(_OUTER) + _OUTER_REST
    last = blake2s(outer + blake2s(inner + b"\1").digest()).digest()
    output: tuple[bytes, ...] = (last,)
    for i in range(2, n + 1):
        last = blake2s(outer + blake2s(inner + last + bytes((i,))).digest()).digest()
        output += (last,)
    return output


def seal(key: bytes, counter: int, plaintext: bytes, aad: bytes) -> bytes:
    """ChaCha20-Poly1305 (RFC 8439), its nonce four zero bytes and the counter, little-endian
    (paper 5.4). The tag's 16 bytes follow the ciphertext."""
    nonce = bytes(4) + counter.to_bytes(8, "little")
    return crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, aad, nonce, key)


def open(key: bytes, counter: int, ciphertext: bytes, aad: bytes) -> bytes | None:
    """Of what seal() gave; None when key, counter, additional data or tag is another."""
    nonce = bytes(4) + counter.to_bytes(8, "little")
    try:
        return crypto_aead_chacha20poly1305_ietf_decrypt(ciphertext, aad, nonce, key)
    except CryptoError:
        return None


def xseal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) with a nonce of 24 bytes, for cookie
    replies."""
    return crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, aad, nonce, key)


def xopen(key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes | None:
    """Of what xseal() gave; None when it was not made so."""
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(ciphertext, aad, nonce, key)
    except CryptoError:
        return None


def _self_test() -> str | None:
    """RFC 7748 section 6.1, RFC 7693 appendix B, RFC 8439 appendix A.5,
    draft-irtf-cfrg-xchacha-03 appendix A.3.1, and refusals."""
    h = bytes.fromhex
    alice = h("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    bob = h("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    shared = h("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    key = h("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0")
    aad, counter = h("f33388860000000000004e91"), 0x0807060504030201
    draft = ("Internet-Drafts are draft documents valid for a maximum of six months and may be "
             "updated, replaced, or obsoleted by other documents at any time. It is inappropriate "
             "to use Internet-Drafts as reference material or to cite them other than as "
             "/\u201cwork in progress./\u201d").encode()
    sealed = seal(key, counter, draft, aad)
    xkey, xnonce, xaad = bytes(range(0x80, 0xA0)), bytes(range(0x40, 0x58)), h("50515253c0c1c2c3c4c5c6c7")
    tip = (b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
           b"future, sunscreen would be it.")
    xsealed = xseal(xkey, xnonce, tip, xaad)
    checks = {
        "X25519": dh(bob, alice) == shared and dh(bob, bytes(32)) is None,
        "BLAKE2s": hash(b"abc") == h("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"),
        "ChaCha20-Poly1305": sealed[-16:] == h("eead9d67890cbb22392336fea1851f38")
        and open(key, counter, sealed, aad) == draft and open(key, counter, sealed, b"") is None,
        "XChaCha20-Poly1305": xsealed[-16:] == h("c0875924c1c7987947deafd8780acf49")
        and xopen(xkey, xnonce, xsealed, xaad) == tip and xopen(xkey, xnonce, xsealed, b"") is None,
    }
    return next((name for name, right in checks.items() if not right), None)


WIREGUARD = Suite(
    name="wireguard",
    construction=b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s",
    identifier=b"WireGuard v1 zx2c4 Jason@zx2c4.com",
    private=clamp, clamp=clamp, public=public, dh=dh, hash=hash, hmac=hmac, kdf=kdf, mac=mac,
    seal=seal, open=open, xseal=xseal, xopen=xopen, self_test=_self_test,
)
