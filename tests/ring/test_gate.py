"""Black's gate: WireGuard form only, nothing charged to a source, and the sources that crypto
talks to first (A1, F2, F3, F4). Virtual time; sizes retyped from gate.h and the layout."""
import ipaddress
import random

import pytest

from wgpy._fast.ports import Gate, MemoryPort, Port, Pump
from wgpy.notices import Endpoint
from wgpy.ring.backing import MemfdRing, attach

SECOND = 1_000_000_000
START = 5_000 * SECOND


def message(kind: int, length: int) -> bytes:
    return bytes([kind, 0, 0, 0]) + bytes(length - 4)


INITIATION, RESPONSE, COOKIE = message(1, 148), message(2, 92), message(3, 64)
DATA, KEEPALIVE = message(4, 32 + 1420), message(4, 32)


class Black:
    """Its ring to crypto has 1024 descriptors; crypto reads when it is told to."""

    def __init__(self):
        ring = MemfdRing.create("gate")
        self.to_crypto = attach(*ring.producer_fds()).producer(datagrams=True)
        self.at_crypto = attach(*ring.consumer_fds()).consumer(datagrams=True)
        ring.close()
        self.gate = Gate(self.to_crypto)
        self.udp_in, self.taken, self.ring_in, self.udp_out = (MemoryPort() for _ in range(4))
        self.inward = Pump(self.udp_in, self.gate.stage(), self.to_crypto)
        self.crypto = Pump(self.at_crypto, None, self.taken)
        self.outward = Pump(self.ring_in, self.gate.tap(), self.udp_out)
        self.now = START
        for _ in range(3):  # attach
            self.crypto.step(self.now)
            self.udp_in.put(INITIATION, Endpoint("192.0.2.250", 1))
            self.inward.step(self.now)
        self.reads()

    def puts(self, datagram: bytes, sources, port: int = 51820) -> None:
        """One from each, in one batch for each 250."""
        for i, source in enumerate(sources):
            assert self.udp_in.put(datagram, Endpoint(source, port))
            if i % 250 == 249:
                self.inward.step(self.now)
        while self.inward.step(self.now):
            pass

    def reads(self) -> list:
        while self.crypto.step(self.now):
            pass
        return self.taken.take()

    def hears(self, datagram: bytes, source: str, copies: int = 1) -> int:
        """How many of `copies` from there pass on to crypto, which keeps up."""
        passed = 0
        while copies:
            batch = min(copies, 250)
            copies -= batch
            self.puts(datagram, [source] * batch)
            took = self.reads()
            assert all(d == datagram and e == Endpoint(source, 51820) for d, e, _ in took)
            passed += len(took)
        return passed

    def sends(self, datagram: bytes, to: str) -> None:
        self.ring_in.put(datagram, Endpoint(to, 51820))
        self.outward.step(self.now)
        assert [d for d, _, _ in self.udp_out.take()] == [datagram]

    def drops(self) -> dict[str, int]:
        return {k: n for k, n in self.inward.drops().items() if n and k != "ring_detached"}


def strangers(count: int, first: int = 0) -> list[str]:
    return [str(ipaddress.ip_address(0x0B000000 + first + i)) for i in range(count)]


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
    assert black.drops() == {"not_wireguard": 1} and not black.reads()


@pytest.mark.parametrize("datagram", [INITIATION, RESPONSE, COOKIE, DATA])
def test_nothing_is_charged_to_an_address(black, datagram):
    """F3: whatever was forged from an address, its owner is heard."""
    assert black.hears(datagram, "192.0.2.1", 20_000) == 20_000
    assert black.hears(INITIATION, "192.0.2.1") == 1 and not black.drops()


def test_strangers_get_three_quarters_of_the_ring(black):
    """Also within one batch, so that black never waits for their sake."""
    black.puts(INITIATION, strangers(900))
    black.puts(INITIATION, strangers(250, 1000))
    assert black.drops() == {"ring_share": 1150 - 768} and black.to_crypto.stats()["waits"] == 0
    assert [e.address for _, e, _ in black.reads()] == strangers(768)
    black.puts(INITIATION, strangers(100))
    assert len(black.reads()) == 100, "there is room again"


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8::1"])
def test_a_peer_that_crypto_answers_has_the_rest(black, peer):
    black.sends(KEEPALIVE, peer)
    black.puts(INITIATION, strangers(800))
    black.puts(DATA, [peer] * 100)
    black.puts(INITIATION, strangers(250, 1000))
    black.puts(INITIATION, [peer])
    took = black.reads()
    assert len(took) == 768 + 101 and [e.address for _, e, _ in took[768:]] == [peer] * 101


def test_a_large_arena_that_is_three_quarters_full_is_too(black):
    """Datagrams of 65507 bytes take 2 MiB long before descriptors run out; a batch goes whole."""
    for i in range(100):
        black.puts(message(4, 65507), [f"192.0.2.{100 + i}"])
    passed = len(black.reads())
    assert black.drops() == {"ring_share": 100 - passed} and 20 <= passed <= 28


def test_for_180_seconds(black):
    black.sends(DATA, "192.0.2.1")
    for later, passed in ((180 * SECOND - 1, 1), (1, 0)):
        black.now += later
        black.puts(INITIATION, strangers(800))
        black.puts(DATA, ["192.0.2.1"])
        assert len(black.reads()) == 768 + passed


def test_an_ipv6_source_is_its_64(black):
    black.sends(DATA, "2001:db8:0:1::1")
    black.puts(INITIATION, strangers(800))
    black.puts(DATA, ["2001:db8:0:1:ffff::2", "2001:db8:0:2::1"])
    assert [e.address for _, e, _ in black.reads()[768:]] == ["2001:db8:0:1:ffff::2"]


@pytest.mark.parametrize("datagram", [INITIATION, RESPONSE, COOKIE])
def test_handshake_messages_to_a_source_do_not_prefer_it(black, datagram):
    """Crypto answers strangers with cookies: that authenticates nobody."""
    black.sends(datagram, "192.0.2.1")
    black.puts(INITIATION, strangers(800))
    black.puts(DATA, ["192.0.2.1"])
    assert len(black.reads()) == 768


def test_a_peer_that_roams_is_heard_at_once(black):
    """F4: from the new address before crypto has ever answered there."""
    black.sends(DATA, "192.0.2.1")
    assert black.hears(DATA, "198.51.100.9", 2_500) == 2_500


def test_a_flood_of_sources_does_not_displace_a_preferred_one(black):
    """F3: ten times as many strangers as the table has places, and no peer forgotten."""
    peers = [f"192.0.2.{i}" for i in range(1, 251)]
    for peer in peers:
        black.sends(DATA, peer)
    for i in range(0, 160_000, 1000):
        black.puts(INITIATION, strangers(1000, i))
        black.reads()
    assert black.gate.stats()["evicted"] == 0
    black.puts(INITIATION, strangers(800))
    black.puts(DATA, peers[:60])
    assert [e.address for _, e, _ in black.reads()[768:]] == peers[:60]


def test_a_gate_has_a_port_behind_it():
    for bad in (None, Port()):
        with pytest.raises((TypeError, ValueError)):
            Gate(bad)
