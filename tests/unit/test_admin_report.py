"""What is told of peers, and that a stamp's floor is safe before its initiation leaves."""

import base64
import ipaddress
import json
import os

import pytest
from test_engine import Clock, Node, deliver, handshake

from wgpy.config import site_changes, site_model
from wgpy.config.model import HostPort, PeerChange, Prefix, PrefixChange, SetRequest
from wgpy.crypto import commands, report, stamps
from wgpy.crypto.sealed import Document
from wgpy.errors import WgpyError
from wgpy.notices import Endpoint
from wgpy.rooms.control import MESSAGE_BYTES

WILDCARD = (PrefixChange(Prefix(bytes(4), 0)),)


def nodes(psk_a=None, psk_b=None):
    clock = Clock()
    a, b = Node(clock), Node(clock)
    a.add(b.public, endpoint=HostPort("192.0.2.2", 2), allowed_ips=WILDCARD, preshared_key=psk_a)
    b.add(a.public, preshared_key=psk_b)
    return clock, a, b


def site(*peers):
    node = site_model.Node("lima", "small", 51820)
    lan = site_model.Lan("eth1", (), (ipaddress.ip_network("10.1.0.0/24"),))
    return site_model.Site(node, site_model.Wan("eth0"), lan, peers)


def told(node, clock, *peers):
    (one,) = report.peers(node.engine, site(*peers), clock())
    return one


def test_a_handshake_as_both_sides_tell_it():
    clock, a, b = nodes()
    handshake(a, b)
    of_b = told(a, clock, site_model.Peer("cusco", b.public, (ipaddress.ip_network("10.2.0.0/24"),)))
    assert of_b["name"] == "cusco" and of_b["endpoint"] == "192.0.2.2:9" and of_b["networks"] == ["10.2.0.0/24"]
    assert of_b["events"]["initiations"] == of_b["events"]["handshake_complete"] == 1
    assert of_b["public_key"] == base64.b64encode(b.public).decode() and of_b["handshake"] > 1_700_000_000
    of_a = told(b, clock)
    assert of_a["name"] == "" and of_a["events"] == {"responses": 1}


def test_a_wrong_psk_is_counted_with_its_peer():
    """What `wgpy node why` needs to tell it from silence."""
    clock, a, b = nodes(bytes([1]) * 32, bytes([2]) * 32)
    handshake(a, b)
    of_b = told(a, clock)
    assert of_b["events"]["rejected_response"] == 1 and of_b["handshake"] == 0 and of_b["psk"]


def test_a_replay_is_counted_with_its_peer():
    clock, a, b = nodes()
    a.plane.pending_notices = {1: 1}
    a.engine.on_notices()
    initiation = a.plane.sent[0][0]
    for _ in range(2):
        clock.ns += 10**9
        b.plane.pending_handshakes.append((initiation, Endpoint("192.0.2.1", 9)))
        b.engine.on_notices()
    of_a = told(b, clock)
    assert of_a["events"] == {"responses": 1, "rejected_replay": 1} and of_a["stamps_back"] == 0


def test_a_peers_stamps_outlive_the_room_and_nobody_elses(tmp_path):
    """Crypto ends and another one begins, with the supervisor's memory: what was recorded
    before is refused as before, also by one who came back to the site file meanwhile."""
    memory = stamps.memory()
    clock, a, b = nodes()
    kept = stamps.Stamps(os.dup(memory))
    order = []
    b.engine.before_response(lambda key, stamp: (kept.keep(key, stamp), order.append(len(b.plane.sent))))
    handshake(a, b)
    greatest = b.engine.device.peers[a.public].greatest_timestamp
    assert order == [0] and any(greatest), "kept before the answer leaves"
    _, _, reborn = nodes()
    reborn.add(a.public)
    later = stamps.Stamps(os.dup(memory))
    later.restore(reborn.engine.device.peers)
    assert reborn.engine.device.peers[a.public].greatest_timestamp == greatest
    later.restore({})
    assert not any(os.pread(memory, stamps.BYTES, 0)), "who is no peer any more is forgotten"
    full = stamps.Stamps(os.dup(memory))
    for n in range(stamps.BYTES // 64 + 1):  # one too many is not remembered, and breaks nothing
        full.keep(n.to_bytes(32, "big").replace(b"\0" * 32, b"\1" * 32), greatest)
    stamps.Stamps(None).keep(a.public, greatest)
    os.close(memory)


def test_no_secret_is_told():
    clock, a, b = nodes(bytes([7]) * 32, bytes([7]) * 32)
    handshake(a, b)
    text = json.dumps(told(a, clock))
    for secret in (a.private, bytes([7]) * 32):
        assert base64.b64encode(secret).decode() not in text and secret.hex() not in text


def test_the_floor_is_raised_before_the_initiation_leaves():
    """Power may fail in between: a stamp that was sent must never be used again."""
    clock, a, b = nodes()
    order = []
    a.engine.before_initiation(lambda stamp: order.append((stamp, len(a.plane.sent))))
    handshake(a, b)
    ((stamp, sent_before),) = order
    assert sent_before == 0 and stamp == a.engine.device.greatest_stamp > 0
    deliver(a, b, "192.0.2.1")
    assert len(order) == 1, "responses bear no stamp"


def test_a_removed_peer_is_forgotten():
    clock, a, b = nodes()
    handshake(a, b)
    a.engine.apply(SetRequest(peers=(PeerChange(b.public, remove=True),)))
    a.add(b.public)
    assert told(a, clock)["events"] == {}


def test_a_thousand_peers_fit_the_channel():
    long = {"name": "n" * 32, "public_key": "k" * 44, "endpoint": "[" + "f" * 39 + "]:65535",
            "networks": [f"{'f' * 39}/128"] * 4, "psk": True, "keepalive": 65535, "handshake": 2**40, "sessions": 3,
            "state": "in_flight", "tries": 18, "cookie": False, "staged": 128,
            "events": {f"handshake_given_up{i}": 2**40 for i in range(8)}} | {
                k: 2**63 for k in ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets")}
    parts = list(report.parts([long] * 1024))
    assert sum(map(len, parts)) == 1024 and len(parts) < 60
    assert max(len(json.dumps({"peers": p})) for p in parts) < MESSAGE_BYTES


def test_what_a_new_site_file_changes_and_what_waits_for_a_reload():
    net = ipaddress.ip_network
    one = site_model.Peer("a", bytes(32), (net("10.2.0.0/24"),))
    two = site_model.Peer("b", bytes([1]) * 32, (net("10.3.0.0/24"),))
    moved = site_model.Peer("a", bytes(32), (net("10.2.0.0/24"),), (HostPort("192.0.2.1", 1),))
    assert site_changes.difference(site(one), site(moved)) == {
        "added": [], "removed": [], "changed": ["a"], "needs_reload": []}
    assert site_changes.difference(site(one), site(two)) == {
        "added": ["b"], "removed": ["a"], "changed": [], "needs_reload": ["networks"]}


class Keys:
    """Of a room whose store refuses nothing."""

    def __init__(self):
        self.document, self.saves = Document(), 0

    def sealed(self):
        return self

    def save(self):
        self.document.encode()
        self.saves += 1


def test_a_name_that_is_no_text_does_not_spoil_the_key_store():
    """JSON can write half of a surrogate pair: a key under such a name would have made
    every later write of the store fail, that of the floor too."""
    room = type("Room", (), {"keys": Keys(), "site": site()})
    administration = commands.Administration(room)
    for name in ("\ud800", "", 7, None):
        with pytest.raises(WgpyError, match="'name' is"):
            administration.changing["psk-set"]({"name": name})
    assert not room.keys.document.psks and not room.keys.saves
