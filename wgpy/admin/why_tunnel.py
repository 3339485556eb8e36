"""Why a tunnel does not carry packets: `wgpy why` for one process without rooms. Like
wgpy.admin.why a pure function, of what `wgpy show --json` says of the tunnel, or of two of
those to look only at what happened in between, and of where the host's routes lead now.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from wgpy.admin.why import SESSION, Finding

# part of the document, counter -> cause, text, remedy; what tells nothing beside a session
_COUNTED = {
    ("drops", "no_endpoint"): ("no_endpoint", "packets came for a peer of which nobody knows where it is",
                               "give it an Endpoint, or let it begin"),
    ("drops", "udp_send"): ("no_way_out", "the host refuses datagrams: no route, no address or no link",
                            "look at the route to the endpoint, and at the link"),
    ("drops", "bad_mac1"): ("wrong_key", "messages arrive that were made for another public key than ours",
                            "if they are from a peer: correct PublicKey there (wgpy show has ours)"),
    ("drops", "malformed_message"): ("other_suite", "datagrams arrive that have no length of a message of our suite: a peer may "
                                     "answer with another one", "compare SuiteLibrary on both sides; strangers' datagrams count here, too"),
    ("rejects", "unknown_peer"): ("unknown_peer", "a key that no [Peer] has tries to begin a session",
                                  "if it is a peer's: correct PublicKey here"),
    ("drops", "no_peer"): ("no_route", "packets came whose destination lies in no peer's AllowedIPs; a few are the host's "
                           "own multicast", "add it to the AllowedIPs of the peer that has it, or route it elsewhere"),
}


def explain(name: str, document: dict[str, Any], routes: Mapping[str, str | None], before: dict[str, Any] | None = None, *,
            now: float) -> list[Finding]:
    """The findings, the most telling first; never empty. `routes`: the interface by which a
    datagram of ours leaves for an address, None where there is no route; `now`: wall time, s."""
    peers = document.get("peers") or {}
    looping = {key: peer for key, peer in peers.items() if routes.get(host_of(peer)) == name}
    up = {key for key, p in peers.items() if p.get("latest_handshake") and now - p["latest_handshake"] < SESSION}
    found = [*_unheard(name, document), *_loop(name, document, before, looping),
             *_unanswered({key: peer for key, peer in peers.items() if key not in up and key not in looping})]
    if n := _count(document, before, "drops", "wrong_source"):
        found.append(Finding("networks", "packets came out of the tunnel with sources that are not their peer's",
                             (("drops wrong_source", n),), "compare AllowedIPs here with the addresses there"))
    for (part, counter), (cause, text, remedy) in _COUNTED.items() if not up and not looping else ():
        if n := _count(document, before, part, counter):
            found.append(Finding(cause, text, ((f"{part} {counter}", n),), remedy))
    return found + list(_state(len(peers), len(up), bool(found)))


def host_of(peer: dict[str, Any]) -> str:
    """The address of a peer's endpoint; "" without one."""
    return (peer.get("endpoint") or "").rpartition(":")[0].strip("[]")


def _count(document: dict[str, Any], before: dict[str, Any] | None, part: str, counter: str) -> int:
    now, then = ((d or {}).get(part) or {} for d in (document, before))
    return max(0, (now.get(counter) or 0) - (then.get(counter) or 0))


def _unheard(name: str, document: dict[str, Any]) -> Iterator[Finding]:
    if reason := document.get("not_listening"):
        yield Finding("not_listening", f"{name} has no socket: {reason}", (("not listening", reason),),
                      "bring the link up, or free the port; it is tried again by itself")


def _loop(name: str, document: dict[str, Any], before: dict[str, Any] | None, looping: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    n = _count(document, before, "drops", "routing_loop")
    mark = document.get("fwmark") or 0
    evidence = (("drops routing_loop", n), ("fwmark", f"{mark:#x}" if mark else "off"))
    for key, peer in looping.items():
        host = host_of(peer)
        yield Finding(
            "routing_loop", f"the host's route to {host}, the endpoint of {key}, leads into {name} itself: what is sent "
            "to that peer comes back out of the tunnel and is dropped",
            (*evidence, (f"route to {host}", f"dev {name}"), ("in its AllowedIPs", _inside(host, peer.get("allowed_ips") or []))),
            f"give {host} a route past the tunnel (ip route add {host} via GATEWAY), or take it out of AllowedIPs; or set "
            "FwMark, Table and a rule by which marked datagrams do not use that table, as a /0 has them by itself")
    if n and not looping:
        yield Finding(
            "routing_loop", f"datagrams of {name} came back out of the tunnel and were dropped; no route to an endpoint leads "
            "into it now", evidence, "none needed if a route was added since: look again with --seconds 10. If it goes on, "
            "another host sends them back: look at the routes of its gateway")


def _inside(host: str, allowed: list[str]) -> str:
    """The longest prefix that has the address, or "no"."""
    address = ipaddress.ip_address(host)
    having = [net for net in map(ipaddress.ip_network, allowed) if address in net]
    return str(max(having, key=lambda net: net.prefixlen, default="no"))


def _unanswered(silent: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    for key, peer in silent.items():
        if peer.get("endpoint") and peer.get("tx_bytes"):
            yield Finding("no_reply", f"what leaves for {key} at {peer['endpoint']} is not answered",
                          (("tx bytes", peer["tx_bytes"]), ("rx bytes", peer.get("rx_bytes", 0))),
                          "is it up, is that its address and port, does a firewall between pass UDP? A peer that does not "
                          "know our key, or whose PublicKey is wrong here, is silent too")


def _state(peers: int, up: int, found: bool) -> Iterator[Finding]:
    facts = (("peers", peers), ("with a session", up))
    if up:
        yield Finding("up", f"{up} of {peers} peers have a session", facts, "see the findings above" if found else "none needed")
    elif not found:
        yield Finding("idle", "no packet has asked for a session", facts, "ping an address in AllowedIPs, or set PersistentKeepalive")
