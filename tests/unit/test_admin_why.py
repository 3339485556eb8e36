"""`wgpy node why`: each cause from the counters that it leaves, with evidence and remedy."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wgpy.admin import faults
from wgpy.admin.top import Frame
from wgpy.admin.why import explain
from wgpy.errors import WgpyError

NOW = 1_700_000_000


LOADED = {"under_load": {"active": True, "count": 1}}


def document(*, alarms=(), engine=(), events=(), drops=(), black=(), firewall=(), rooms=(), **peer):
    """A node whose peer cusco never came up; the rest as given."""
    facts = {"name": "cusco", "public_key": "K", "endpoint": "192.0.2.9:51820", "handshake": 0, "sessions": 0,
             "state": "idle", "tries": 0, "cookie": False, "psk": False, "staged": 0, "rx_bytes": 0, "tx_bytes": 0,
             "events": dict(events)} | peer
    made = {room: {"state": "ready", "restarts": 0, "status": {"ports": {}, "drops": {}}} for room in ("black", "crypto", "red")}
    made["crypto"]["status"] |= {"engine": dict(engine), "peers": [facts], "drops": dict(drops)}
    made["black"]["status"] |= {"drops": dict(black), "ports": {"udp": {"packets_in": 0}}}
    for room, state in dict(rooms).items():
        made[room]["state"] = state
    return {"node": "lima", "up": True, "missing": [], "rooms": made, "firewall": dict(firewall),
            "alarms": dict(alarms)}


UP = {"handshake": NOW - 5, "sessions": 1}
SENT = {"initiations": 6, "handshake_given_up": 1}
CASES = {
    "idle": {},
    "permit": {"firewall": {"red": {"not_permitted": 4}}},
    "no_route": {"drops": {"no_peer": 3}},
    "no_endpoint": {"endpoint": "", "events": {"initiations": 2}, "drops": {"no_endpoint": 2}},
    "no_reply": {"events": SENT},
    "no_way_out": {"events": SENT, "black": {"udp_send": 6}},
    "ring": {"events": SENT, "drops": {"ring_detached": 6}},
    "firewall": {"events": SENT, "firewall": {"black": {"output_dropped": 6}}},
    "psk": {"events": SENT | {"rejected_response": 6}, "psk": True},
    "not_confirmed": {"events": {"responses": 5}},
    "clock": {"events": {"rejected_replay": 5}, "stamps_back": 86400, "stamps_ahead": 86000},
    "replayed": {"events": {"rejected_replay": 5}},
    "wrong_key": {"drops": {"bad_mac1": 5}, "events": SENT},
    "other_suite": {"black": {"not_wireguard": 5}, "events": SENT, "engine": {"suite": "p384"}},
    "unknown_peer": {"engine": {"reject_unknown_peer": 5}, "events": SENT},
    "peer_under_load": {"cookie": True, "events": SENT},
    "under_load": {"alarms": LOADED, "drops": {"cookie_demanded": 50}, "events": SENT},
    "ring_share": {"black": {"ring_share": 9}, "events": SENT},
    "room_down": {"rooms": {"black": "stopped"}},
    "up": UP,
    "networks": {**UP, "drops": {"wrong_source": 2}},
    "routing_loop": {"events": SENT, "drops": {"routing_loop": 3}},
}


def test_what_the_host_refuses_comes_first_and_is_shown():
    listed = [{"room": "black", "line": f"route replace default via 192.0.2.{n}", "reason": "no", "needed": True} for n in range(20)]
    refused = document(events=SENT) | {"not_configured": listed}
    first = explain(refused, "cusco", now=NOW)[0]
    assert first.cause == "not_configured" and len(first.evidence) == 16
    assert first.evidence[1] == ("refused 2", "black: route replace default via 192.0.2.1: no")
    assert "not configured: black: route replace default via 192.0.2.0: no" in " ".join(shown(Frame(refused, now=NOW)).split())
    assert "not configured" not in shown(Frame(document(), now=NOW))
    assert faults.in_short(refused) == "not configured: black: route replace default via 192.0.2.0: no (and 19 more)"
    assert faults.in_short(document()) == ""


def test_a_flood_is_said_with_its_reasons_and_shown():
    flooded = document(events=SENT) | {"alarms": {"flood": {"active": True, "count": 1, "reasons": {"bad_mac1": 5000}}}}
    first = explain(flooded, "cusco", now=NOW)[0]
    assert first.cause == "flood" and ("refused in a second: bad_mac1", 5000) in first.evidence
    assert "FLOOD" in shown(Frame(flooded, now=NOW)) and "FLOOD" not in shown(Frame(document(), now=NOW))


@pytest.mark.parametrize("cause", CASES)
def test_each_cause_is_the_first_thing_said(cause):
    first = explain(document(**CASES[cause]), "cusco", now=NOW)[0]
    assert first.cause == cause
    assert first.evidence and first.remedy and "cusco" in first.text + first.remedy or cause not in ("psk", "no_reply")


def evidence(found):
    return {name: value for f in found for name, value in f.evidence}


def test_evidence_names_counters_and_values():
    found = explain(document(**CASES["psk"]), "cusco", now=NOW)
    assert evidence(found)["responses rejected"] == 6 and evidence(found)["pre-shared key here"] == "yes"
    found = explain(document(**CASES["permit"]), "cusco", now=NOW)
    assert evidence(found)["red not_permitted"] == 4 and "[[permit]]" in found[0].remedy


def test_suites_that_differ_are_told_of_by_both_status_documents():
    mine, other = document(events=SENT, engine={"suite": "p384"}), document(engine={"suite": "wireguard"}) | {"node": "cusco"}
    first = explain(mine, "cusco", remote=other, now=NOW)[0]
    assert first.cause == "other_suite" and first.evidence == (("suite", "p384"), ("at cusco: suite", "wireguard"))
    assert "suite p384" in shown(Frame(mine, now=NOW))
    assert explain(mine, "cusco", remote=mine, now=NOW)[0].cause == "no_reply"


def test_a_session_with_blocked_hosts_is_up_and_blocked():
    causes = [f.cause for f in explain(document(**UP, firewall={"red": {"not_permitted": 1}}), "cusco", now=NOW)]
    assert causes == ["permit", "up"]


def test_a_healthy_peer_is_only_up_whatever_strangers_did():
    found = explain(document(**UP, drops={"bad_mac1": 900}, engine={"reject_unknown_peer": 9}), "cusco", now=NOW)
    assert [f.cause for f in found] == ["up"]


def test_an_old_session_is_not_up():
    assert explain(document(handshake=NOW - 181, sessions=1, events=SENT), "cusco", now=NOW)[0].cause == "no_reply"


def test_between_two_documents_only_what_happened_in_between_counts():
    before = document(events={"initiations": 5, "rejected_response": 5}, drops={"bad_mac1": 4})
    after = document(events={"initiations": 8, "rejected_response": 5}, drops={"bad_mac1": 4})
    assert [f.cause for f in explain(after, "cusco", now=NOW)][:2] == ["psk", "wrong_key"]
    found = explain(after, "cusco", before, now=NOW)
    assert found[0].cause == "no_reply" and evidence(found)["initiations"] == 3
    assert explain(after, "cusco", after, now=NOW)[0].cause == "idle"


def test_a_restart_in_between_gives_no_negative_counts():
    found = explain(document(events={"initiations": 1}), "cusco", document(events={"initiations": 9}), now=NOW)
    assert all(v >= 0 for v in evidence(found).values() if isinstance(v, int))


@pytest.mark.parametrize("counted, cause", [({"drops": {"bad_mac1": 3}}, "wrong_key"),
                                            ({"engine": {"reject_unknown_peer": 3}}, "unknown_there"),
                                            ({"engine": {"reject_replay": 3}}, "clock")])
def test_the_other_node_knows_why_it_is_silent(counted, cause):
    remote = document(**counted) | {"node": "cusco"}
    first = explain(document(events=SENT), "cusco", remote=remote, now=NOW)[0]
    assert first.cause == cause and "at cusco" in first.evidence[0][0]


def test_a_peer_by_its_key_and_a_name_mistyped():
    assert explain(document(), "K", now=NOW)
    with pytest.raises(WgpyError, match="did you mean 'cusco'"):
        explain(document(), "cuzco", now=NOW)
    with pytest.raises(WgpyError, match="not told"):
        explain({"rooms": {}}, "cusco", now=NOW)
    silent = document(rooms={"crypto": "stopped"})
    silent["rooms"]["crypto"]["status"] = {}
    assert [f.cause for f in explain(silent, "cusco", now=NOW)] == ["room_down"]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_there_is_always_an_answer(data):
    counts = lambda *names: data.draw(st.fixed_dictionaries({}, optional={n: st.integers(0, 3) for n in names}))
    d = document(
        engine=counts("reject_unknown_peer"), alarms=data.draw(st.sampled_from([{}, LOADED])),
        events=counts("initiations", "responses", "rejected_response", "rejected_replay", "handshake_complete"),
        drops=counts("no_peer", "no_endpoint", "routing_loop", "ring_detached", "wrong_source", "bad_tag", "bad_mac1", "cookie_demanded"),
        black=counts("udp_send", "ring_share"),
        firewall={"red": counts("not_permitted", "lan_spoofed"), "black": counts("output_dropped")},
        handshake=data.draw(st.sampled_from([0, NOW - 5, NOW - 500])), sessions=data.draw(st.integers(0, 2)),
        endpoint=data.draw(st.sampled_from(["", "192.0.2.1:1"])), cookie=data.draw(st.booleans()))
    found = explain(d, "cusco", now=NOW)
    assert found and all(f.text and f.remedy for f in found)


# wgpy node top


def shown(frame):
    from rich.console import Console
    console = Console(width=140, record=True, file=open("/dev/null", "w"))
    console.print(frame.render())
    return console.export_text()


def test_a_frame_shows_rooms_rings_peers_drops_and_load():
    before = document(**UP, alarms=LOADED, engine={"aead": "avx2"}, drops={"no_peer": 1}, rx_bytes=0,
                      rooms={"black": "starting"}, firewall={"red": {"not_permitted": 2}})
    after = copy.deepcopy(before)
    after["rooms"]["crypto"]["status"]["peers"][0]["rx_bytes"] = 2_500_000
    after["rooms"]["crypto"]["status"]["drops"]["no_peer"] = 21
    text = shown(Frame(after, before, 2.0, now=NOW))
    assert "UNDER LOAD" in text and "starting" in text and "crypto → black" in text
    line = next(x for x in text.splitlines() if x.startswith("cusco"))
    assert "10.0 Mbit/s" in line and "5 s" in line and line.rstrip().endswith("up")
    assert any(x.split() == ["crypto", "no", "peer", "21", "10"] for x in text.splitlines())
    assert "not permitted" in text


def test_what_was_delivered_is_not_shown_as_dropped():
    text = shown(Frame(document(**UP, drops={"no_peer": 1, "ecn_lost": 4}), now=NOW))
    assert any(x.split()[:5] == ["crypto", "ecn", "lost", "(delivered)", "4"] for x in text.splitlines())
    assert any(x.split()[:4] == ["crypto", "no", "peer", "1"] for x in text.splitlines())


def test_a_first_frame_has_no_rates_and_a_bare_document_is_shown():
    assert "bit/s " not in shown(Frame(document(**UP), now=NOW)).replace("bits/s", "")
    assert "not up" in shown(Frame({"rooms": {}}, now=NOW))


def test_many_peers_are_cut_off():
    d = document()
    d["rooms"]["crypto"]["status"]["peers"] *= 250
    assert "… 210 more" in shown(Frame(d, now=NOW))
