"""Black's gate: WireGuard form only, a budget for each source, and the sources that crypto
talks to first (A1, F2, F3, F4). Virtual time; rates retyped from gate.h's text."""
import ipaddress
import random

import pytest

from wgpy._fast.ports import Gate, MemoryPort, Pump
from wgpy.notices import Endpoint

SECOND = 1_000_000_000
START = 5_000 * SECOND


def message(kind: int, length: int) -> bytes:
    return bytes([kind, 0, 0, 0]) + bytes(length - 4)


INITIATION, RESPONSE, COOKIE = message(1, 148), message(2, 92), message(3, 64)
DATA, KEEPALIVE = message(4, 32 + 1420), message(4, 32)


class Black:
    def __init__(self):
        self.gate = Gate()
        self.udp_in, self.ring_out, self.ring_in, self.udp_out = (MemoryPort() for _ in range(4))
        self.inward = Pump(self.udp_in, self.gate.stage(), self.ring_out)
        self.outward = Pump(self.ring_in, self.gate.tap(), self.udp_out)
        self.now = START

    def hears(self, datagram: bytes, source: str, copies: int = 1, port: int = 51820) -> int:
        """How many of `copies` from there pass on to crypto, now."""
        passed = 0
        while copies:
            batch = min(copies, 250)
            copies -= batch
            for _ in range(batch):
                assert self.udp_in.put(datagram, Endpoint(source, port))
            took = []
            while self.inward.step(self.now):
                took += self.ring_out.take()
            assert all(d == datagram and e == Endpoint(source, port) for d, e, _ in took)
            passed += len(took)
        return passed

    def sends(self, datagram: bytes, to: str) -> None:
        self.ring_in.put(datagram, Endpoint(to, 51820))
        self.outward.step(self.now)
        assert [d for d, _, _ in self.udp_out.take()] == [datagram]

    def drops(self) -> dict[str, int]:
        return {k: n for k, n in self.inward.drops().items() if n}


@pytest.fixture
def black():
    return Black()


@pytest.mark.parametrize("datagram", [INITIATION, RESPONSE, COOKIE, DATA, KEEPALIVE, message(4, 33), message(4, 65507)],
                         ids=lambda d: f"type {d[0]} of {len(d)}")
def test_messages_pass(black, datagram):
    assert black.hears(datagram, "192.0.2.1") == 1 and not black.drops()


@pytest.mark.parametrize("datagram", [
    b"", b"\1", b"\1\0\0", message(0, 148), message(5, 148), message(255, 32),
    message(1, 147), message(1, 149), message(2, 91), message(2, 93), message(3, 63), message(3, 65),
    message(4, 31), message(4, 4), INITIATION[:1] + b"\1" + INITIATION[2:], DATA[:2] + b"\1" + DATA[3:],
    DATA[:3] + b"\x80" + DATA[4:], b"SSH-2.0-OpenSSH\r\n", bytes(1000)], ids=lambda d: f"{d[:4].hex()} of {len(d)}")
def test_what_is_no_message_does_not(black, datagram):
    assert black.hears(datagram, "192.0.2.1") == 0
    assert black.drops() == {"not_wireguard": 1}


def test_random_bytes_hardly_ever_pass(black):
    noise = random.Random(7)
    assert sum(black.hears(noise.randbytes(noise.choice([32, 64, 92, 148, 1400])), "192.0.2.1")
               for _ in range(2000)) == 0


def test_a_datagram_without_a_source_is_dropped(black):
    black.udp_in.put(INITIATION)
    black.inward.step(START)
    assert black.drops() == {"not_wireguard": 1} and not black.ring_out.take()


def test_fifty_handshake_messages_a_second_of_an_unknown_source(black):
    assert black.hears(INITIATION, "192.0.2.1", 200) == 50
    assert black.drops() == {"source_budget": 150}
    black.now += SECOND // 10
    assert black.hears(RESPONSE, "192.0.2.1", 200) == 5
    assert black.hears(COOKIE, "192.0.2.1", 200, port=9) == 0  # the port is no way around
    black.now += 10 * SECOND
    assert black.hears(INITIATION, "192.0.2.1", 200) == 50


def test_sources_do_not_pay_for_each_other(black):
    assert black.hears(INITIATION, "192.0.2.1", 300) == 50
    assert black.hears(INITIATION, "192.0.2.2", 50) == 50
    assert black.hears(INITIATION, "2001:db8::1", 50) == 50


def test_an_ipv6_source_is_its_64(black):
    assert black.hears(INITIATION, "2001:db8:0:1::1", 50) == 50
    assert black.hears(INITIATION, "2001:db8:0:1:ffff::2", 50) == 0
    assert black.hears(INITIATION, "2001:db8:0:2::1", 50) == 50


def test_a_source_that_crypto_talks_to_is_preferred_for_180_seconds(black):
    black.sends(KEEPALIVE, "192.0.2.1")
    assert black.hears(DATA, "192.0.2.1", 10_000) == 10_000
    assert black.hears(INITIATION, "192.0.2.1", 600) == 500
    black.now += 180 * SECOND - 1
    assert black.hears(DATA, "192.0.2.1", 5_000) == 5_000
    black.now += 1
    assert black.hears(DATA, "192.0.2.1", 5_000) == 2_000


@pytest.mark.parametrize("datagram", [INITIATION, RESPONSE, COOKIE])
def test_handshake_messages_to_a_source_do_not_prefer_it(black, datagram):
    """Crypto answers strangers with cookies: that authenticates nobody."""
    black.sends(datagram, "192.0.2.1")
    assert black.hears(INITIATION, "192.0.2.1", 200) == 50


def test_a_peer_that_roams_is_heard_at_once(black):
    """F4: from the new address before crypto has ever answered there, then in full."""
    black.sends(DATA, "192.0.2.1")
    assert black.hears(DATA, "198.51.100.9", 2_500) == 2_000
    black.now += SECOND // 2
    assert black.hears(DATA, "198.51.100.9", 2_500) == 1_000
    black.sends(DATA, "198.51.100.9")
    assert black.hears(DATA, "198.51.100.9", 2_500) == 2_500


def test_a_flood_of_sources_does_not_displace_a_preferred_one(black):
    """F3: a table as large as it is, ten times as many sources, and the peer unharmed."""
    peers = [f"192.0.2.{i}" for i in range(1, 251)]
    for peer in peers:
        black.sends(DATA, peer)
    flood = int(ipaddress.ip_address("11.0.0.0"))
    for i in range(160_000):
        black.udp_in.put(INITIATION, Endpoint(str(ipaddress.ip_address(flood + i)), 1))
        if i % 200 == 199:
            black.now += 1_000_000
            black.inward.step(black.now)
            black.ring_out.take()
    assert black.gate.stats()["evicted"] > 100_000
    for peer in peers:
        assert black.hears(DATA, peer, 2_100) == 2_100


def test_idle_sources_make_room_without_harm(black):
    for i in range(16_000):
        black.hears(INITIATION, str(ipaddress.ip_address(0x0B000000 + i)))
        black.now += SECOND // 100
    assert black.gate.stats()["evicted"] == 0
