"""Handshake messages that the plane has admitted (wgpy.protocol.admission): the part that
needs keys. Nothing raises; what is refused is counted under its reason."""

from typing import TYPE_CHECKING

from wgpy.constants import MIN_INITIATION_INTERVAL
from wgpy.notices import Endpoint
from wgpy.protocol.effects import Effect, Event, FlushStaged, SendKeepalive, SendToPeer, SetEndpoint
from wgpy.protocol.handshake import Trigger
from wgpy.protocol.messages import COOKIE_REPLY, INITIATION, CookieReply, Initiation, Response, kind_of
from wgpy.protocol.noise import Refused
from wgpy.protocol.timers import Instant

if TYPE_CHECKING:
    from wgpy.protocol.device import Device


class Inbound:
    def __init__(self, device: "Device"):
        self._device = device

    def receive(self, datagram: bytes, source: Endpoint, now: Instant) -> list[Effect]:
        device, out = self._device, []
        datagram = bytes(datagram)
        kind = kind_of(datagram)
        if kind is None:
            device.count("malformed")
        elif not device.up or device.noise.public is None:
            device.count("down")
        elif kind == COOKIE_REPLY:
            self._cookie_reply(CookieReply.parse(datagram), now, out)
        else:
            handle = self._initiation if kind == INITIATION else self._response
            try:
                handle(datagram, source, now, out)
            except Refused as refusal:
                device.reject(refusal.args[0], None, out)
        return out

    def _initiation(self, datagram: bytes, source: Endpoint, now: Instant, out: list[Effect]) -> None:
        device = self._device
        claim = device.noise.claim(Initiation.parse(datagram))
        peer = device.find(claim.static)
        if peer is None:
            raise Refused("unknown-peer")
        if now.mono < peer.initiation_heard + MIN_INITIATION_INTERVAL:
            raise Refused("flood")
        if not peer.ss:
            raise Refused("zero-dh")
        timestamp, proven = device.noise.prove(claim, bytes(peer.ss))
        if timestamp <= peer.greatest_timestamp:
            device.reject("replay", peer, out)
            if peer.refuse(timestamp, now.wall):
                out.append(Event("stamps-back", peer.public_key))
            return None
        index = device.indices.new(peer)
        try:
            response, keys = device.noise.respond(proven, peer.preshared_key, index, device.entropy(32))
        except Refused:
            device.indices.free(index)
            raise
        peer.greatest_timestamp = timestamp
        peer.initiation_heard = peer.handshake_heard = peer.handshake_sent = now.mono
        out.append(SetEndpoint(peer.public_key, source))
        device.install(peer, index, claim.message.sender, False, keys, now, out)
        out.append(SendToPeer(peer.public_key, peer.cookies.add_macs(response.body(), now.mono)))

    def _response(self, datagram: bytes, source: Endpoint, now: Instant, out: list[Effect]) -> None:
        device = self._device
        message = Response.parse(datagram)
        peer = device.indices.get(message.receiver)
        flight = peer.flight if peer is not None else None
        if flight is None or flight.index != message.receiver:
            raise Refused("unknown-index")
        try:
            keys = device.noise.finish(flight, message, peer.preshared_key)
        except Refused as refusal:
            return device.reject(refusal.args[0], peer, out)
        device.handshakes.fire(peer, Trigger.ANSWERED, now, out)
        peer.handshake_heard = peer.usable_since = now.mono
        peer.last_handshake = now.wall
        out.append(SetEndpoint(peer.public_key, source))
        device.install(peer, message.receiver, message.sender, True, keys, now, out)
        out.append(FlushStaged(peer.public_key))
        out.append(SendKeepalive(peer.public_key))
        out.append(Event("handshake-complete", peer.public_key))

    def _cookie_reply(self, message: CookieReply, now: Instant, out: list[Effect]) -> None:
        peer = self._device.indices.get(message.receiver)
        refusal = "unknown-index" if peer is None else peer.cookies.accept(message, now.mono)
        if refusal is not None:
            self._device.count(refusal)
