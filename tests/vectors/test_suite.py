"""Primitives of the WireGuard suite against published answers, and the registry. F8."""

import dataclasses
import hashlib
import hmac

import pytest
from wide_suite import WIDE

from wgpy import suite
from wgpy.errors import WgpyError
from wgpy.protocol.messages import Layout
from wgpy.protocol.noise import Noise

H = bytes.fromhex
S = suite.get()


def test_x25519_iterated_rfc_7748_section_5_2():
    k = u = b"\x09" + bytes(31)
    k, u = S.dh(k, u), k
    assert k == H("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079")
    for _ in range(999):
        k, u = S.dh(k, u), k
    assert k == H("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51")


def test_x25519_key_agreement_rfc_7748_section_6_1():
    bob = H("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    assert S.public(bob) == H("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")


def test_hmac_is_hmac_blake2s():
    for length in (0, 1, 63, 64, 65, 200):
        data = bytes(range(256))[:length]
        assert S.hmac(b"k" * 32, data) == hmac.digest(b"k" * 32, data, "blake2s")


def test_initial_hashes_of_the_paper():
    """Computed independently by every implementation; here as wireguard-go has them."""
    chain = S.hash(S.construction)
    assert chain == H("60e26daef327efc02ec335e2a025d2d016eb4206f87277f52d38d1988b78cd36")
    assert S.hash(chain + S.identifier) == H(
        "2211b361081ac566691243db458ad5322d9c6c662293e8b70ee19c65ba079ef3")


def test_kdf_is_noise_hkdf():
    chain, data = b"c" * 32, b"input"
    secret = hmac.digest(chain, data, "blake2s")
    one = hmac.digest(secret, b"\1", "blake2s")
    two = hmac.digest(secret, one + b"\2", "blake2s")
    three = hmac.digest(secret, two + b"\3", "blake2s")
    assert [S.kdf(chain, data, n) for n in (1, 2, 3)] == [(one,), (one, two), (one, two, three)]


def test_transport_nonce_is_four_zero_bytes_and_the_counter_little_endian():
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    counter = 0x0102030405060708
    other = ChaCha20Poly1305(b"k" * 32).encrypt(H("000000000807060504030201"), b"text", b"aad")
    assert S.seal(b"k" * 32, counter, b"text", b"aad") == other


def test_a_failing_self_test_keeps_a_suite_out():
    broken = dataclasses.replace(S, name="broken", identifier=b"broken", self_test=lambda: "X25519")
    suite.register(broken)
    with pytest.raises(WgpyError, match="broken.*self-test.*X25519"):
        suite.get("broken")


@pytest.mark.parametrize("change,why", [
    ({}, "already"),
    ({"name": "twin"}, "labels"),
    ({"name": "big", "identifier": b"x", "tag_size": 33}, "tag_size must be 12 to 32"),
])
def test_a_suite_that_could_be_confused_or_does_not_fit_is_refused(change, why):
    with pytest.raises(WgpyError, match=why):
        suite.register(dataclasses.replace(S, **change))


def test_an_unknown_suite_is_one_clear_error():
    with pytest.raises(WgpyError, match="rot13.*wireguard"):
        suite.get("rot13")


def test_self_test_notices_a_wrong_primitive(monkeypatch):
    from wgpy.suite import wireguard
    monkeypatch.setattr(wireguard, "hash", lambda data: bytes(32))
    assert S.self_test() == "BLAKE2s"


def test_message_lengths_follow_from_the_sizes_and_wireguards_are_those_of_the_paper():
    ours, other = Layout(S), Layout(WIDE)
    assert (list(ours.sizes.values()), ours.overhead) == ([148, 92, 64], 32)
    assert list(other.sizes.values()) == [8 + 97 + (97 + 20) + (12 + 20) + 2 * 24, 12 + 97 + 20 + 2 * 24, 8 + 20 + 24 + 28]
    assert other.overhead == 16 + 20


@pytest.mark.parametrize("suite_", [S, WIDE], ids=lambda s: s.name)
def test_a_suite_of_any_sizes_makes_keys_that_agree(suite_):
    noise = Noise(suite_)
    draws = iter(range(10_000))
    keys = [noise.ephemeral(lambda n: hashlib.shake_256(bytes([next(draws) & 255])).digest(n)) for _ in "ab"]
    publics = [suite_.public(k) for k in keys]
    assert [len(k) for k in keys + publics] == [suite_.private_size] * 2 + [suite_.public_size] * 2
    shared = suite_.dh(keys[0], publics[1])
    assert shared == suite_.dh(keys[1], publics[0]) and len(shared) == suite_.shared_size


def test_a_suite_that_takes_no_entropy_is_an_error_and_not_an_endless_loop():
    with pytest.raises(WgpyError, match="no private key of"):
        Noise(dataclasses.replace(S, private=lambda entropy: None)).ephemeral(bytes)


def test_what_is_no_private_key_is_refused_and_the_one_before_stays():
    noise = Noise(WIDE)
    noise.set_private_key(b"\1" * 48)
    before = noise.public
    with pytest.raises(WgpyError, match="not a private key of suite wide"):
        noise.set_private_key(b"\xff" * 48)
    assert noise.public == before
