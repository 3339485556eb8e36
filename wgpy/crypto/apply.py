"""Carries out the effects of the protocol core on the plane, in order."""

import logging
from collections import Counter
from collections.abc import Callable

from wgpy.config.values import short_key
from wgpy.errors import WgpyError
from wgpy.protocol import effects as fx
from wgpy.protocol.messages import INITIATION

log = logging.getLogger("wgpy")

_EVENTS = {
    "handshake-sent": (logging.DEBUG, "sending handshake initiation"),
    "handshake-complete": (logging.DEBUG, "handshake complete"),
    "handshake-given-up": (logging.DEBUG, "handshake did not complete, giving up"),
    "under-load": (logging.WARNING, "under load: handshakes need a cookie"),
    "load-over": (logging.WARNING, "load is over"),
    "rejected": (logging.DEBUG, "rejected"),
    "stamps-back": (logging.WARNING, "this peer's time stamps went back: its initiations are refused until they "
                    "are past the greatest (its clock was wrong, or somebody replays old ones)"),
}


class Applier:
    """`slots` maps the public keys of present peers to slots of the plane; effects for
    other peers are void (the peer was removed meanwhile)."""

    def __init__(self, device, plane, slots: dict[bytes, int]):
        self._device, self._plane, self._slots = device, plane, slots
        self.events: dict[str, int] = dict.fromkeys(_EVENTS, 0)
        self.of_peer: dict[bytes, Counter[str]] = {}  # what happened with each present peer
        # called before an initiation leaves, whose stamp may be the greatest so far
        self.before_initiation: Callable[[], None] = lambda: None
        # called with a peer's key before we answer its initiation, whose stamp is its greatest
        self.before_response: Callable[[bytes], None] = lambda peer: None
        self._do = {
            fx.SendToPeer: self._send,
            fx.AwaitResponse: lambda e, slot, now: plane.await_response(slot, e.index),
            fx.SetEndpoint: lambda e, slot, now: plane.set_endpoint(slot, e.endpoint),
            fx.ClearSource: lambda e, slot, now: plane.clear_source(slot),
            fx.InstallKeypair: self._install,
            fx.FlushStaged: lambda e, slot, now: plane.flush(slot),
            fx.PurgeStaged: lambda e, slot, now: plane.purge(slot),
            fx.SendKeepalive: lambda e, slot, now: plane.keepalive(slot),
            fx.ExpireKeypairs: self._expire,
            fx.WipeKeypairs: self._wipe,
            fx.Rearm: lambda e, slot, now: plane.rearm(slot, e.bits),
        }

    def run(self, effects, now) -> None:
        """`now` is the Instant that the core was given."""
        for effect in effects:
            if isinstance(effect, fx.Event):
                self._event(effect)
            elif isinstance(effect, fx.SetPublicKey):
                self._plane.set_public_key(effect.key)
            else:
                slot = self._slots.get(effect.peer)
                if slot is not None:
                    self._do[type(effect)](effect, slot, now)
                elif isinstance(effect, fx.InstallKeypair):
                    _zero(effect)

    def tell_live(self, peer: bytes, slot: int) -> None:
        self._device.live_indices(peer, self._plane.live_indices(slot))

    def _count(self, peer: bytes, what: str) -> None:
        self.of_peer.setdefault(peer, Counter())[what] += 1

    def _send(self, e: fx.SendToPeer, slot: int, now) -> None:
        ours = e.datagram.startswith(INITIATION)
        if ours:
            self.before_initiation()
        else:
            self.before_response(e.peer)
        self._count(e.peer, "initiations" if ours else "responses")
        self._plane.send(e.datagram, slot=slot)

    def _install(self, e: fx.InstallKeypair, slot: int, now) -> None:
        try:
            self._plane.install(slot, local_index=e.local_index, remote_index=e.remote_index,
                                send_key=e.send_key, receive_key=e.receive_key,
                                initiator=e.initiator, now=now.mono)
        except (WgpyError, MemoryError) as error:
            log.error("%s - no keypair: %s", short_key(e.peer), error)
        finally:
            _zero(e)
        self.tell_live(e.peer, slot)

    def _expire(self, e: fx.ExpireKeypairs, slot: int, now) -> None:
        self._plane.expire(slot, now.mono)
        self.tell_live(e.peer, slot)

    def _wipe(self, e: fx.WipeKeypairs, slot: int, now) -> None:
        self._plane.wipe(slot)
        self.tell_live(e.peer, slot)

    def _event(self, e: fx.Event) -> None:
        self.events[e.kind] = self.events.get(e.kind, 0) + 1
        if e.peer in self._slots:
            self._count(e.peer, f"{e.kind}-{e.reason}" if e.reason else e.kind)
        level, text = _EVENTS.get(e.kind, (logging.DEBUG, e.kind))
        if log.isEnabledFor(level):
            who = f"{short_key(e.peer)} - " if e.peer else ""
            log.log(level, "%s%s%s", who, text, f": {e.reason}" if e.reason else "")


def _zero(e: fx.InstallKeypair) -> None:
    for key in (e.send_key, e.receive_key):
        key[:] = bytes(len(key))
