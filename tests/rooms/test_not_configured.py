"""What the host refuses of a node's links, addresses, routes and neighbours reaches whoever
brings it up or reloads it, and is shown until it has healed."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from rooms.sealed_node import reaches, sealed
from rooms.test_life import background, links, namespaces

from wgpy.admin.uapi_server import socket_path
from wgpy.lab.netns import Netns, wait_until
from wgpy.lab.traffic import ping
from wgpy.node import ip_lines, liveness

pytestmark = pytest.mark.netns
BROADCAST = "198.51.1.255"  # no gateway, to the kernel, though it is in a network of the WAN's
REFUSED = f"black: route replace default via {BROADCAST} dev wan0: Nexthop has invalid gateway"
NO_IPV6 = "IPv6 is disabled on this device"


def edit(node, *changes):
    text = node.file.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    node.file.write_text(text)


def bad_gateway(node):
    edit(node, (f'gateway = "{node.gateway}"', f'gateway = "{BROADCAST}"'))


def faults(node):
    return [f"{f['room']}: {f['line']}: {f['reason']}" for f in node.status()["not_configured"]]


def keys(node):
    return node.private + b"ab".ljust(32, b"\0") + node.psk


def look(node):
    """Once more at what is configured; to be seen by an address that comes back."""
    node.inside("black", "ip", "address", "del", f"{node.wan}/24", "dev", "wan0")
    node.inside("black", "ip", "link", "set", "wan0", "alias", "look")
    wait_until(lambda: node.wan in node.inside("black", "ip", "address", "show", "dev", "wan0").stdout, 60, "a look")


@contextmanager
def link_of_that_name(space, name):
    space("ip", "link", "add", name, "type", "veth", "peer", "name", "other0")
    try:
        yield
    finally:
        space("ip", "link", "del", name)


def test_up_fails_with_what_the_host_refuses_and_leaves_nothing(pair):
    a = pair.a
    bad_gateway(a)
    code, said = background(a, keys(a))
    assert code == 1 and f"not configured: {REFUSED}" in said and "Traceback" not in said
    assert not namespaces(a) and {"wan0", "lan0"} < set(links(a)) and not a.status()
    assert "UP" not in links(a)["wan0"]["flags"] + links(a)["lan0"]["flags"]


def test_an_mtu_that_the_link_does_not_take(pair):
    a = pair.a
    a.box.ip("link", "del", "wan0")
    a.box.batch("link add wan0 type bridge", "link add fd0 type veth peer name fd1", "link set fd0 mtu 1400 master wan0")
    a.box.batch("link del wan0", "link add wan0 link fd0 type macvlan")
    code, said = background(a, keys(a))
    assert code == 1 and "black: link set wan0 mtu 1500 up: " in said and not namespaces(a)


@pytest.mark.parametrize("room, changes, line", [
    ("red", [('addresses = ["10.1.0.1/24"]', 'addresses = ["10.1.0.1/24", "fd01::1/64"]')],
     "red: address replace fd01::1/64 dev lan0 nodad"),
    ("black", [('addresses = ["198.51.1.2/24"]', 'addresses = ["198.51.1.2/24", "2001:db8::2/64"]')],
     "black: address replace 2001:db8::2/64 dev wan0 nodad"),
])
def test_ipv6_that_the_site_file_demands_is_needed(pair, room, changes, line):
    a = pair.a
    edit(a, *changes)
    without_ipv6(a, room)
    code, said = background(a, keys(a))
    assert code == 1 and f"{line}: " in said and NO_IPV6 in said


def without_ipv6(node, *rooms):
    """As on a host without it: rooms take over a namespace that is there."""
    for room in rooms:
        node.box.ip("netns", "add", f"wgpy-{node.name}-{room}")
        ipv6(node, room, 1)


def ipv6(node, room, off):
    node.inside(room, "sh", "-c", f"for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo {off} >$f; done")


def test_a_host_without_ipv6_is_told_and_serves(pair):
    a, b = pair.nodes
    b.start()
    without_ipv6(a, "black", "red")
    code, said = background(a, keys(a))
    assert code == 0 and f"a: up, but not configured: red: address replace fd77::2/126 dev clear0 nodad: ipv6: {NO_IPV6}" in said
    assert {f["room"] for f in a.status()["not_configured"]} == {"black", "red"}
    assert not any(f["needed"] for f in a.status()["not_configured"])
    wait_until(lambda: ping(a.host, b.address, wait=1).lost == 0, 60, "traffic")
    for room in ("black", "red"):
        ipv6(a, room, 0)
    wait_until(lambda: not faults(a), 60, "it heals")
    log = (a.run_dir / "a" / "log").read_text()
    assert log.count("WARNING: not configured: red: address replace fd77::2/126") == 1
    assert log.count("no longer: not configured: red: address replace fd77::2/126") == 1
    a.command("down", "a")


def test_a_reload_that_the_host_refuses_is_told_once_shown_and_heals():
    with sealed() as node:
        a = node.a
        wait_until(lambda: reaches(node), 60, "traffic")
        assert faults(a) == []
        good = a.file.read_text()
        bad_gateway(a)
        assert f"taken over, but not configured: {REFUSED}" in node.run("node", "reload", "a", fails=True)
        assert reaches(node), "the old route serves on"
        for _ in range(3):
            look(a)
        assert faults(a) == [REFUSED] and metric(a) == "1"
        assert a.log.read_text().count(f"WARNING: not configured: {REFUSED}") == 1
        for view in (("status",), ("status", "a"), ("top", "a", "--once")):
            assert f"not configured: {REFUSED}" in " ".join(node.run("node", *view).split())
        first = json.loads(node.run("node", "why", "b", "--node", "a", "--json"))[0]
        assert first["cause"] == "not_configured" and first["evidence"] == {"refused 1": REFUSED}
        a.file.write_text(good)
        node.run("node", "reload", "a")
        assert faults(a) == [] and metric(a) == "0" and "not configured" not in node.run("node", "status", "a")
        assert reaches(node)


def metric(node):
    text = (node.run_dir / "a" / "metrics.prom").read_text()
    return next(line.split()[1] for line in text.splitlines() if line.startswith('wgpy_not_configured{room="black"}'))


def test_a_wan_that_comes_later_and_cannot_be_configured(pair):
    """Without it there is nothing to be refused."""
    a = pair.a
    bad_gateway(a)
    a.box.ip("link", "del", "wan0")
    a.start()
    assert a.status()["missing"] == ["wan0"] and faults(a) == []
    a.attach_wan()
    wait_until(lambda: faults(a) == [REFUSED], 60, "it is shown")
    a.inside("black", "ip", "link", "del", "wan0")
    wait_until(lambda: faults(a) == [] and a.status()["missing"] == ["wan0"], 60, "nothing to refuse")


def test_a_tunnel_interface_whose_name_is_taken_is_made_when_it_is_free(pair):
    a, b = pair.start().nodes
    wait_until(lambda: ping(a.host, b.address, wait=1).lost == 0, 60, "traffic")
    red = a.pid("red")
    os.kill(a.process.pid, signal.SIGSTOP)  # or it makes the link anew in between
    try:
        wait_until(lambda: liveness.look(a.process.pid).state == "T", 60, "the supervisor stands still", 0.001)
        a.inside("red", "ip", "-batch", "-", input="link del secure0\nlink add secure0 type veth peer name other0\n")
    finally:
        os.kill(a.process.pid, signal.SIGCONT)
    wait_until(lambda: any("secure0" in f for f in faults(a)), 60, "it is shown")
    a.signal("red", signal.SIGKILL)  # a red room that ends now has no TUN to be given
    wait_until(lambda: "cannot start red: secure0 could not be made anew" in a.log.read_text(), 60, "red is refused")
    a.inside("red", "ip", "link", "del", "secure0")
    wait_until(lambda: not faults(a), 60, "it is made")
    wait_until(lambda: ping(a.host, b.address, wait=1).lost == 0, 60, "traffic")
    assert a.pid("red") != red


def test_down_keeps_what_the_host_cannot_have_back(pair):
    """With its namespace the link would be gone."""
    a = pair.a
    a.start()
    with link_of_that_name(a.box.run, "wan0"):
        done = a.command("down", "a", check=False)
        assert done.returncode == 1 and "wan0 cannot be given back and stays in wgpy-a-black: " in done.stderr
        assert namespaces(a) == ["wgpy-a-black"] and "lan0" in links(a)
        assert a.wan not in json.dumps(links(a))
    a.command("down", "a")
    assert not namespaces(a) and {"wan0", "lan0"} < set(links(a))


def test_routes_that_refuse_do_not_outlive_a_crash_and_another_site_file(pair):
    a = pair.a
    edit(a, ('networks = ["10.2.0.0/24"]', 'networks = ["10.2.0.0/24", "10.9.0.0/24", "fd09::/64"]'))
    a.start()

    def refusing(room):
        return [a.inside(room, "ip", version, "route", "show", "type", "blackhole").stdout for version in ("-4", "-6")]
    assert all("10.9.0.0/24" in four and "fd09::/64" in six for four, six in map(refusing, ("black", "red")))
    os.kill(a.process.pid, signal.SIGKILL)
    a.process.wait()
    edit(a, ('networks = ["10.2.0.0/24", "10.9.0.0/24", "fd09::/64"]', 'networks = ["10.2.0.0/24"]'))
    a.start()
    for four, six in map(refusing, ("black", "red")):
        assert "10.2.0.0/24" in four and "10.9.0.0/24" not in four and not six.strip()


def test_the_socket_for_wg_that_another_one_has(pair):
    a, path = pair.a, socket_path("a")
    other = a.box.popen(sys.executable, "-I", "-c", "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); "
                        "s.listen(); print('listens', flush=True); sys.stdin.read()", path,
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "listens\n"
    code, said = background(a, keys(a))
    assert code == 0 and f"a: up, but not configured: supervisor: wg(8) and the socket {path}: " in said
    assert len(faults(a)) == 1 and not a.status()["not_configured"][0]["needed"]
    other.communicate()
    wait_until(lambda: not faults(a), 60, "it is opened")
    a.box.run("sh", "-c", f"test -S {path}")
    a.command("down", "a")


def test_a_neighbour_that_is_refused_does_not_hide_what_follows():
    """ip itself ends at it."""
    with Netns("lines") as space:
        space.batch("link add d0 type veth peer name d1", "link set d0 up")
        space.run("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/d0/disable_ipv6")
        lines = ["neigh replace fd00::5 dev d0 managed extern_learn", "address replace nonsense dev d0",
                 "address replace 192.0.2.1/24 dev d0", "route replace default via 192.0.2.255 dev d0", "link set d1 up"]
        with space.entered():
            failed = ip_lines.failures(lines)
        assert [line for line in lines if line not in failed] == lines[2::2]
        assert failed[lines[0]] == NO_IPV6 and failed[lines[3]] == "Nexthop has invalid gateway"
        assert "192.0.2.1" in space.ip("address", "show", "dev", "d0") and "UP" in space.ip("link", "show", "dev", "d1")
