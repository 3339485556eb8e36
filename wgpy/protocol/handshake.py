"""Our own initiations: when one is sent, sent again, given up. The whole behaviour
stands in one table, what cannot happen too; responding to the peer's initiations keeps no
state.

An initiation of the peer's does not end ours: when both sides start at once both
handshakes complete, and the plane keeps either session usable.
"""

from collections.abc import Callable
from enum import Enum, auto

from wgpy import notices
from wgpy.constants import REKEY_ATTEMPT_TIME, REKEY_TIMEOUT, WIPE_AFTER_TIME
from wgpy.events import Kind
from wgpy.protocol import tai64n
from wgpy.protocol.core import Core
from wgpy.protocol.effects import AwaitResponse, ClearSource, Effect, Event, PurgeStaged, SendToPeer
from wgpy.protocol.noise import Refused
from wgpy.protocol.peer import Peer, State
from wgpy.protocol.timers import Instant, Reason

MAX_TRIES = REKEY_ATTEMPT_TIME // REKEY_TIMEOUT


class Trigger(Enum):
    """What can happen to our own initiation."""
    NEEDED = auto()      # something wants a session, and an initiation is allowed
    TOO_SOON = auto()    # something wants a session, and none is allowed now
    UNANSWERED = auto()  # 5 s and jitter without a response
    EXHAUSTED = auto()   # the same after the last try
    ANSWERED = auto()    # a valid response came
    CONFIRMED = auto()   # the peer's own handshake gave a session
    FORGOTTEN = auto()   # interface down, key changed, peer removed


class Action(Enum):
    """What a row of TRANSITIONS has done; Handshakes has a method for each."""
    NOTHING = auto()
    SEND = auto()
    SEND_AGAIN = auto()
    WAIT = auto()
    RENEW = auto()       # count the tries anew (send.c: is_retry false)
    GIVE_UP = auto()
    FINISH = auto()      # the index goes on living as that of the keypair
    CANCEL = auto()
    IMPOSSIBLE = auto()  # no such trigger in this state: only IN_FLIGHT awaits a response


TRANSITIONS: dict[tuple[State, Trigger], tuple[State, Action]] = {
    (State.IDLE, Trigger.NEEDED): (State.IN_FLIGHT, Action.SEND),
    (State.IDLE, Trigger.TOO_SOON): (State.WAITING, Action.WAIT),
    (State.IDLE, Trigger.UNANSWERED): (State.IDLE, Action.IMPOSSIBLE),
    (State.IDLE, Trigger.EXHAUSTED): (State.IDLE, Action.IMPOSSIBLE),
    (State.IDLE, Trigger.ANSWERED): (State.IDLE, Action.IMPOSSIBLE),
    (State.IDLE, Trigger.CONFIRMED): (State.IDLE, Action.NOTHING),
    (State.IDLE, Trigger.FORGOTTEN): (State.IDLE, Action.NOTHING),
    (State.WAITING, Trigger.NEEDED): (State.IN_FLIGHT, Action.SEND),
    (State.WAITING, Trigger.TOO_SOON): (State.WAITING, Action.WAIT),
    (State.WAITING, Trigger.UNANSWERED): (State.WAITING, Action.IMPOSSIBLE),
    (State.WAITING, Trigger.EXHAUSTED): (State.WAITING, Action.IMPOSSIBLE),
    (State.WAITING, Trigger.ANSWERED): (State.WAITING, Action.IMPOSSIBLE),
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

    def __init__(self, core: Core):
        self._core = core
        self._actions: dict[Action, Callable[..., None]] = {
            Action.NOTHING: self._nothing, Action.IMPOSSIBLE: self._impossible,
            Action.SEND: self._send_first, Action.SEND_AGAIN: self._send_again,
            Action.WAIT: self._wait, Action.RENEW: self._renew, Action.GIVE_UP: self._give_up,
            Action.FINISH: self._finish, Action.CANCEL: self._cancel,
        }

    def want(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        """Something needs a new session."""
        self.fire(peer, Trigger.NEEDED if self._core.may_initiate(peer, now) else Trigger.TOO_SOON, now, out)

    def overdue(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        """No response came in time."""
        if now.mono < peer.may_initiate_at():  # we responded meanwhile
            self._arm_retransmit(peer, peer.handshake_sent)
        else:
            last = peer.tries >= MAX_TRIES
            self.fire(peer, Trigger.EXHAUSTED if last else Trigger.UNANSWERED, now, out)

    def fire(self, peer: Peer, trigger: Trigger, now: Instant | None, out: list[Effect]) -> None:
        """`now` may be None for FORGOTTEN."""
        peer.state, action = TRANSITIONS[peer.state, trigger]
        self._actions[action](peer, now, out)

    def _nothing(self, peer: Peer, now: Instant | None, out: list[Effect]) -> None:
        pass

    def _impossible(self, peer: Peer, now: Instant | None, out: list[Effect]) -> None:
        if self._core.strict:
            raise AssertionError(f"no such trigger in state {peer.state.name}")
        out.append(Event(Kind.IMPOSSIBLE, peer.public_key))

    def _send_first(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        peer.tries = 0
        self._send(peer, now, out)

    def _send_again(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        out.append(ClearSource(peer.public_key))
        self._send(peer, now, out)

    def _send(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        core, key = self._core, peer.public_key
        self._drop_flight(peer)
        stamp = core.stamp(peer, now)
        index = core.indices.new(peer)
        try:
            initiation, peer.flight = core.noise.initiate(
                key, bytes(peer.ss), index, core.noise.ephemeral(core.entropy), tai64n.encode(stamp))
        except Refused as refusal:
            core.indices.free(index)
            core.reject(refusal.reason, peer, out)
            self.fire(peer, Trigger.FORGOTTEN, now, out)
            return
        peer.tries += 1
        peer.last_stamp = stamp
        peer.handshake_sent = now.mono
        core.timers.disarm(key, Reason.INITIATE)
        self._arm_retransmit(peer, now.mono)
        out.append(AwaitResponse(key, index))
        out.append(SendToPeer(key, peer.cookies.add_macs(initiation.body(), now.mono)))
        out.append(Event(Kind.HANDSHAKE_SENT, key))

    def _arm_retransmit(self, peer: Peer, since: int) -> None:
        at = since + REKEY_TIMEOUT + self._core.jitter()
        self._core.timers.arm(peer.public_key, Reason.RETRANSMIT, at)

    def _wait(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        if self._core.can_initiate(peer):
            self._core.timers.arm(peer.public_key, Reason.INITIATE, peer.may_initiate_at())

    def _renew(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        peer.tries = 0

    def _give_up(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        timers, key = self._core.timers, peer.public_key
        self._cancel(peer, now, out)
        if timers.at(key, Reason.PASSIVE_KEEPALIVE) is not None:
            timers.disarm(key, Reason.PASSIVE_KEEPALIVE)
            peer.held |= notices.DATA_RECEIVED
        if timers.at(key, Reason.WIPE_KEYS) is None:
            timers.arm(key, Reason.WIPE_KEYS, now.mono + WIPE_AFTER_TIME)
        out.append(PurgeStaged(key))
        out.append(Event(Kind.HANDSHAKE_GIVEN_UP, key))

    def _finish(self, peer: Peer, now: Instant, out: list[Effect]) -> None:
        if peer.flight is not None:
            peer.flight.wipe()
            peer.flight = None
        self._core.timers.disarm(peer.public_key, Reason.RETRANSMIT)

    def _cancel(self, peer: Peer, now: Instant | None, out: list[Effect]) -> None:
        if peer.flight is not None:
            out.append(AwaitResponse(peer.public_key, None))
        self._drop_flight(peer)
        self._core.timers.disarm(peer.public_key, Reason.RETRANSMIT, Reason.INITIATE)

    def _drop_flight(self, peer: Peer) -> None:
        if peer.flight is not None:
            self._core.indices.free(peer.flight.index)
            peer.flight.wipe()
            peer.flight = None
