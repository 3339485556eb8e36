"""Handshake messages that the plane has admitted (wgpy.protocol.admission): the part that
needs keys. Nothing raises; what is refused is counted under its reason."""

from wgpy.constants import MIN_INITIATION_INTERVAL
from wgpy.events import Kind, Reject
from wgpy.notices import Endpoint
from wgpy.protocol.core import Core
from wgpy.protocol.effects import Effect, Event, SendToPeer, SetEndpoint
from wgpy.protocol.handshake import Handshakes, Trigger
from wgpy.protocol.messages import COOKIE_REPLY, INITIATION, CookieReply
from wgpy.protocol.noise import Refused
from wgpy.protocol.sessions import Sessions
from wgpy.protocol.timers import Instant


class Inbound:
    """The peer's handshake messages, whose MACs the plane has checked."""

    def __init__(self, core: Core, handshakes: Handshakes, sessions: Sessions):
        self._core, self._handshakes, self._sessions = core, handshakes, sessions

    def receive(self, datagram: bytes, source: Endpoint, now: Instant) -> list[Effect]:
        """Never raises for what a stranger sent: it is counted under a Reject."""
        core = self._core
        out: list[Effect] = []
        datagram = bytes(datagram)
        kind = core.layout.kind_of(datagram)
        if kind is None:
            core.count(Reject.MALFORMED)
        elif not core.up or core.noise.public is None:
            core.count(Reject.DOWN)
        elif kind == COOKIE_REPLY:
            self._cookie_reply(core.layout.parse_cookie_reply(datagram), now, out)
        else:
            handle = self._initiation if kind == INITIATION else self._response
            try:
                handle(datagram, source, now, out)
            except Refused as refusal:
                core.reject(refusal.reason, None, out)
        return out

    def _initiation(self, datagram: bytes, source: Endpoint, now: Instant, out: list[Effect]) -> None:
        core = self._core
        claim = core.noise.claim(core.layout.parse_initiation(datagram))
        peer = core.peers.get(claim.static)
        if peer is None:
            raise Refused(Reject.UNKNOWN_PEER)
        if now.mono < peer.initiation_heard + MIN_INITIATION_INTERVAL:
            raise Refused(Reject.FLOOD)
        if not peer.ss:
            raise Refused(Reject.ZERO_DH)
        timestamp, proven = core.noise.prove(claim, bytes(peer.ss))
        if timestamp <= peer.greatest_timestamp:
            core.reject(Reject.REPLAY, peer, out)
            if peer.refuse(timestamp, now.wall):
                out.append(Event(Kind.STAMPS_BACK, peer.public_key))
            return None
        index = core.indices.new(peer)
        try:
            response, keys = core.noise.respond(proven, peer.preshared_key, index, core.noise.ephemeral(core.entropy))
        except Refused:
            core.indices.free(index)
            raise
        peer.greatest_timestamp = timestamp
        peer.initiation_heard = peer.handshake_heard = peer.handshake_sent = now.mono
        out.append(SetEndpoint(peer.public_key, source))
        self._sessions.install(peer, index, claim.message.sender, False, keys, now, out)
        out.append(SendToPeer(peer.public_key, peer.cookies.add_macs(response.body(), now.mono)))

    def _response(self, datagram: bytes, source: Endpoint, now: Instant, out: list[Effect]) -> None:
        core = self._core
        message = core.layout.parse_response(datagram)
        peer = core.indices.get(message.receiver)
        if peer is None or peer.flight is None or peer.flight.index != message.receiver:
            raise Refused(Reject.UNKNOWN_INDEX)
        try:
            keys = core.noise.finish(peer.flight, message, peer.preshared_key)
        except Refused as refusal:
            return core.reject(refusal.reason, peer, out)
        self._handshakes.fire(peer, Trigger.ANSWERED, now, out)
        peer.handshake_heard = now.mono
        out.append(SetEndpoint(peer.public_key, source))
        self._sessions.install(peer, message.receiver, message.sender, True, keys, now, out)
        self._sessions.initiated(peer, now, out)

    def _cookie_reply(self, message: CookieReply, now: Instant, out: list[Effect]) -> None:
        peer = self._core.indices.get(message.receiver)
        refusal = Reject.UNKNOWN_INDEX if peer is None else peer.cookies.accept(message, now.mono)
        if refusal is not None:
            self._core.count(refusal)
