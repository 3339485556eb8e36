"""Carries out the effects of the protocol core on the plane, in order. It does not know
the core: what the plane answers goes back to whoever drives both."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import assert_never

from wgpy import events
from wgpy.config.values import short_key
from wgpy.errors import WgpyError
from wgpy.events import Kind
from wgpy.protocol import effects as fx
from wgpy.protocol.interface import Plane
from wgpy.protocol.messages import INITIATION
from wgpy.protocol.timers import Instant

log = logging.getLogger(__name__)

_OfPeer = (fx.SendToPeer | fx.AwaitResponse | fx.SetEndpoint | fx.ClearSource | fx.FlushStaged | fx.PurgeStaged
           | fx.SendKeepalive | fx.Rearm)


class Applier:
    """`slots` maps the public keys of present peers to slots of the plane; effects for
    other peers are void (the peer was removed meanwhile)."""

    def __init__(self, plane: Plane, slots: dict[bytes, int]):
        self._plane, self._slots = plane, slots
        self.events: dict[Kind, int] = dict.fromkeys(Kind, 0)
        self.of_peer: dict[bytes, Counter[str]] = {}  # what happened with each present peer
        # called before an initiation leaves, whose stamp may be the greatest so far
        self.before_initiation: Callable[[], None] = lambda: None
        # called with a peer's key before we answer its initiation, whose stamp is its greatest
        self.before_response: Callable[[bytes], None] = lambda peer: None

    def run(self, effects: Iterable[fx.Effect], now: Instant) -> list[tuple[bytes, list[int]]]:
        """`now` is the Instant that the core was given. Returns which indices of which peers
        are free because of it, for Device.freed."""
        freed = []
        for effect in effects:
            if isinstance(effect, fx.Event):
                self._event(effect)
            elif isinstance(effect, fx.SetPublicKey):
                self._plane.set_public_key(effect.key)
            elif (slot := self._slots.get(effect.peer)) is None:
                if isinstance(effect, fx.InstallKeypair):
                    _zero(effect)
            elif isinstance(effect, fx.InstallKeypair | fx.ExpireKeypairs | fx.WipeKeypairs):
                freed.append((effect.peer, self._free(effect, slot, now)))
            else:
                self._do(effect, slot)
        return freed

    def _free(self, e: fx.InstallKeypair | fx.ExpireKeypairs | fx.WipeKeypairs, slot: int, now: Instant) -> list[int]:
        """What the plane answers: which indices it freed."""
        match e:
            case fx.InstallKeypair():
                return self._install(e, slot, now)
            case fx.ExpireKeypairs():
                return self._plane.expire(slot, now.mono)
            case fx.WipeKeypairs():
                return self._plane.wipe(slot)

    def _do(self, e: _OfPeer, slot: int) -> None:
        match e:
            case fx.SendToPeer():
                self._send(e, slot)
            case fx.AwaitResponse():
                self._plane.await_response(slot, e.index)
            case fx.SetEndpoint():
                self._plane.set_endpoint(slot, e.endpoint)
            case fx.ClearSource():
                self._plane.clear_source(slot)
            case fx.FlushStaged():
                self._plane.flush(slot)
            case fx.PurgeStaged():
                self._plane.purge(slot)
            case fx.SendKeepalive():
                self._plane.keepalive(slot)
            case fx.Rearm():
                self._plane.rearm(slot, e.bits)
            case _:
                assert_never(e)

    def _count(self, peer: bytes, what: str) -> None:
        self.of_peer.setdefault(peer, Counter())[what] += 1

    def _send(self, e: fx.SendToPeer, slot: int) -> None:
        ours = e.datagram.startswith(INITIATION)
        if ours:
            self.before_initiation()
        else:
            self.before_response(e.peer)
        self._count(e.peer, "initiations" if ours else "responses")
        self._plane.send(e.datagram, slot=slot)

    def _install(self, e: fx.InstallKeypair, slot: int, now: Instant) -> list[int]:
        try:
            return self._plane.install(slot, local_index=e.local_index, remote_index=e.remote_index,
                                       send_key=e.send_key, receive_key=e.receive_key,
                                       initiator=e.initiator, now=now.mono)
        except (WgpyError, MemoryError) as error:
            log.error("%s - no keypair: %s", short_key(e.peer), error)
            return [e.local_index]
        finally:
            _zero(e)

    def _event(self, e: fx.Event) -> None:
        self.events[e.kind] += 1
        if e.peer in self._slots:
            self._count(e.peer, events.of_peer(e.kind, e.reason))
        level = logging.WARNING if e.kind in events.WARNINGS else logging.DEBUG
        if log.isEnabledFor(level):
            who = f"{short_key(e.peer)} - " if e.peer else ""
            log.log(level, "%s%s%s", who, e.kind.text, f": {e.reason} ({e.reason.text})" if e.reason else "")


def _zero(e: fx.InstallKeypair) -> None:
    for key in (e.send_key, e.receive_key):
        key[:] = bytes(len(key))
