"""What an observer or meddler on the outside path can see and do (F7)."""

import re

import pytest

from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import ping, pinging
from wgpy.lab.two_sites import INSIDE4, TwoSites, endpoint
from wgpy.lab.wire import Capture, Relay

pytestmark = pytest.mark.netns
TRANSPORT = 4
ICMP = 1
TRANSPORT_OVERHEAD = 32
ALONE = 5  # s between pings: two that wait for the daemon together would leave as one train
PATTERN = bytes.fromhex("c0ffee") * 5


@pytest.fixture(scope="module")
def sites():
    with TwoSites("wgpyd", psk=True) as sites:
        assert ping(sites.a.host, INSIDE4[1]).lost == 0
        yield sites


@pytest.fixture
def relay(sites):
    """On the way from a to b and back."""
    with Relay(sites.a.host, ("127.0.0.1", 0), (sites.outside[1], sites.b.port)) as relay:
        peer = sites.b.public_key
        sites.a.wg("set", "peer", peer, "endpoint", endpoint(*relay.address))
        yield relay
        sites.a.wg("set", "peer", peer, "endpoint", endpoint(sites.outside[1], sites.b.port))


def carried(capture: Capture) -> list:
    """Transport messages that bring something: a keepalive may come between at any time."""
    return [f for f in capture.frames(TRANSPORT) if len(f.payload) > TRANSPORT_OVERHEAD]


def test_nothing_readable_and_padded_to_16(sites):
    with Capture(sites.b.host, snap=2048) as capture:
        for size in (0, 5, 100, 1392 - 28, 1420 - 28):
            sites.a.host.run("ping", "-c", 1, "-p", "c0ffee", "-s", size, INSIDE4[1])
    frames = carried(capture)
    assert len(frames) == 10
    assert not [f for f in capture.frames() if PATTERN in f.payload]
    sizes = sorted({len(f.payload) - TRANSPORT_OVERHEAD for f in frames})
    assert sizes == [32, 48, 128, 1392, 1420], "multiples of 16, clamped to the MTU"


@pytest.mark.parametrize("mtu, largest", [(1391, 1392), (1392, 1392), (1408, 1408), (1411, 1420)])
def test_a_route_with_a_smaller_mtu(sites, mtu, largest):
    """The sender's stack keeps to the route's MTU. What comes out of the TUN does not say by
    which route, so padding ends at the device's, as in wireguard-go: a multiple of 16 is kept."""
    sites.a.host.ip("route", "replace", f"{INSIDE4[1]}/32", "dev", "wg0", "mtu", mtu)
    try:
        with Capture(sites.b.host, snap=2048) as capture:
            assert ping(sites.a.host, INSIDE4[1], count=1, interval=ALONE, size=mtu - 28).lost == 0
            refused = sites.a.host.run("ping", "-c", 1, "-M", "do", "-s", mtu + 1 - 28, INSIDE4[1], check=False)
        assert refused.returncode and "essage too long" in refused.stdout + refused.stderr  # ping's or strerror's
        sizes = {len(f.payload) - TRANSPORT_OVERHEAD for f in carried(capture) if not f.outgoing}
        assert sizes == {largest}
    finally:
        sites.a.host.ip("route", "del", f"{INSIDE4[1]}/32", "dev", "wg0")


def test_outer_header(sites):
    """DSCP 0 whatever is inside; ECN as RFC 6040 has it."""
    with Capture(sites.b.host) as capture:
        for tos in (0xB8, 0xB9, 0xBA):
            sites.a.host.run("ping", "-c", 1, "-Q", tos, INSIDE4[1])
    assert [f.tos for f in carried(capture) if not f.outgoing] == [0, 1, 2]


def test_congestion_mark_reaches_the_inside(sites):
    """CE on the outer header of an ECT packet is copied to the inner one (RFC 6040)."""
    sites.a.host.run("nft", "-f", "-", input="""
        table ip congested {
          chain out {
            type filter hook postrouting priority 0
            udp dport 51820 ip ecn set ce
          }
        }""")
    with Capture(sites.b.host, "wg0") as capture:
        sites.a.host.run("ping", "-c", 1, "-Q", 0x02, INSIDE4[1])
    sites.a.host.run("nft", "delete", "table", "ip", "congested")
    assert [f.tos for f in capture.frames() if not f.outgoing] == [3]


def test_duplicates_are_dropped(sites, relay):
    relay.transform = lambda datagram, outward: (datagram, datagram, datagram)
    done = sites.a.host.run("ping", "-c", 20, "-w", 20, "-i", 0.02, INSIDE4[1]).stdout
    assert "20 received" in done and "duplicates" not in done and "DUP" not in done


def test_late_packets_within_the_window_arrive(sites, relay):
    held = []

    def hold_every_other(datagram, outward):
        held.append(datagram)
        return (held.pop(), held.pop()) if len(held) == 2 else ()

    relay.transform = lambda d, outward: hold_every_other(d, outward) if outward else (d,)
    result = ping(sites.a.host, INSIDE4[1], count=20, interval=0.02)
    assert result.lost == 0


def test_every_changed_byte_is_dropped(sites, relay):
    """Before each genuine datagram comes one with one bit changed, at each position in
    turn; after it a shorter and a longer one. Only the genuine ones count as received."""
    position = 0

    def meddle(datagram, outward):
        nonlocal position
        changed = bytearray(datagram)
        changed[position % len(changed)] ^= 1 << position % 8
        position += 1
        return bytes(changed), datagram[:-1], datagram, datagram + b"\0", datagram[:31]

    received = sites.b.peer().rx_bytes
    relay.transform = lambda d, outward: meddle(d, outward) if outward else (d,)
    assert ping(sites.a.host, INSIDE4[1]).lost == 0
    before = sites.b.peer()
    with pinging(sites.a.host, INSIDE4[1], interval=0.005) as seen:
        wait_until(lambda: position > 128 + 16, 60, "every position of the datagram has its turn")
    wait_until(lambda: sites.b.peer().rx_bytes - received >= position * 128, 20, "the last of them")
    after = sites.b.peer()
    assert seen[0].lost == 0
    assert after.rx_bytes - received == position * 128
    assert after.handshake == before.handshake and after.endpoint == before.endpoint


def test_a_peer_cannot_send_from_an_address_that_is_not_its_own(sites):
    sites.a.host.ip("address", "add", "10.99.0.1/32", "dev", "wg0")
    with Capture(sites.b.host, "wg0") as capture:
        sent = sites.a.host.run("ping", "-c", 3, "-i", 0.02, "-W", 0.3, "-I", "10.99.0.1",
                                INSIDE4[1], check=False).stdout
        assert ping(sites.a.host, INSIDE4[1]).lost == 0
    assert re.search("3 packets transmitted, 0 received", sent)
    assert {f.source[0] for f in capture.frames() if f.protocol == ICMP} == set(INSIDE4)
