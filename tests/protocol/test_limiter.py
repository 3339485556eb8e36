"""The limiter of handshakes (F3): each source has its rate, and who shares its address or /64 with a
flooder that has proven to be there gets its token. Constants are retyped from the paper."""
import pytest

from wgpy.protocol.ratelimit import Limiter

SECOND = 1_000_000_000


def test_the_rate_is_20_a_second_and_no_more():
    limiter = Limiter()
    allowed = [limiter.allow("192.0.2.1", 7, 1000 * SECOND + ms * 1_000_000) for ms in range(10_000)]
    assert sum(allowed[:1000]) == 5 + 19 and sum(allowed[5000:]) == 5 * 20


def test_a_flood_of_one_source_does_not_limit_another():
    """boringtun: one global limiter put everybody in cookie mode."""
    limiter = Limiter()
    while limiter.allow("198.51.100.1", 7, 0):
        pass
    assert limiter.allow("198.51.100.2", 7, 0)


ANOTHER = 5 + 32   # a source of its own: its burst, then one for each port


@pytest.mark.parametrize("one,two,left", [
    ("2001:db8::1", "2001:db8::ffff:1", 1),
    ("2001:db8::1", "2001:db8:0:0:ffff::1", 1),
    ("2001:db8::1", "2001:db8:0:1::1", ANOTHER),
    ("2001:db8::1", "2001:db8::1", 0),
    ("fe80::1%eth0", "fe80::2%eth0", 1),
    ("::ffff:192.0.2.1", "192.0.2.1", 0),
    ("::ffff:192.0.2.1", "::ffff:192.0.2.2", ANOTHER),
    ("192.0.2.1", "192.0.2.2", ANOTHER),
    ("zz::not an address", "192.0.2.2", ANOTHER),
])
def test_sources_are_ipv4_addresses_and_ipv6_64s(one, two, left):
    """When one has used up what its source has from all of its ports, another address of
    it that is quiet has a token yet."""
    limiter = Limiter()
    for port in range(100):
        while limiter.allow(one, port, 0):
            pass
    assert sum(limiter.allow(two, 1000 + i, 0) for i in range(100)) == left


def test_the_limiters_table_is_bounded_and_recovers():
    limiter = Limiter(max_sources=100)
    for i in range(1000):
        limiter.allow(f"10.0.{i // 256}.{i % 256}", 7, 0)
    assert len(limiter) == 100
    assert not limiter.allow("192.0.2.1", 7, 0)
    assert limiter.allow("192.0.2.1", 7, 2 * SECOND) and len(limiter) == 1


@pytest.mark.parametrize("flooders", [1, 31])
@pytest.mark.parametrize("flooder,peer", [
    ("192.0.2.1", "192.0.2.1"), ("2001:db8::2", "2001:db8::1"), ("2001:db8::1", "2001:db8::1")])
def test_a_proven_flooder_behind_the_same_nat_does_not_starve_a_peer(flooders, flooder, peer):
    """Each port sends a hundred a second; the peer's initiations, one in five seconds, are
    all let in, whenever they come."""
    limiter, flood, let_in = Limiter(), 0, 0
    for tick in range(60 * 100):
        now = tick * SECOND // 100
        flood += sum(limiter.allow(flooder, 1024 + i, now) for i in range(flooders))
        if tick % 507 == 3:
            assert limiter.allow(peer, 51820, now)
            let_in += 1
    assert let_in == 12 and flood <= 60 * (20 + 20) + 5 + 32


def test_many_ports_of_one_address_leave_the_rest_of_its_64_a_token():
    limiter = Limiter()
    for tick in range(20 * 100):
        now = tick * SECOND // 100
        for i in range(50):
            limiter.allow("2001:db8::2", 1024 + (50 * tick + i) % 60000, now)
        assert tick % 507 != 3 or limiter.allow("2001:db8::1", 51820, now)


def test_marks_of_who_was_let_in_are_bounded():
    limiter = Limiter()
    for i in range(20_000):
        limiter.allow(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", 7, 10 * i * SECOND // 1000)
    assert len(limiter._quiet_at) == 16384
