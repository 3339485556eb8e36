"""`wgpy why` for a tunnel: causes from what `wgpy show --json` says and where routes lead."""

import pytest

from wgpy.admin.why_tunnel import explain, host_of

NOW = 1_700_000_000
HOST = "10.1.2.3"


def told(*, drops=(), rejects=(), **more):
    """A tunnel whose peer K never answered; the rest as given."""
    peer = {"endpoint": f"{HOST}:51820", "allowed_ips": ["10.0.0.0/8", "10.1.0.0/16", "fd00::/8"], "latest_handshake": None,
            "rx_bytes": 0, "tx_bytes": 0}
    peer |= {k: more.pop(k) for k in list(more) if k in peer}
    return {"fwmark": 0, "not_listening": None, "drops": dict(drops), "rejects": dict(rejects), "peers": {"K": peer}} | more


def causes(document, routes=None, before=None):
    return [f.cause for f in explain("wg0", document, routes or {HOST: "eth0"}, before, now=NOW)]


@pytest.mark.parametrize("expected, document", [
    (["idle"], told()),
    (["idle"], told(peers={})),
    (["up"], told(latest_handshake=NOW - 179, tx_bytes=9)),
    (["no_reply"], told(latest_handshake=NOW - 181, tx_bytes=9)),
    (["no_endpoint"], told(endpoint=None, drops={"no_endpoint": 2})),
    (["not_listening"], told(not_listening="UDP port 1: in use")),
    (["no_reply", "no_way_out"], told(tx_bytes=148, drops={"udp_send": 1})),
    (["no_reply", "wrong_key"], told(tx_bytes=148, drops={"bad_mac1": 3})),
    (["no_reply", "other_suite"], told(tx_bytes=148, drops={"malformed_message": 3})),
    (["unknown_peer"], told(rejects={"unknown_peer": 3})),
    (["no_route"], told(drops={"no_peer": 3})),
    (["up"], told(latest_handshake=NOW, drops={"no_peer": 3, "bad_mac1": 900})),
    (["networks", "up"], told(latest_handshake=NOW, drops={"wrong_source": 3})),
    (["idle"], {"peers": {}, "error": None}),
])
def test_causes(expected, document):
    assert causes(document) == expected


def test_a_route_into_the_tunnel_is_the_cause_whatever_was_counted():
    found = explain("wg0", told(tx_bytes=148, fwmark=0x80000000, drops={"routing_loop": 7, "no_peer": 2}), {HOST: "wg0"}, now=NOW)
    assert [f.cause for f in found] == ["routing_loop"] and HOST in found[0].text and "K" in found[0].text
    assert dict(found[0].evidence) == {"drops routing_loop": 7, "fwmark": "0x80000000", f"route to {HOST}": "dev wg0",
                                       "in its AllowedIPs": "10.1.0.0/16"}
    assert all(word in found[0].remedy for word in (f"ip route add {HOST} via", "AllowedIPs", "FwMark", "Table"))
    (outside,) = explain("wg0", told(allowed_ips=["192.0.2.0/24"]), {HOST: "wg0"}, now=NOW)
    assert dict(outside.evidence)["in its AllowedIPs"] == "no"


def test_a_loop_that_was_is_said_to_be_over():
    document = told(latest_handshake=NOW, drops={"routing_loop": 7})
    found = explain("wg0", document, {HOST: "eth0"}, now=NOW)
    assert [f.cause for f in found] == ["routing_loop", "up"] and "--seconds" in found[0].remedy
    assert causes(document, before=document) == ["up"]
    assert causes(document, before=told(drops={"routing_loop": 9})) == ["up"], "a restart gives no negative counts"
    assert causes(document, {HOST: None}) == ["routing_loop", "up"]


@pytest.mark.parametrize("endpoint, host", [("10.1.2.3:1", "10.1.2.3"), ("[fd00::1]:1", "fd00::1"), (None, ""),
                                            ("[fe80::1%eth0]:1", "fe80::1%eth0")])
def test_the_host_of_an_endpoint(endpoint, host):
    assert host_of({"endpoint": endpoint}) == host
