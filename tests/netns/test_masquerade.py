"""A host behind a router that masquerades into the tunnel. What the tunnel cannot send is
answered to the address from which it came out of the TUN, the router's; the router's
connection tracking must know the packet in the error and pass it on to the host that sent."""

import json
import socket
import struct
import sys
from pathlib import Path

import pytest

from wgpy.lab.netns import Netns, join, wait_until
from wgpy.lab.traffic import ping
from wgpy.lab.tunnel import PeerConfig, Tunnel, private_key, public_key

pytestmark = pytest.mark.netns
WGPY = str(Path(sys.executable).with_name("wgpy"))
INNER, ROUTER, TUNNEL = {4: "10.1.0.2", 6: "fd01::2"}, {4: "10.1.0.1", 6: "fd01::1"}, {4: "10.77.0.1", 6: "fd77::1"}
FAR = {4: "10.77.0.2", 6: "fd77::2"}
NO_PEER, NO_ENDPOINT = {4: "10.50.0.9", 6: "fd50::9"}, {4: "10.60.0.9", 6: "fd60::9"}
HOST_UNREACHABLE = {4: (2, 3, 1), 6: (3, 1, 3)}  # origin (SO_EE_ORIGIN_ICMP, _ICMP6), type, code
RECVERR = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}
MASQUERADE = """table inet nat {
  chain out {
    type nat hook postrouting priority srcnat
    oifname "wg0" masquerade
  }
}
"""


class House:
    """`inner` reaches the far end through `router`, which alone has a tunnel; the drops are
    the router's."""

    def __init__(self, far, router, inner):
        self.router, self.inner = router, inner
        join(far, router, a_addresses=("203.0.113.1/24",), b_addresses=("203.0.113.2/24",))
        join(router, inner, names=("lan0", "eth0"), a_addresses=(f"{ROUTER[4]}/24", f"{ROUTER[6]}/64"),
             b_addresses=(f"{INNER[4]}/24", f"{INNER[6]}/64"))
        router.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        router.run("nft", "-f", "-", input=MASQUERADE)
        for v in (4, 6):
            inner.ip(f"-{v}", "route", "add", "default", "via", ROUTER[v])
        key = private_key()
        self.far = Tunnel(far, "wgpyd", addresses=(f"{FAR[4]}/24", f"{FAR[6]}/64"), peers=(
            PeerConfig(public_key(key), (f"{TUNNEL[4]}/32", f"{TUNNEL[6]}/128")),)).start()
        self.tunnel = Tunnel(router, "wgpyd", key=key, addresses=(f"{TUNNEL[4]}/24", f"{TUNNEL[6]}/64"), peers=(
            PeerConfig(self.far.public_key, (f"{FAR[4]}/32", f"{FAR[6]}/128"), "203.0.113.1:51820"),
            PeerConfig(public_key(private_key()), ("10.60.0.0/16", "fd60::/16")))).start()
        for prefix in ("10.50.0.0/16", "10.60.0.0/16", "fd50::/16", "fd60::/16"):
            router.ip("route", "replace", prefix, "dev", "wg0")


@pytest.fixture(scope="module")
def house():
    with Netns("far") as far, Netns("router") as router, Netns("inner") as inner:
        yield House(far, router, inner)


def told(house: House, version: int, target: str, payload: bytes) -> tuple[tuple[int, int, int], str, bytes]:
    """Sends one UDP datagram from the inner host; what its kernel, which knows an error by the
    packet in it, tells the socket: (origin, type, code), who said so, what was sent."""
    with house.inner.entered():
        s = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    with s:
        s.setsockopt(*RECVERR[version], 1)
        s.connect((target, 9))
        s.send(payload)

        def error():
            try:
                return s.recvmsg(2048, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
        sent, ancillary, _, _ = wait_until(error, 20, f"an ICMP error about {target}")
    (data,) = [data for level, kind, data in ancillary if (level, kind) == RECVERR[version]]
    _, origin, kind, code, _, _, _ = struct.unpack("=IBBBBII", data[:16])
    offender = data[20:24] if version == 4 else data[24:40]  # the address in the sockaddr behind it
    return (origin, kind, code), socket.inet_ntop(s.family, offender), sent


@pytest.mark.parametrize("version", [4, 6])
def test_the_host_behind_is_translated(house, version):
    """What the other tests rest on: the far end allows the router's address only."""
    assert ping(house.inner, FAR[version]).lost == 0


def dropped(house: House, reason: str) -> int:
    shown = json.loads(house.router.run(WGPY, "show", "wg0", "--json").stdout)
    return shown["wg0"]["drops"][reason]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("targets, reason", [(NO_PEER, "no_peer"), (NO_ENDPOINT, "no_endpoint")])
def test_unreachable_is_told_to_the_host_behind(house, version, targets, reason):
    before = dropped(house, reason)
    for payload in (b"", b"x", b"long" * 300):
        error, by, sent = told(house, version, targets[version], payload)
        assert error == HOST_UNREACHABLE[version] and by == targets[version]
        assert sent == payload[:len(sent)] and len(sent) >= min(len(payload), 500)
    assert dropped(house, reason) >= before + 3


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("targets", [NO_PEER, NO_ENDPOINT])
def test_a_ping_that_cannot_be_sent_is_answered(house, version, targets):
    """An echo request's number is translated too."""
    said = house.inner.run("ping", "-n", "-c", 1, "-W", 10, targets[version], check=False).stdout
    assert f"From {targets[version]}" in said and "nreachable" in said, said
