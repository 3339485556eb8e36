"""The end hosts have nothing but a default route, and can ping, fetch over HTTP and copy
a file of 1 GB both ways, in both modes (I2, I4, I5, F5); model 2 of the requirements."""

import json
import socket

import pytest

from wgpy.lab.encryptors import MARKER, WEB
from wgpy.lab.leaks import Heartbeat, Wiretap, speak_openly
from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import fetch, file_server, iperf3, ping

pytestmark = pytest.mark.netns


def both_ways(pair):
    return (pair.a, pair.b), (pair.b, pair.a)


def test_a_host_has_one_address_and_a_default_route(pair):
    for node in pair.nodes:
        links = json.loads(node.host.ip("-j", "-4", "address"))
        addresses = [a["local"] for link in links for a in link["addr_info"] if link["ifname"] != "lo"]
        assert addresses == [node.address]
        routes = json.loads(node.host.ip("-j", "route"))
        assert {r["dst"]: r.get("gateway") for r in routes} == {"default": node.inner, node.lan: None}


def test_ping_both_ways(pair):
    for node, other in both_ways(pair):
        assert ping(node.host, other.address).lost == 0
        ping(node.host, other.address, size=1500 - 28)
        assert "mtu 1420" in node.host.ip("route", "get", other.address), "the tunnel's, learnt from red"
        assert ping(node.host, other.address, size=1500 - 28).lost == 0


def test_fetch_with_the_tools_of_a_host(pair, tmp_path):
    content = "".join(f"line {n}\n" for n in range(100_000))
    (tmp_path / "page").write_text(content)
    for node, other in both_ways(pair):
        with file_server(other.host, tmp_path, other.address) as netloc:
            assert node.host.run("curl", "-sf", "-m", "60", f"http://{netloc}/page").stdout == content


@pytest.mark.slow
def test_copy_of_a_gigabyte_both_ways(pair, large_file):
    directory, digest = large_file
    for node, other in both_ways(pair):
        with file_server(other.host, directory, other.address) as netloc:
            got = fetch(node.host, netloc, "/file")
        assert (got.size, got.sha256) == (1_000_000_000, digest)


def test_the_internet_is_beside_the_tunnel(pair, tmp_path):
    """In small mode by way of black, in clear; in large mode by the site's router, and
    black never sees it."""
    (tmp_path / "page").write_text("of the Internet")
    with Wiretap(pair) as tap, file_server(pair.internet, tmp_path, WEB) as netloc:
        for node in pair.nodes:
            assert ping(node.host, WEB).lost == 0
            assert node.host.run("curl", "-sf", "-m", "60", f"http://{netloc}/page").stdout == "of the Internet"
        speak_openly(pair, WEB)
        if pair.a.mode == "small":
            wait_until(tap.in_clear, 20, "what may be in clear")
    assert (tap.in_clear() > 0) == (pair.a.mode == "small")
    assert not tap.leaks() and not tap.missed


def test_nothing_between_hosts_is_in_clear_outside(pair):
    with Wiretap(pair) as tap, Heartbeat(pair) as heart:
        heart.wait(20)
        assert ping(pair.a.host, pair.b.address, size=1400).lost == 0
        iperf3(pair.b.host, pair.a.host, pair.b.address, megabytes=5)
    assert len(tap.frames(4)) > 100 and not tap.missed
    assert not tap.leaks()


def test_a_leak_would_be_found(pair):
    """The two searches, each by a packet that it alone finds."""
    internet, a, b = pair.internet, pair.a, pair.b
    with internet.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with Wiretap(pair) as tap, sender:
        sender.sendto(b"padding" + MARKER, (a.wan, 9))
        internet.ip("route", "add", b.lan, "via", b.wan)
        sender.sendto(b"anything", (b.address, 9))
        wait_until(lambda: len(tap.leaks()) >= 2, 20, "both are seen")
        internet.ip("route", "delete", b.lan)
    assert {s.destination[0] for s in tap.leaks()} == {a.wan, b.address}


def test_large_mode_has_no_way_between_red_and_black(pair):
    for room in ("black", "red"):
        links = {link["ifname"] for link in json.loads(pair.a.inside(room, "ip", "-j", "link").stdout)}
        assert ("clear0" in links) == (pair.a.mode == "small")
