"""The outside network changes under a session that goes on (F4)."""

import hashlib
import os
import threading
import time

import pytest

from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import fetch, file_server, one_way, ping, pinging
from wgpy.lab.two_sites import INSIDE4, TwoSites, endpoint
from wgpy.lab.wire import Capture

pytestmark = pytest.mark.netns
INITIATION, TRANSPORT = 1, 4
MOVES = 8
INTERVAL = 0.02
PASSIVE = 10  # s without sending, after which what was received is answered


@pytest.fixture
def served(tmp_path):
    content = os.urandom(8_000_000)
    (tmp_path / "file").write_bytes(content)
    return tmp_path, hashlib.sha256(content).hexdigest()


def test_tcp_goes_on_through_many_moves(served):
    """Another address every 0.2 s; downloads go on with the right contents and without
    a handshake; the other side follows to the last address. A ping from the mover tells
    it each address at once."""
    directory, expected = served
    with TwoSites("wgpyd") as sites:
        mover, stayer = sites.a, sites.b
        assert ping(mover.host, INSIDE4[1]).lost == 0
        handshake = stayer.peer().handshake
        mover.host.sysctl(net__ipv4__conf__all__promote_secondaries=1)
        stayer.host.ip("route", "add", "203.0.113.0/24", "dev", "eth0")
        addresses = [sites.outside[0], *(f"203.0.113.{10 + i}" for i in range(MOVES))]
        hashes, moved = [], threading.Event()

        def download():
            while not moved.is_set() or not hashes:
                hashes.append(fetch(mover.host, netloc, "/file").sha256)

        with file_server(stayer.host, directory, INSIDE4[1]) as netloc, \
                pinging(mover.host, INSIDE4[1], interval=INTERVAL) as seen:
            thread = threading.Thread(target=download, daemon=True)
            thread.start()
            homeless = 0.0
            for old, new in zip(addresses, addresses[1:]):
                time.sleep(0.2)
                began = time.monotonic()
                mover.host.batch(f"address add {new}/24 dev eth0", f"address delete {old}/24 dev eth0",
                                 "route replace 198.51.100.0/24 dev eth0")
                homeless += (time.monotonic() - began) / INTERVAL
            moved.set()
            thread.join(60)
        assert not thread.is_alive() and set(hashes) == {expected}
        assert seen[0].lost <= MOVES + homeless
        assert stayer.peer().endpoint == endpoint(addresses[-1], mover.port)
        assert stayer.peer().handshake == handshake


@pytest.mark.parametrize("outside", (4, 6))
def test_who_only_receives_is_found_after_a_move(outside):
    """One keepalive from the new address tells the sender. Without it nothing would come
    for 10 s, until what was received has to be answered."""
    with TwoSites("wgpyd", outside=outside) as sites:
        mover, stayer = sites.a, sites.b
        assert ping(mover.host, INSIDE4[1]).lost == 0
        with Capture(stayer.host) as capture, one_way(stayer.host, mover.host, INSIDE4[0]) as arrived:
            wait_until(lambda: arrived, 20, "datagrams before the move")
            new, bits, how = ("198.51.100.77", 24, "") if outside == 4 else ("2001:db8:51::77", 64, "nodad")
            mover.host.batch(f"address delete {sites.outside[0]}/{bits} dev eth0",
                             f"address add {new}/{bits} dev eth0 {how}")
            time.sleep(0.2)
            before = len(arrived)
            wait_until(lambda: len(arrived) > before, PASSIVE - 1, "datagrams after the move")
        assert stayer.peer().endpoint == endpoint(new, mover.port)
        told = [f for f in capture.frames() if not f.outgoing and f.source[0] == new and f.kind]
        assert [f.kind for f in told if f.time < told[0].time + PASSIVE - 1] == [TRANSPORT]


def test_outside_link_goes_and_comes_back():
    with TwoSites("wgpyd") as sites:
        assert ping(sites.a.host, INSIDE4[1]).lost == 0
        sites.a.host.ip("link", "set", "eth0", "down")
        assert ping(sites.a.host, INSIDE4[1], wait=0.3).times == ()
        with Capture(sites.b.host) as capture:
            sites.a.host.ip("link", "set", "eth0", "up")
            assert ping(sites.a.host, INSIDE4[1], count=1).lost == 0
        assert not capture.frames(INITIATION)


@pytest.mark.parametrize("outside", (4, 6))
def test_path_smaller_than_a_tunnel_packet(served, outside):
    """No DF on the outside: full packets are fragmented, also those that would have left
    as one segmentation-offload train, which such a path refuses."""
    directory, expected = served
    with TwoSites("wgpyd", link_mtu=1300, outside=outside) as sites:
        assert ping(sites.a.host, INSIDE4[1], size=1420 - 28).lost == 0
        for server, client, address in ((sites.b, sites.a, INSIDE4[1]),
                                        (sites.a, sites.b, INSIDE4[0])):
            with file_server(server.host, directory, address) as netloc:
                assert fetch(client.host, netloc, "/file").sha256 == expected


def test_link_local_endpoint():
    with TwoSites("wgpyd") as sites:
        shown = sites.b.host.ip("-6", "-o", "address", "show", "dev", "eth0", "scope", "link")
        address = shown.split("inet6 ")[1].partition("/")[0]
        scoped = f"[{address}%eth0]:{sites.b.port}"
        sites.a.wg("set", "peer", sites.b.public_key, "endpoint", scoped)
        assert ping(sites.a.host, INSIDE4[1]).lost == 0
        assert sites.a.peer().endpoint == scoped
        assert ping(sites.b.host, INSIDE4[0]).lost == 0
