"""Project Wycheproof's vectors; wycheproof/README.md says where they come from.

F7. Our nonces start with four zero bytes, which ten vectors of ChaCha20-Poly1305 share
(those of extreme Poly1305 keys); bulk packets moreover have no AAD, and no vector does.
So the data plane's backends must give the ciphertext of those ten, and for the keys and
messages of all others agree with the handshake's AEAD, which passes the vectors.
"""

import json
from pathlib import Path

import pytest

from wgpy import suite
from wgpy._fast import plane

DATA = Path(__file__).with_name("wycheproof")
S = suite.get()
H = bytes.fromhex


def vectors(name: str, expected: int) -> list[dict]:
    """The count guards against an empty or cut file."""
    tests = json.loads((DATA / f"{name}.json").read_text())
    assert len(tests) == expected
    return tests


def data_nonce(test: dict) -> bool:
    return len(test["iv"]) == 24 and test["iv"].startswith("00000000")


def counter_of(test: dict) -> int:
    return int.from_bytes(H(test["iv"])[4:], "little")


def test_chacha20_poly1305_of_the_handshake():
    usable = [t for t in vectors("chacha20_poly1305", 325) if data_nonce(t)]
    assert len(usable) == 10
    for t in usable:
        key, aad, message, sealed = H(t["key"]), H(t["aad"]), H(t["msg"]), H(t["ct"] + t["tag"])
        assert t["result"] == "valid"
        assert S.seal(key, counter_of(t), message, aad) == sealed
        assert S.open(key, counter_of(t), sealed, aad) == message
        assert S.open(key, counter_of(t), sealed, b"") is None


BACKENDS = [name for name, supported, *_ in plane.aead_backends() if supported]


@pytest.mark.parametrize("backend", BACKENDS)
def test_chacha20_poly1305_of_the_data_plane(backend):
    for t in vectors("chacha20_poly1305", 325):
        key, message = H(t["key"]), H(t["msg"])
        counter = counter_of(t) if data_nonce(t) else int.from_bytes(H(t["iv"])[:8], "big")
        sealed = plane.aead_seal(backend, key, counter, message)
        if data_nonce(t):
            assert sealed[:-16] == H(t["ct"])
        assert sealed == S.seal(key, counter, message, b"")
        assert plane.aead_open(backend, key, counter, sealed) == message
        if t["result"] == "invalid":
            forged = sealed[:-16] + H(t["tag"])
            assert plane.aead_open(backend, key, counter, forged) is None


def test_xchacha20_poly1305():
    for t in vectors("xchacha20_poly1305", 315):
        key, nonce, aad = H(t["key"]), H(t["iv"]), H(t["aad"])
        message, sealed = H(t["msg"]), H(t["ct"] + t["tag"])
        if len(nonce) != 24:
            assert t["result"] == "invalid"
            continue
        valid = t["result"] == "valid"
        assert S.xopen(key, nonce, sealed, aad) == (message if valid else None), t["tcId"]
        assert (S.xseal(key, nonce, message, aad) == sealed) == valid, t["tcId"]


def test_x25519_refuses_the_zero_shared_secret_and_nothing_else():
    tests = vectors("x25519", 518)
    refused = [t for t in tests if not any(H(t["shared"]))]
    assert len(refused) == 31
    for t in tests:
        expected = None if t in refused else H(t["shared"])
        assert S.dh(H(t["private"]), H(t["public"])) == expected, t["tcId"]
