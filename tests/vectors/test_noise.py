"""The handshake against what others computed: the cacophony vector of
Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (values retyped), PyPI noiseprotocol as a live
peer in both roles, scapy as a dissector. F7."""

import dataclasses
import os

import pytest
from noise.connection import Keypair, NoiseConnection

from wgpy import suite
from wgpy.protocol.messages import Initiation, Response
from wgpy.protocol.noise import Noise, Refused

H = bytes.fromhex
SUITE = suite.get()
NAME = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
PROLOGUE = b"WireGuard v1 zx2c4 Jason@zx2c4.com"

PSK = H("54686973206973206d7920417573747269616e20706572737065637469766521")
INITIATOR = H("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1")
INITIATOR_EPHEMERAL = H("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a")
RESPONDER = H("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893")
RESPONDER_PUBLIC = H("31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62")
RESPONDER_EPHEMERAL = H("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b")
MESSAGES = [
    (b"Ludwig von Mises", H(
        "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
        "001e21de9f98ddd8e2ad57527207feb56253c9c94a9e496782ecfcb2a75fbcaf"
        "1b52948cc48daefe660c62119ab5000980c84831215f2441eba616548e832985"
        "464cf17e51ee93109008399a21f7e13f")),
    (b"Murray Rothbard", H(
        "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
        "cb765f2caef0751b8f007572dab0322217755c0632f365717edbf34d33e87a")),
    (b"F. A. Hayek", H("8153ca9833bc3c1b91a7e66e5f4d4f5b59bf9e64c2f20d15f0bba7")),
    (b"Carl Menger", H("07af0c9c86e1b4e80f36b04ff7688d51141af3debd0332f0a705ef")),
    (b"Jean-Baptiste Say", H("6ab1467c0448cc78394494abaaf23afce0e234315d6e2624dcbfa8a21c1c4d073d")),
    (b"Eugen B\xf6hm von Bawerk", H("dfc346c0d2296ae6cf1acf6f12b8456a1dba228cf8d8b774aacf1c47fc53aa80ebc7a4c292")),
]


def both(prologue=PROLOGUE, initiator=INITIATOR, responder=RESPONDER):
    with_prologue = dataclasses.replace(SUITE, identifier=prologue)
    i, r = Noise(with_prologue), Noise(with_prologue)
    i.set_private_key(initiator)
    r.set_private_key(responder)
    return i, r


def parts(noise_message: bytes, sender: int = 1) -> Initiation:
    return Initiation(sender, noise_message[:32], noise_message[32:80], noise_message[80:])


def test_cacophony_vector_as_initiator_and_responder():
    i, r = both(b"John Galt")
    assert r.public == RESPONDER_PUBLIC
    (p1, m1), (p2, m2), *transport = MESSAGES
    ss = i.static_static(r.public)
    initiation, flight = i.initiate(r.public, ss, 1, INITIATOR_EPHEMERAL, p1)
    assert b"".join(initiation[1:]) == m1
    payload, proven = r.prove(r.claim(parts(m1)), r.static_static(i.public))
    assert payload == p1 and proven.static == i.public
    response, theirs = r.respond(proven, PSK, 2, RESPONDER_EPHEMERAL, p2)
    assert response.ephemeral + response.empty == m2
    ours = i.finish(flight, response, PSK)
    assert (ours.send, ours.receive) == (theirs.receive, theirs.send)
    for n, (payload, message) in enumerate(transport):
        key = ours.send if n % 2 == 0 else ours.receive
        assert SUITE.seal(bytes(key), n // 2, payload, b"") == message


def oracle(initiator: bool, static: bytes, psk: bytes, remote: bytes | None):
    noise = NoiseConnection.from_name(NAME)
    noise.set_prologue(PROLOGUE)
    noise.set_psks(psk)
    noise.set_keypair_from_private_bytes(Keypair.STATIC, static)
    if remote:
        noise.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, remote)
    (noise.set_as_initiator if initiator else noise.set_as_responder)()
    noise.start_handshake()
    return noise


@pytest.mark.parametrize("psk", [bytes(32), b"\x07" * 32], ids=["none", "psk"])
def test_noiseprotocol_as_responder_understands_our_initiation(psk):
    i, _ = both()
    other = oracle(False, RESPONDER, psk, None)
    initiation, flight = i.initiate(RESPONDER_PUBLIC, i.static_static(RESPONDER_PUBLIC), 7,
                                    os.urandom(32), b"t" * 12)
    assert other.read_message(b"".join(initiation[1:])) == b"t" * 12
    answer = bytes(other.write_message())
    keys = i.finish(flight, Response(9, 7, answer[:32], answer[32:]), psk)
    assert other.decrypt(SUITE.seal(bytes(keys.send), 0, b"hello", b"")) == b"hello"
    assert SUITE.open(bytes(keys.receive), 0, other.encrypt(b"there"), b"") == b"there"


@pytest.mark.parametrize("psk", [bytes(32), b"\x07" * 32], ids=["none", "psk"])
def test_noiseprotocol_as_initiator_is_understood(psk):
    _, r = both()
    other = oracle(True, INITIATOR, psk, RESPONDER_PUBLIC)
    message = bytes(other.write_message(b"t" * 12))
    claim = r.claim(parts(message))
    timestamp, proven = r.prove(claim, r.static_static(claim.static))
    assert timestamp == b"t" * 12
    response, keys = r.respond(proven, psk, 2, os.urandom(32))
    assert other.read_message(response.ephemeral + response.empty) == b""
    assert other.decrypt(SUITE.seal(bytes(keys.send), 0, b"hello", b"")) == b"hello"
    assert SUITE.open(bytes(keys.receive), 0, other.encrypt(b"there"), b"") == b"there"


def handshake(psk_i=bytes(32), psk_r=bytes(32)):
    i, r = both()
    initiation, flight = i.initiate(r.public, i.static_static(r.public), 1, os.urandom(32), b"t" * 12)
    _, proven = r.prove(r.claim(initiation), r.static_static(i.public))
    response, keys = r.respond(proven, psk_r, 2, os.urandom(32))
    return i, r, initiation, flight, response, keys


def test_every_flipped_bit_of_an_initiation_is_refused():
    i, r, initiation, *_ = handshake()
    ss = r.static_static(i.public)
    for field in ("ephemeral", "static", "timestamp"):
        value = getattr(initiation, field)
        for bit in range(8 * len(value)):
            flipped = bytearray(value)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(Refused):
                r.prove(r.claim(initiation._replace(**{field: bytes(flipped)})), ss)


def test_every_flipped_bit_of_a_response_is_refused_and_harms_nothing():
    i, _, _, flight, response, keys = handshake()
    for field in ("ephemeral", "empty"):
        value = getattr(response, field)
        for bit in range(8 * len(value)):
            flipped = bytearray(value)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(Refused):
                i.finish(flight, response._replace(**{field: bytes(flipped)}), bytes(32))
    assert i.finish(flight, response, bytes(32)).send == keys.receive


def test_another_preshared_key_is_refused():
    i, _, _, flight, response, _ = handshake(psk_r=b"\1" * 32)
    with pytest.raises(Refused):
        i.finish(flight, response, bytes(32))
    assert i.finish(flight, response, b"\1" * 32)


# RFC 7748, section 7, and the list of libsodium: points of small order
LOW_ORDER = [bytes(32), b"\1" + bytes(31),
             H("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
             H("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
             H("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
             H("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
             H("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")]


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda p: p[:4].hex())
def test_an_all_zero_shared_secret_is_refused_precomputed_included(point):
    i, r, initiation, flight, response, _ = handshake()
    assert i.static_static(point) is None
    for refused in (lambda: r.claim(initiation._replace(ephemeral=point)),
                    lambda: i.finish(flight, response._replace(ephemeral=point), bytes(32)),
                    lambda: i.initiate(point, bytes(32), 1, os.urandom(32), bytes(12))):
        with pytest.raises(Refused, match="zero_dh"):
            refused()


def test_secrets_of_a_handshake_are_overwritten():
    i, *_, flight, _, _ = handshake()
    kept = (flight._ephemeral, flight._chain)
    assert all(any(k) for k in kept)
    flight.wipe()
    assert not any(any(k) for k in kept)


def test_scapy_dissects_our_messages():
    from scapy.contrib.wireguard import (
        Wireguard,
        WireguardInitiation,
        WireguardResponse,
        WireguardTransport,
    )
    from sim.network import pair
    from sim.node import ipv4
    net, a, b = pair()
    net.send(a, ipv4("10.0.0.1", "10.0.0.2"))
    net.run(1)
    initiation, response, data = (Wireguard(d) for _, _, d in net.datagrams[:3])
    assert initiation.message_type == 1 and initiation.reserved_zero == 0
    first, second, third = (initiation[WireguardInitiation], response[WireguardResponse],
                            data[WireguardTransport])
    assert second.receiver_index == first.sender_index
    assert third.receiver_index == second.sender_index and third.counter == 0
    assert len(third.encrypted_encapsulated_packet) == 32 + 16   # 28 bytes padded, and the tag
    assert bytes(first.mac2) == bytes(16)
