"""F3. Who shares its address or /64 with a flooder that has proven to be there gets its token."""
import pytest

from wgpy.protocol.ratelimit import Limiter

SECOND = 1_000_000_000


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
