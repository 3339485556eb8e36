"""No unauthenticated packet lowers a peer's throughput: forged "fragmentation needed" and
"packet too big" leave the sizes of outer datagrams as they were, for a tunnel and for an
encryptor; who opts into the kernel's discovery gets what they say (F3)."""

import socket
import time

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6

from wgpy.lab.encryptors import Pair
from wgpy.lab.traffic import ping
from wgpy.lab.two_sites import INSIDE4, OUTSIDE4, OUTSIDE6, TwoSites
from wgpy.lab.wire import Capture

pytestmark = pytest.mark.netns
PORT, FULL = 51820, 1420 - 28  # ICMP payload that fills the tunnel's MTU


def forge(attacker, victim, peer, port=PORT):
    """From an address that has nothing to do with either: the path from `victim` to `peer`
    takes the least that the protocol allows."""
    if ":" in victim:
        error = (IPv6(src="2001:db8:51::bad", dst=victim) / ICMPv6PacketTooBig(mtu=1280)
                 / IPv6(src=victim, dst=peer) / UDP(sport=PORT, dport=port) / bytes(1200))
    else:
        error = (IP(src="198.51.100.66", dst=victim) / ICMP(type=3, code=4, nexthopmtu=552)
                 / IP(src=victim, dst=peer) / UDP(sport=PORT, dport=port) / bytes(500))
    with attacker.entered():
        raw = socket.socket(socket.AF_INET6 if ":" in victim else socket.AF_INET, socket.SOCK_RAW,
                            socket.IPPROTO_RAW)
    with raw:
        for _ in range(3):
            raw.sendto(bytes(error), (victim, 0))
            time.sleep(0.05)


def outer_sizes(watcher, link, source, host, inside):
    """Bytes of UDP or of fragments in each packet that carried a full-sized ping there."""
    # what waits for a handshake, or for the daemon, leaves as one train
    assert ping(host, inside).lost == 0
    with Capture(watcher, link, snap=2000) as capture:
        assert ping(host, inside, count=1, interval=5, size=FULL).lost == 0
        time.sleep(0.1)
    return {len(f.payload) for f in capture.frames()
            if f.source[0] == source and f.protocol in (17, 44) and (f.kind == 4 or not f.kind)
            and len(f.payload) > 100}


@pytest.mark.parametrize("outside", [4, 6])
@pytest.mark.parametrize("env", [{}, {"WGPY_PATH_MTU": "discover"}])
def test_a_tunnel_does_not_believe_it(outside, env):
    victim, peer = OUTSIDE4 if outside == 4 else OUTSIDE6
    with TwoSites("wgpyd", outside=outside, env=env) as sites:
        before = outer_sizes(sites.b.host, "eth0", victim, sites.a.host, INSIDE4[1])
        assert before == {1420 + 32}
        for _ in range(5):
            forge(sites.b.host, victim, peer)
            after = outer_sizes(sites.b.host, "eth0", victim, sites.a.host, INSIDE4[1])
            if after != before:
                break
        assert (after == before) is not bool(env), after


@pytest.mark.parametrize("discovery", [False, True])
def test_an_encryptor_does_not_believe_it(tmp_path, discovery):
    pair = Pair(tmp_path)
    try:
        for node in pair.nodes:
            if discovery:
                node.file.write_text(node.file.read_text().replace("[wan]\n", "[wan]\ndiscovery = true\n"))
        pair.start()
        a, b = pair.nodes
        before = outer_sizes(pair.internet, "to-a", a.wan, a.host, b.address)
        assert before == {1420 + 32}
        for _ in range(5):
            forge(pair.internet, a.wan, b.wan)
            after = outer_sizes(pair.internet, "to-a", a.wan, a.host, b.address)
            if after != before:
                break
        assert (after == before) is not discovery, after
    finally:
        pair.close()
