"""`wgpy node why` on live nodes whose administrators made a mistake each."""

import base64
import json
import os
import re
import signal
import sys

import pytest
from rooms.nodes import Pair

from wgpy.lab.netns import wait_until
from wgpy.lab.traffic import ping

pytestmark = pytest.mark.netns


def why(node, peer, *options):
    done = node.box.run("env", *(f"{k}={v}" for k, v in node.environment().items() if k == "WGPY_RUN_DIR"),
                        sys.executable, "-I", "-m", "wgpy.cli", "node", "why", peer, "--node", node.name, "--json", *options)
    return json.loads(done.stdout)


def causes(node, peer, *options):
    return [f["cause"] for f in why(node, peer, *options)]


def says(pair, node, peer, cause, *options, first=True):
    """When there was something to send, and counters have reached status.json."""
    def said():
        ping(pair.a.host, pair.b.address, count=2, wait=0.5)
        return cause in causes(node, peer, *options)[:1 if first else None]
    wait_until(said, 60, f"why says {cause}", 0.5)


def rewrite(node, change):
    """A new site file, taken over."""
    before = node.status()["reloads"]["count"]
    node.file.write_text(change(node.file.read_text()))
    node.process.send_signal(signal.SIGHUP)
    wait_until(lambda: node.status()["reloads"]["count"] > before, 60, "the new site file is judged")
    assert node.status()["reloads"]["refused"] == ""


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    made = Pair(tmp_path_factory.mktemp("why"))
    made.b.psk = os.urandom(32)
    try:
        made.start()
        for node in made.nodes:
            wait_until(lambda node=node: node.status()["rooms"]["crypto"]["status"].get("peers"), 60, "crypto tells of its peers")
        yield made
    finally:
        made.close()


def test_pre_shared_keys_that_differ(pair):
    ping(pair.a.host, pair.b.address, count=2, wait=1)
    says(pair, pair.a, "b", "psk")
    (found,) = [f for f in why(pair.a, "b") if f["cause"] == "psk"]
    assert found["evidence"]["responses rejected"] >= 1 and found["evidence"]["pre-shared key here"] == "yes"


def test_a_wrong_public_key_is_seen_from_the_other_node(pair):
    right, wrong = (base64.b64encode(k).decode() for k in (pair.b.public, os.urandom(32)))
    rewrite(pair.a, lambda text: text.replace(right, wrong))
    ping(pair.a.host, pair.b.address, count=2, wait=1)
    says(pair, pair.a, "b", "no_reply", first=False)
    says(pair, pair.b, "a", "wrong_key", first=False)
    remote = pair.b.run_dir / "b" / "status.json"
    assert "wrong_key" in causes(pair.a, "b", "--remote", str(remote))


def test_no_endpoint(pair):
    other = base64.b64encode(os.urandom(32)).decode()  # a peer that stays would keep the endpoint it had
    rewrite(pair.a, lambda text: re.sub(r'public_key = ".*"', f'public_key = "{other}"', text).replace(
        '\nendpoints = ["198.51.2.2:51820"]', ""))
    says(pair, pair.a, "b", "no_endpoint", first=False)


def test_a_host_without_permission(pair):
    rewrite(pair.a, lambda text: text + f'\n[[permit]]\nfrom = ["10.{pair.a.number}.0.99/32"]\nto = ["b"]\n')
    ping(pair.a.host, pair.b.address, count=2, wait=1)
    says(pair, pair.a, "b", "permit", first=False)


def test_a_dead_room(pair):
    pair.a.signal("black", signal.SIGSTOP)
    try:
        wait_until(lambda: pair.a.status()["rooms"]["black"]["restarts"], 60, "the supervisor noticed")
    finally:
        wait_until(lambda: pair.a.status()["rooms"]["black"]["state"] == "ready", 60, "black is back")
    assert "room_down" not in causes(pair.a, "b")
