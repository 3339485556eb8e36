"""The host's tables of neighbours are shared by all its namespaces: a table that another
link filled does not cut the tunnel off (F3). And how a node finds its gateway."""

import json
import time

import pytest
from rooms.nodes import WEB

from wgpy.lab.netns import Netns, wait_until
from wgpy.lab.traffic import ping

pytestmark = pytest.mark.netns
# net.ipv4.neigh.default.gc_thresh3 as Linux sets it, and half as many again
FLOOD = 1536
MAC = "02:00:5e:10:00:01"


def neighbour(node, address: str) -> dict:
    found = json.loads(node.inside("black", "ip", "-j", "neigh", "show", address).stdout)
    return found[0] if found else {}


def test_the_gateway_outlives_a_flood_of_neighbours_elsewhere(pair):
    a, b = pair.start().nodes
    wait_until(lambda: ping(a.host, b.address, wait=1).lost == 0, 60, "traffic")
    wait_until(lambda: "lladdr" in neighbour(a, a.gateway), 60, "the gateway's MAC address")
    time.sleep(6)  # the kernel spares what is younger than 5 s
    known = neighbour(a, a.gateway)["lladdr"]
    with Netns("crowd") as crowd:
        crowd.batch("link add d0 type veth peer name d1", "link set d0 up", "link set d1 up", "address add 10.99.0.1/16 dev d0")
        crowd.run("ip", "-force", "-batch", "-", check=False, input="".join(
            f"neigh replace 10.99.{n >> 8}.{n & 255} lladdr {MAC} nud reachable dev d0\n" for n in range(2, FLOOD)))
        entries = len(crowd.ip("neigh", "show", "dev", "d0").splitlines())
        assert entries < FLOOD - 2, "the table is full"
        assert neighbour(a, a.gateway)["lladdr"] == known
    wait_until(lambda: ping(a.host, b.address, wait=1).lost == 0, 60, "traffic")


def test_a_gateway_outside_the_nodes_own_network_is_reached(pair):
    """One address, with /32, as hosters give it."""
    a, b = pair.nodes
    text = a.file.read_text()
    assert f'"{a.wan}/24"' in text
    a.file.write_text("\ufeff" + text.replace(f'"{a.wan}/24"', f'"{a.wan}/32"'))
    pair.start()
    wait_until(lambda: ping(a.host, b.address, wait=1).lost == 0, 60, "traffic")
    assert ping(a.host, WEB, wait=60).lost == 0


def test_a_gateway_whose_address_is_pinned_is_not_learnt(pair):
    a = pair.a
    a.file.write_text(a.file.read_text().replace("gateway =", f'gateway_mac = "{MAC}"\ngateway =', 1))
    a.start()
    found = neighbour(a, a.gateway)
    assert found["lladdr"] == MAC and found["state"] == ["PERMANENT"]
