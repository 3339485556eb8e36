"""Why a peer does not come up: read from a node's counters, said with the evidence and
the remedy. A pure function of one status document, or of two of the same node to look
only at what happened in between; the peer's own document tells the rest, if there is one.
"""

import difflib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from wgpy.admin.faults import not_configured
from wgpy.errors import WgpyError
from wgpy.events import Kind, Reject, of_peer

SESSION = 180  # s, reject-after-time
_RESPONSE, _REPLAY = (of_peer(Kind.REJECTED, reason) for reason in (Reject.RESPONSE, Reject.REPLAY))


class Finding(NamedTuple):
    """`evidence`: counters with their values."""
    cause: str
    text: str
    evidence: tuple[tuple[str, int | str], ...]
    remedy: str

    def as_json(self) -> dict[str, Any]:
        """`evidence` by name."""
        return self._asdict() | {"evidence": dict(self.evidence)}


class _Facts:
    """Counters as differences to `before`; what is no counter as it is now."""

    def __init__(self, document: dict[str, Any], name: str, before: dict[str, Any] | None, now: float):
        self.document, self.before, self.now = document, before or {}, now
        listed = _get(document, "rooms.crypto.status.peers") or []
        self.peer = _find(listed, name)
        self.name = self.peer.get("name") or name
        self.age = now - self.peer["handshake"] if self.peer.get("handshake") else None
        old = _get(self.before, "rooms.crypto.status.peers") or []
        self._old: dict[str, Any] = next((p for p in old if p.get("public_key") == self.peer["public_key"]), {})

    def mine(self, path: str) -> int:
        """A counter of the peer."""
        return max(0, (_get(self.peer, path) or 0) - (_get(self._old, path) or 0))

    def event(self, what: str) -> int:
        """How often something happened with the peer (wgpy.events.of_peer; initiations, responses)."""
        return self.mine(f"events/{what}")

    def count(self, path: str) -> int:
        """A counter of the node."""
        return max(0, (_get(self.document, path) or 0) - (_get(self.before, path) or 0))

    def reject(self, reason: Reject) -> int:
        return self.count(f"rooms.crypto.status.engine.reject_{reason}")

    def drop(self, room: str, reason: str) -> int:
        return self.count(f"rooms.{room}.status.drops.{reason}")

    def firewall(self, room: str, counter: str) -> int:
        return self.count(f"firewall.{room}.{counter}")

    @property
    def suite(self) -> str:
        return str(_get(self.document, "rooms.crypto.status.engine.suite") or "")

    @property
    def is_up(self) -> bool:
        return self.age is not None and self.age < SESSION and bool(self.peer.get("sessions"))


def _get(value: Any, path: str) -> Any:
    for key in path.replace("/", ".").split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _find(peers: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for peer in peers:
        if name in (peer.get("name"), peer.get("public_key")):
            return peer
    names = [p["name"] for p in peers if p.get("name")]
    close = difflib.get_close_matches(name, names, 1)
    raise WgpyError(f"no site {name[:64]!r} here" + (f"; did you mean {close[0]!r}?" if close else
                                              f": there are {', '.join(names[:16])}" if names else ""))


Rule = Callable[[_Facts], Iterator[Finding]]


def explain(document: dict[str, Any], peer: str, before: dict[str, Any] | None = None, *, remote: dict[str, Any] | None = None,
            now: float) -> list[Finding]:
    """The findings, the most telling first; never empty. `peer`: a site's name or public
    key; `remote`: the peer's own status document; `now`: wall time in seconds. WgpyError
    names a peer that does not exist."""
    found = list(_rooms(document))
    if not _get(document, "rooms.crypto.status.peers"):
        if not found:
            raise WgpyError("the crypto room has not told of any site yet")
        return found
    facts = _Facts(document, peer, before, now)
    found += [f for rule in (_remote_view(remote), _looped, _refused, _load, _endpoint, _silent, _unanswered, _permits, _inside)
             for f in rule(facts)]
    return found + list(_state(facts, bool(found)))


def _rooms(document: dict[str, Any]) -> Iterator[Finding]:
    for room, facts in (document.get("rooms") or {}).items():
        if facts.get("state") != "ready":
            yield Finding("room_down", f"the {room} room does not run",
                          ((f"{room}.state", str(facts.get("state"))), (f"{room}.restarts", facts.get("restarts", 0))),
                          "its last words are in the log of the supervisor; it is restarted by itself")
    for link in document.get("missing") or []:
        yield Finding("no_interface", f"the interface {link} does not exist", (("missing", link),),
                      "plug it in, or correct the site file's [wan] or [lan]")
    if found := not_configured(document):
        yield Finding("not_configured", "the host refuses what the node asks of it: " + found[0],
                      tuple((f"refused {i}", fault) for i, fault in enumerate(found[:16], 1)),
                      "correct the address, gateway or route in the site file and wgpy node reload, or what the host says is "
                      "in the way; it is tried again every few seconds")


def _remote_view(remote: dict[str, Any] | None) -> Rule:
    """What the peer counts about us; our own node cannot see why somebody stays silent."""
    def rule(f: _Facts) -> Iterator[Finding]:
        engine = _get(remote or {}, "rooms.crypto.status.engine") or {}
        there = f"at {remote.get('node')}: " if remote else ""
        if engine.get("suite") and f.suite and engine["suite"] != f.suite:
            yield Finding("other_suite", f"{f.name} has another suite of cryptographic functions",
                          (("suite", f.suite), (there + "suite", engine["suite"])),
                          "give both the same [suite] in their site files")
        if n := _get(remote or {}, "rooms.crypto.status.drops.bad_mac1"):
            yield Finding("wrong_key", f"{f.name} receives messages that were made for another public key",
                          ((there + "crypto drops bad_mac1", n),), f"correct public_key of [[site]] {f.name} in this site file")
        if n := engine.get(f"reject_{Reject.UNKNOWN_PEER}"):
            yield Finding("unknown_there", f"{f.name} does not know a key that knocks there",
                          ((there + f"rejects {Reject.UNKNOWN_PEER}", n),), f"correct this node's public_key in the site file of {f.name}")
        if n := engine.get(f"reject_{Reject.REPLAY}"):
            yield Finding("clock", f"{f.name} refuses initiations whose time stamps it has seen or passed",
                          ((there + f"rejects {Reject.REPLAY}", n),), "this node's clock went back and its key store's floor was lost: "
                          f"set the clock, or wgpy node down and up there (wgpy node why at {f.name} tells more)")
    return rule


def _looped(f: _Facts) -> Iterator[Finding]:
    if n := f.drop("crypto", "routing_loop"):
        yield Finding("routing_loop", "datagrams that this node had sent came in from its LAN, and were dropped: somebody routes "
                      "what is for a site's endpoint to this node",
                      (("crypto drops routing_loop", n), ("endpoint", f.peer.get("endpoint", ""))),
                      "look at the routes of the WAN's gateway and the LAN's routers; endpoints of sites must not be in "
                      f"networks of [[site]] {f.name} or another")


def _refused(f: _Facts) -> Iterator[Finding]:
    if n := f.event(_RESPONSE):
        yield Finding("psk", f"{f.name} answers, but its answers cannot be opened: the pre-shared keys differ",
                      (("initiations", f.event("initiations")), ("responses rejected", n),
                       ("pre-shared key here", "yes" if f.peer.get("psk") else "no")),
                      f"put the same pre-shared key into both key stores, and psk into [[site]] {f.name} on both sides or neither")
    if not f.is_up and (n := f.event("responses")) > 1 and not f.event(Kind.HANDSHAKE_COMPLETE):
        yield Finding("not_confirmed", f"initiations of {f.name} arrive and are answered, but it never goes on: it cannot "
                      "open our answers (pre-shared keys differ), or they do not reach it",
                      (("responses sent", n), ("handshakes complete", 0), ("endpoint", f.peer.get("endpoint", ""))),
                      "compare the pre-shared keys; look for a NAT or firewall between that lets nothing back")
    if n := f.event(_REPLAY):
        back, ahead = f.peer.get("stamps_back") or 0, f.peer.get("stamps_ahead") or 0
        evidence = ((f"rejects {Reject.REPLAY}", n), ("behind the greatest accepted, s", back), ("that one ahead of our clock, s", ahead))
        if back:
            yield Finding("clock", f"the time stamps of {f.name} went back: genuine initiations are older than one that was "
                          "accepted before", evidence, f"its clock was wrong and was set, or is wrong now: set it there; if the "
                          "greatest is ahead, wgpy node down and up here forgets it (a tunnel: remove and add the peer). "
                          f"If {f.name} is well, somebody replays recorded ones, to no effect")
        else:
            yield Finding("replayed", f"an initiation of {f.name} came again, or one older than the last", evidence,
                          "a network that doubles or delays datagrams, or somebody who replays them: both are refused; "
                          f"look at the clock of {f.name} only if it does not come up")
    if f.is_up:
        return
    if n := f.drop("crypto", "bad_mac1"):
        yield Finding("wrong_key", "messages arrive that were made for another public key than this node's",
                      (("crypto drops bad_mac1", n),), f"correct this node's public_key in the site file of {f.name} (wgpy site show); "
                      "a suite of the same lengths but other functions looks so, too")
    if f.event("initiations") and (n := f.drop("black", "not_wireguard") + f.drop("crypto", "malformed_message")):
        yield Finding("other_suite", "datagrams arrive that have no length of a message of this node's suite: the other side may "
                      "answer with another suite",
                      (("black drops not_wireguard, crypto malformed_message", n), ("suite", f.suite)),
                      f"compare [suite] here with that of {f.name} (wgpy node status --json there); strangers' datagrams count here, too")
    if n := f.reject(Reject.UNKNOWN_PEER):
        yield Finding("unknown_peer", "a key that no site here has tries to begin a session",
                      ((f"rejects {Reject.UNKNOWN_PEER}", n),), f"compare public_key of [[site]] {f.name} with what that node shows")


def _load(f: _Facts) -> Iterator[Finding]:
    if f.is_up:
        return
    if f.peer.get("cookie"):
        yield Finding("peer_under_load", f"{f.name} is under load and demanded a cookie, which it now has",
                      (("cookie", "fresh"), ("initiations", f.event("initiations"))),
                      "it should come up by itself; if not, look at the flood there")
    demanded, limited = f.drop("crypto", "cookie_demanded"), f.drop("crypto", "rate_limited")
    if _get(f.document, "alarms.under_load.active") and demanded + limited:
        yield Finding("under_load", "this node is under load and demands cookies",
                      (("crypto drops cookie_demanded", demanded), ("crypto drops rate_limited", limited)),
                      "honest peers get through with their cookie; find the source of the flood")
    if _get(f.document, "alarms.flood.active"):
        reasons = _get(f.document, "alarms.flood.reasons") or {}
        yield Finding("flood", "this node is flooded", tuple((f"refused in a second: {r}", n) for r, n in reasons.items()),
                      "genuine messages are told from the others and go first; find the source of the flood")
    if n := f.drop("black", "ring_share"):
        yield Finding("ring_share", "datagrams were dropped because crypto could not keep up with strangers",
                      (("black drops ring_share", n),), "a flood: find its source; sites that are up are served first")


def _endpoint(f: _Facts) -> Iterator[Finding]:
    if not f.peer.get("endpoint"):
        yield Finding("no_endpoint", f"nobody knows where {f.name} is",
                      (("endpoint", "none"), ("crypto drops no_endpoint", f.drop("crypto", "no_endpoint"))),
                      f"give [[site]] {f.name} its endpoints, or let {f.name} begin")


def _silent(f: _Facts) -> Iterator[Finding]:
    """Nothing was sent."""
    if f.is_up or f.event("initiations") or f.event("responses"):
        return
    if n := f.drop("crypto", "no_peer"):
        yield Finding("no_route", "packets came whose destination lies in no site's networks",
                      (("crypto drops no_peer", n),), f"compare networks of [[site]] {f.name} with the address that was tried")
    if not f.firewall("red", "not_permitted") and not f.drop("crypto", "no_peer"):
        spoofed = f.firewall("red", "lan_spoofed")
        yield Finding("idle", "no packet has asked for it" + (": the LAN's were refused for their source" if spoofed else ""),
                      (("initiations", 0), ("staged", f.peer.get("staged", 0)), ("red lan_spoofed", spoofed)),
                      "ping a host there from the LAN (its default route must lead to this node), or set keepalive"
                      if not spoofed else "add the LAN's networks to lan.networks")


def _unanswered(f: _Facts) -> Iterator[Finding]:
    sent = f.event("initiations")
    if f.is_up or not sent or f.event(_RESPONSE) or not f.peer.get("endpoint"):
        return
    evidence = (("initiations", sent), ("given up", f.event(Kind.HANDSHAKE_GIVEN_UP)), ("endpoint", f.peer["endpoint"]))
    udp = "rooms.black.status.ports.udp."
    if n := f.firewall("black", "output_dropped"):
        yield Finding("firewall", "black's own firewall stops what it sends", (("black output_dropped", n),),
                      "load the rules anew: wgpy node down and up")
    if n := f.drop("black", "udp_send"):
        yield Finding("no_way_out", "the WAN refuses datagrams: no route, no address or no link",
                      (("black drops udp_send", n), *evidence), "look at [wan] gateway and addresses, and at the cable")
    elif n := f.drop("crypto", "ring_detached") + f.drop("crypto", "queue_full"):
        yield Finding("ring", "what crypto sends does not get to black", (("crypto drops ring_detached, queue_full", n),),
                      "black restarts or is overloaded")
    elif f.event("responses") == 0:
        heard = f.count(udp + "packets_in")
        yield Finding("no_reply", f"initiations leave for {f.peer['endpoint']} and nobody answers" + (
                          "" if heard else "; nothing at all comes in from the WAN"),
                      (*evidence, ("black udp packets in", heard)),
                      f"is {f.name} up, is that its address and port, does a firewall between pass UDP? A node that does not "
                      f"know our key, or whose public_key is wrong here, is silent too: ask it (wgpy node why there)")


def _permits(f: _Facts) -> Iterator[Finding]:
    if n := f.firewall("red", "not_permitted"):
        yield Finding("permit", "red's firewall stops LAN hosts that no [[permit]] lets through", (("red not_permitted", n),),
                      f"add a [[permit]] with the host in from and {f.name!r} in to, then wgpy node reload NODE")


def _inside(f: _Facts) -> Iterator[Finding]:
    """The session is there, and still nothing goes through."""
    if not f.is_up:
        return
    if n := f.drop("crypto", "wrong_source"):
        yield Finding("networks", "packets came out of the tunnel with sources that are not their site's",
                      (("crypto drops wrong_source", n),), f"compare networks of [[site]] {f.name} with lan.networks there")
    if n := f.drop("crypto", "bad_tag"):
        yield Finding("altered", "packets were altered on their way, or forged", (("crypto drops bad_tag", n),),
                      "somebody tampers, or a device between breaks datagrams")


def _state(f: _Facts, found: bool) -> Iterator[Finding]:
    facts = (("handshake age, s", int(f.age) if f.age is not None else "never"),
             ("rx bytes", f.mine("rx_bytes")), ("tx bytes", f.mine("tx_bytes")))
    if f.is_up:
        yield Finding("up", f"{f.name} is up", facts, "none needed" if not found else "see the findings above")
    elif not found:
        yield Finding("unknown", f"{f.name} is not up, and the counters do not say why", facts,
                      "try a ping, then ask again; ask the other node too")
