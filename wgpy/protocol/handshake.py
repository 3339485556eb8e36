"""Our own initiations: when one is sent, sent again, given up. The whole behaviour
stands in one table; responding to the peer's initiations keeps no state.

An initiation of the peer's does not end ours: when both sides start at once both
handshakes complete, and the plane keeps either session usable.
"""

from enum import Enum, auto
from typing import TYPE_CHECKING

from wgpy import notices
from wgpy.constants import REKEY_ATTEMPT_TIME, REKEY_TIMEOUT, REKEY_TIMEOUT_JITTER, WIPE_AFTER_TIME
from wgpy.protocol import tai64n
from wgpy.protocol.effects import AwaitResponse, ClearSource, Effect, Event, PurgeStaged, SendToPeer
from wgpy.protocol.noise import Refused
from wgpy.protocol.peer import Peer, State
from wgpy.protocol.timers import Instant, Reason

if TYPE_CHECKING:
    from wgpy.protocol.device import Device

MAX_TRIES = REKEY_ATTEMPT_TIME // REKEY_TIMEOUT


class Trigger(Enum):
    NEEDED = auto()      # something wants a session, and an initiation is allowed
    TOO_SOON = auto()    # something wants a session, and none is allowed now
    UNANSWERED = auto()  # 5 s and jitter without a response
    EXHAUSTED = auto()   # the same after the last try
    ANSWERED = auto()    # a valid response came
    CONFIRMED = auto()   # the peer's own handshake gave a session
    FORGOTTEN = auto()   # interface down, key changed, peer removed


class Action(Enum):
    SEND = auto()
    SEND_AGAIN = auto()
    WAIT = auto()
    RENEW = auto()       # count the tries anew (send.c: is_retry false)
    GIVE_UP = auto()
    FINISH = auto()      # the index goes on living as that of the keypair
    CANCEL = auto()


TRANSITIONS: dict[tuple[State, Trigger], tuple[State, Action]] = {
    (State.IDLE, Trigger.NEEDED): (State.IN_FLIGHT, Action.SEND),
    (State.IDLE, Trigger.TOO_SOON): (State.WAITING, Action.WAIT),
    (State.WAITING, Trigger.NEEDED): (State.IN_FLIGHT, Action.SEND),
    (State.WAITING, Trigger.TOO_SOON): (State.WAITING, Action.WAIT),
    (State.WAITING, Trigger.CONFIRMED): (State.IDLE, Action.CANCEL),
    (State.WAITING, Trigger.FORGOTTEN): (State.IDLE, Action.CANCEL),
    (State.IN_FLIGHT, Trigger.NEEDED): (State.IN_FLIGHT, Action.RENEW),
    (State.IN_FLIGHT, Trigger.TOO_SOON): (State.IN_FLIGHT, Action.RENEW),
    (State.IN_FLIGHT, Trigger.UNANSWERED): (State.IN_FLIGHT, Action.SEND_AGAIN),
    (State.IN_FLIGHT, Trigger.EXHAUSTED): (State.IDLE, Action.GIVE_UP),
    (State.IN_FLIGHT, Trigger.ANSWERED): (State.IDLE, Action.FINISH),
    (State.IN_FLIGHT, Trigger.CONFIRMED): (State.IDLE, Action.CANCEL),
    (State.IN_FLIGHT, Trigger.FORGOTTEN): (State.IDLE, Action.CANCEL),
}


class Handshakes:
    """Acts on the table. Effects are appended to `out`."""

    def __init__(self, device: "Device"):
        self._device = device
        self._actions = {
            Action.SEND: self._send_first, Action.SEND_AGAIN: self._send_again,
            Action.WAIT: self._wait, Action.RENEW: self._renew, Action.GIVE_UP: self._give_up,
            Action.FINISH: self._finish, Action.CANCEL: self._cancel,
        }

    def want(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        """Something needs a new session."""
        allowed = self._possible(peer) and now.mono >= peer.may_initiate_at()
        self.fire(peer, Trigger.NEEDED if allowed else Trigger.TOO_SOON, now, out)

    def overdue(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        """No response came in time."""
        if now.mono < peer.may_initiate_at():  # we responded meanwhile
            self._arm_retransmit(peer, peer.handshake_sent)
        else:
            last = peer.tries >= MAX_TRIES
            self.fire(peer, Trigger.EXHAUSTED if last else Trigger.UNANSWERED, now, out)

    def fire(self, peer: Peer, trigger: Trigger, now: Instant | None, out: list[Effect]) -> None:
        step = TRANSITIONS.get((peer.state, trigger))
        if step is not None:
            peer.state, action = step
            self._actions[action](peer, now, out)

    def jitter(self) -> int:
        return int.from_bytes(self._device.entropy(4), "little") * REKEY_TIMEOUT_JITTER >> 32

    def _possible(self, peer: Peer) -> bool:
        return self._device.up and bool(peer.ss)

    def _send_first(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        peer.tries = 0
        self._send(peer, now, out)

    def _send_again(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        out.append(ClearSource(peer.public_key))
        self._send(peer, now, out)

    def _send(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        device, key = self._device, peer.public_key
        self._drop_flight(peer)
        stamp = tai64n.after(now.wall, peer.last_stamp, device.timestamp_floor)
        index = device.indices.new(peer)
        try:
            initiation, peer.flight = device.noise.initiate(
                key, bytes(peer.ss), index, device.entropy(32), tai64n.encode(stamp))
        except Refused as refusal:
            device.indices.free(index)
            device.reject(refusal.args[0], peer, out)
            self.fire(peer, Trigger.FORGOTTEN, now, out)
            return
        peer.tries += 1
        peer.last_stamp = stamp
        peer.handshake_sent = now.mono
        device.timers.disarm(key, Reason.INITIATE)
        self._arm_retransmit(peer, now.mono)
        out.append(AwaitResponse(key, index))
        out.append(SendToPeer(key, peer.cookies.add_macs(initiation.body(), now.mono)))
        out.append(Event("handshake-sent", key))

    def _arm_retransmit(self, peer: Peer, since: int) -> None:
        at = since + REKEY_TIMEOUT + self.jitter()
        self._device.timers.arm(peer.public_key, Reason.RETRANSMIT, at)

    def _wait(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        if self._possible(peer):
            self._device.timers.arm(peer.public_key, Reason.INITIATE, peer.may_initiate_at())

    def _renew(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        peer.tries = 0

    def _give_up(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        timers, key = self._device.timers, peer.public_key
        self._cancel(peer, now, out)
        if timers.at(key, Reason.PASSIVE_KEEPALIVE) is not None:
            timers.disarm(key, Reason.PASSIVE_KEEPALIVE)
            peer.held |= notices.DATA_RECEIVED
        if timers.at(key, Reason.WIPE_KEYS) is None:
            timers.arm(key, Reason.WIPE_KEYS, now.mono + WIPE_AFTER_TIME)
        out.append(PurgeStaged(key))
        out.append(Event("handshake-given-up", key))

    def _finish(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        peer.flight.wipe()
        peer.flight = None
        self._device.timers.disarm(peer.public_key, Reason.RETRANSMIT)

    def _cancel(self, peer: Peer, now: Instant | None, out: list[Effect]) -> None:
        if peer.flight is not None:
            out.append(AwaitResponse(peer.public_key, None))
        self._drop_flight(peer)
        self._device.timers.disarm(peer.public_key, Reason.RETRANSMIT, Reason.INITIATE)

    def _drop_flight(self, peer: Peer) -> None:
        if peer.flight is not None:
            self._device.indices.free(peer.flight.index)
            peer.flight.wipe()
            peer.flight = None
