"""Model 1: sites joined by standalone tunnels, with direct Internet beside them (F5, I2)."""

import json
from ipaddress import ip_address, ip_network

import pytest

from wgpy.lab.internet import WEB
from wgpy.lab.sites import Sites
from wgpy.lab.traffic import fetch, file_server, ping
from wgpy.lab.wire import Capture

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def three():
    with Sites(3) as made:
        yield made


def test_every_host_reaches_every_other_one_by_a_tunnel(three):
    lans = [ip_network(site.lan) for site in three.sites]
    for here in three.sites:
        assert {r["dst"] for r in json.loads(here.host.ip("-j", "route"))} == {"default", here.lan}
        with Capture(three.internet, f"to-{here.name}") as wire:
            for there in three.sites:
                assert here is there or ping(here.host, there.address).lost == 0
        ends = {ip_address(e[0]) for s in wire.frames() for e in (s.source, s.destination)}
        assert len(wire.frames(4)) >= 3 * 2 * 2
        assert not [e for e in ends if any(e in lan for lan in lans)], "addresses of a LAN outside"


def test_internet_beside_the_tunnel(three, tmp_path):
    (tmp_path / "page").write_bytes(b"in clear" * 1000)
    here = three.sites[0]
    with Capture(three.internet, f"to-{here.name}", 65536) as wire, file_server(three.internet, tmp_path, WEB) as netloc:
        assert fetch(here.host, netloc, "/page").size == 8000
    assert any(b"in clear" in s.payload for s in wire.frames())
    assert {s.destination[0] for s in wire.frames() if s.source[0] == WEB} == {here.home.address}
    assert not wire.frames(4)


def test_no_tunnel_no_way(three):
    """What is for another site does not fall back to the Internet when the tunnel dies."""
    here, there = three.sites[1:]
    here.tunnel.stop()
    with Capture(three.internet, f"to-{here.name}") as wire:
        assert ping(here.host, there.address, wait=0.5).lost == 3
    assert not wire.frames()
