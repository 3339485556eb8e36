"""Prometheus text, its cardinality, and the files and sockets of a node."""

import copy
import os
import socket
import stat
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from wgpy.admin import metrics
from wgpy.loop import Loop
from wgpy.node.door import Door
from wgpy.node.sockets import Sockets
from wgpy.node.status import Status

PEER = {"name": "cusco", "public_key": "k1", "endpoint": "192.0.2.1:5", "handshake": 1700000000, "sessions": 1,
        "state": "idle", "staged": 2, "rx_bytes": 10, "tx_bytes": 20, "cookie": False, "psk": True,
        "events": {"initiations": 3, "handshake_complete": 2}}
PORT = {"packets_in": 1, "packets_out": 2, "bytes_in": 3, "bytes_out": 4, "attaches": 1}
DOCUMENT = {
    "node": "lima", "mode": "small", "up": True, "missing": [],
    "not_configured": [{"room": r, "line": "route", "reason": "no", "needed": True} for r in ("red", "red", "host", "odd")],
    "firewall": {"red": {"not_permitted": 7}},
    "alarms": {"flood": {"active": True, "count": 2}, "under_load": {"active": True, "count": 3}},
    "rooms": {
        "crypto": {"state": "ready", "restarts": 2, "status": {
            "ports": {"from_red": PORT}, "drops": {"no_peer": 4},
            "engine": {"aead": "avx2", "peers": 1, "event_under_load": 3, "event_load_over": 2,
                       "event_handshake_complete": 9, "reject_replay": 5},
            "peers": [PEER]}},
        "black": {"state": "stopped", "restarts": 0, "status": {}},
        "red": {"state": "ready", "restarts": 0, "status": {"ports": {"tun": PORT}}}}}


def parsed(document):
    """By the reference implementation's reader."""
    out = {}
    for family in text_string_to_metric_families(metrics.text(document)):
        for s in family.samples:
            key = (s.name, tuple(sorted(s.labels.items())))
            assert key not in out, f"{key} twice"
            out[key] = s.value
    return out


def value(samples, name, **labels):
    return samples[name, tuple(sorted(labels.items()))]


def test_rooms_rings_peers_drops_handshakes_and_load():
    m = parsed(DOCUMENT)
    assert value(m, "wgpy_up", node="lima", mode="small") == 1
    assert value(m, "wgpy_room_up", room="black") == 0 and value(m, "wgpy_room_up", room="red") == 1
    assert value(m, "wgpy_room_restarts_total", room="crypto") == 2
    assert value(m, "wgpy_port_bytes_total", room="red", port="tun", direction="out") == 4
    assert value(m, "wgpy_ring_events_total", room="crypto", port="from_red", event="attaches") == 1
    assert value(m, "wgpy_drops_total", room="crypto", reason="no_peer") == 4
    assert value(m, "wgpy_handshake_events_total", event="handshake_complete") == 9
    assert value(m, "wgpy_handshake_rejects_total", reason="replay") == 5
    assert value(m, "wgpy_under_load") == 1 and value(m, "wgpy_under_load_total") == 3
    assert [value(m, "wgpy_not_configured", room=r) for r in ("black", "host", "red", "supervisor")] == [0, 1, 2, 0]
    assert value(m, "wgpy_flood") == 1 and value(m, "wgpy_floods_total") == 2
    assert value(m, "wgpy_peer_handshakes_total", site="cusco") == 2
    assert value(m, "wgpy_peer_last_handshake_seconds", site="cusco") == 1700000000
    assert value(m, "wgpy_firewall_packets_total", room="red", counter="not_permitted") == 7


def test_alarms_are_what_the_supervisor_says_and_nothing_else():
    """A room's own counters are from another moment, and gone with it."""
    said = copy.deepcopy(DOCUMENT)
    said["alarms"]["under_load"] = {"active": False, "count": 4}
    m = parsed(said)
    assert value(m, "wgpy_under_load") == 0 and value(m, "wgpy_under_load_total") == 4
    said["alarms"] = {}
    assert not {n for n, _ in parsed(said)} & {"wgpy_under_load", "wgpy_under_load_total", "wgpy_flood", "wgpy_floods_total"}


def test_a_room_that_was_taken_over_cannot_make_up_time_series():
    hostile = copy.deepcopy(DOCUMENT)
    status = hostile["rooms"]["black"]["status"]
    status |= {"drops": {f"reason{i}": i for i in range(1000)}, "ports": {f"port{i}": PORT for i in range(1000)},
               "engine": {f"reject_{i}": 1 for i in range(1000)}}
    assert len(parsed(hostile)) == len(parsed(DOCUMENT))


def test_unnamed_peers_share_one_series_and_peers_are_bounded():
    many = copy.deepcopy(DOCUMENT)
    listed = many["rooms"]["crypto"]["status"]["peers"]
    listed += [PEER | {"name": "", "public_key": str(i), "handshake": i} for i in range(10)]
    m = parsed(many)
    assert value(m, "wgpy_peer_receive_bytes_total", site="other") == 100
    assert value(m, "wgpy_peer_last_handshake_seconds", site="other") == 9
    listed += [PEER | {"name": f"n{i}"} for i in range(3000)]
    assert len([k for k in parsed(many) if k[0] == "wgpy_peer_sessions"]) <= 1024


def test_labels_are_escaped():
    odd = copy.deepcopy(DOCUMENT)
    odd["rooms"]["crypto"]["status"]["peers"] = [PEER | {"name": 'a"b\\c\nd'}]
    assert value(parsed(odd), "wgpy_peer_sessions", site='a"b\\c\nd') == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["rooms", "crypto", "black", "status", "ports", "tun", "drops", "no_peer", "engine", "peers",
                         "events", "name", "firewall", "red", "state", "restarts"]), inner, max_size=5), max_leaves=30)


@settings(max_examples=200, deadline=None)
@given(json_values)
def test_any_document_gives_valid_text(value):
    parsed(value if isinstance(value, dict) else {"rooms": value})
    parsed({"rooms": {"crypto": {"status": value}, "red": value}, "firewall": {"red": value}})


@pytest.fixture
def served(tmp_path, monkeypatch):
    monkeypatch.setattr("wgpy.node.sockets.socket_path", lambda name: str(tmp_path / "wg" / f"{name}.sock"))
    loop, passed = Loop(), []
    door = Door(loop, lambda m, fds: passed.append(m) or True, None, None)
    sockets = Sockets(loop, tmp_path, "lima", door.admit)
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    yield tmp_path, sockets, passed
    loop.call_soon(loop.stop)
    thread.join(60)
    sockets.close()


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(str(path))
    return s


def test_admin_connections_are_passed_on_unread_with_whose_they_are(served):
    path, sockets, passed = served
    loop, done = sockets._loop, threading.Event()
    for name in ("admin.sock", "wg/lima.sock"):
        assert stat.S_IMODE((path / name).stat().st_mode) == 0o666
        with connect(path / name) as s:
            try:
                assert s.recv(10) == b"", "the supervisor keeps no copy"
            except ConnectionResetError:
                pass
    assert [m["admin"]["uid"] for m in passed] == [os.getuid()] * 2
    loop.call_soon(sockets.close)
    loop.call_soon(done.set)
    assert done.wait(60)
    assert sorted(p.name for p in path.iterdir()) == ["wg"] and not list((path / "wg").iterdir())


def test_the_text_file_is_whole_and_goes_with_the_node(tmp_path):
    """For a textfile collector; root serves no metrics of its own."""
    looks = []
    status = Status(tmp_path, lambda: looks.append(1) or DOCUMENT, lambda: {"firewall": {"red": {"not_permitted": 8}}})
    status.write_metrics()
    text = (tmp_path / "metrics.prom").read_text()
    assert "wgpy_up{" in text and 'wgpy_firewall_packets_total{room="red",counter="not_permitted"} 8' in text
    status.write()
    written = (tmp_path / "status.json").stat().st_mtime_ns
    status.write()
    assert (tmp_path / "status.json").stat().st_mtime_ns == written, "a document that says the same is not written again"
    status.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["status.json"]
    (tmp_path / "status.json").unlink()
    tmp_path.rmdir()
    status.write_metrics()  # a file that cannot be written ends nothing
    assert len(looks) == 4
