"""A peer's endpoint inside the tunnel's own AllowedIPs, with nothing that keeps the outer
datagrams out: they come back through the TUN and end there, `why` says so, and a route heals it.
Counts are those of packets that the kernel gave to the TUN."""

import json
import sys
from pathlib import Path

import pytest

from wgpy.lab.netns import Netns, join, wait_until
from wgpy.lab.traffic import ping
from wgpy.lab.tunnel import PeerConfig, Tunnel, private_key, public_key
from wgpy.lab.two_sites import INSIDE4, TwoSites

pytestmark = pytest.mark.netns
WGPY = str(Path(sys.executable).with_name("wgpy"))


def into_tun(host, iface: str) -> int:
    return json.loads(host.ip("-j", "-s", "link", "show", iface))[0]["stats64"]["tx"]["packets"]


def looped(host, iface: str) -> int:
    return json.loads(host.run(WGPY, "show", iface, "--json").stdout)[iface]["drops"]["routing_loop"]


def unanswered(host, address: str, count: int, size: int = 56) -> bool:
    """Of so many and no more."""
    said = host.run("ping", "-c", count, "-i", 0.02, "-W", 0.2, "-s", size, address, check=False).stdout
    return f"{count} packets transmitted, 0 received" in said


def why(host, *args) -> list[dict]:
    return json.loads(host.run(WGPY, "why", *args, "--json").stdout)


@pytest.mark.parametrize("outside", [4, 6])
def test_a_session_whose_route_turns_into_the_tunnel(outside):
    with TwoSites("wgpyd", outside=outside) as sites:
        a, far = sites.a, sites.outside[1]
        allowed = f"{far}/{32 if outside == 4 else 128}"
        assert ping(a.host, INSIDE4[1]).lost == 0
        assert [f["cause"] for f in why(a.host, "wg0")] == ["up"] and looped(a.host, "wg0") == 0
        a.wg("set", "peer", sites.b.public_key, "allowed-ips", f"{INSIDE4[1]}/32,{allowed}")
        a.host.ip("route", "add", allowed, "dev", "wg0")
        before = into_tun(a.host, "wg0")
        for size in (56, 1392):  # the outer datagram of the second is larger than the TUN's MTU
            assert unanswered(a.host, INSIDE4[1], 20, size)
        wait_until(lambda: looped(a.host, "wg0") >= 60, 20, "each first one, and each rest of a large one after its round")
        # a small one: itself and its datagram; a large one: itself, two pieces, the round of the second
        assert into_tun(a.host, "wg0") - before <= 20 * 2 + 20 * 4 + 10
        found = why(a.host, "wg0")[0]
        assert found["cause"] == "routing_loop" and far in found["text"] and sites.b.public_key in found["text"]
        assert found["evidence"] | {"drops routing_loop": 0} == {
            "drops routing_loop": 0, "fwmark": "off", f"route to {far}": "dev wg0", "in its AllowedIPs": allowed}
        assert all(word in found["remedy"] for word in (f"ip route add {far}", "FwMark", "Table"))
        a.host.ip("route", "delete", allowed, "dev", "wg0")
        count = looped(a.host, "wg0")
        assert ping(a.host, INSIDE4[1]).lost == 0 and looped(a.host, "wg0") == count
        healed = why(a.host, "wg0")
        assert [f["cause"] for f in healed] == ["routing_loop", "up"] and "--seconds" in healed[0]["remedy"]
        assert [f["cause"] for f in why(a.host, "wg0", "--seconds", "0.1")] == ["up"]


@pytest.fixture
def house(tmp_path):
    """`up(allowed)` brings up q0, whose peer at 203.0.113.1 also answers as 192.0.2.77."""
    key = private_key()
    with Netns("far") as far, Netns("house") as host:
        join(far, host, a_addresses=("203.0.113.1/24",), b_addresses=("203.0.113.2/24",))
        host.ip("route", "add", "default", "via", "203.0.113.1")
        tunnel = Tunnel(far, "wgpyd", addresses=("10.9.0.1/24", "192.0.2.77/32"),
                        peers=(PeerConfig(public_key(key), ("10.9.0.2/32",)),)).start()

        def up(allowed: str):
            path = tmp_path / "q0.conf"
            path.write_text(f"[Interface]\nPrivateKey = {key}\nAddress = 10.9.0.2/32\n[Peer]\nAllowedIPs = {allowed}\n"
                            f"PublicKey = {tunnel.public_key}\nEndpoint = 203.0.113.1:51820\n")
            path.chmod(0o600)
            host.run(WGPY, "up", path)
            return host
        yield up


def test_a_file_whose_endpoint_is_in_its_allowed_ips(house):
    """No handshake gets out. wg-quick makes the same routes of such a file."""
    host = house("10.9.0.1/32, 203.0.113.0/25")
    before = into_tun(host, "q0")
    assert unanswered(host, "10.9.0.1", 5)
    wait_until(lambda: looped(host, "q0"), 20, "the initiation came back")
    assert into_tun(host, "q0") - before <= 5 + 3
    found = why(host, "q0")
    assert [f["cause"] for f in found] == ["routing_loop"] and found[0]["evidence"]["in its AllowedIPs"] == "203.0.113.0/25"
    text = host.run(WGPY, "why", "q0").stdout
    assert "routing_loop" in text and "leads into q0" in text and "routing loop" in host.run(WGPY, "show", "q0").stdout
    host.ip("route", "add", "203.0.113.1", "dev", "eth0")
    wait_until(lambda: ping(host, "10.9.0.1", count=1, wait=1).times, 60, "the next initiation gets out")
    assert why(host, "q0", "--seconds", "0.1")[-1]["cause"] == "up"


def test_a_default_route_has_its_mark_and_no_loop(house):
    host = house("0.0.0.0/0")
    assert ping(host, "192.0.2.77").lost == 0
    assert [f["cause"] for f in why(host, "q0")] == ["up"] and looped(host, "q0") == 0
