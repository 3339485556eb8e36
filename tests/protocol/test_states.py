"""The tables of the protocol core are whole: every trigger in every state of a handshake,
every deadline, every word that it reports."""

import dataclasses

import pytest
from sim.network import pair
from sim.node import SECOND, SUITE, ipv4

from wgpy import constants
from wgpy.events import Kind, Reject, of_peer
from wgpy.notices import CONFIRMED
from wgpy.protocol import effects as fx
from wgpy.protocol.core import Core
from wgpy.protocol.deadlines import Deadlines
from wgpy.protocol.handshake import TRANSITIONS, Action, Handshakes, Trigger
from wgpy.protocol.peer import State
from wgpy.protocol.timers import Reason

A_TO_B = ipv4("10.0.0.1", "10.0.0.2")
B_TO_A = ipv4("10.0.0.2", "10.0.0.1")
IMPOSSIBLE = {(state, trigger) for state in (State.IDLE, State.WAITING)
              for trigger in (Trigger.UNANSWERED, Trigger.EXHAUSTED, Trigger.ANSWERED)}


def test_every_trigger_is_answered_in_every_state():
    assert set(TRANSITIONS) == {(state, trigger) for state in State for trigger in Trigger}
    assert {pair for pair, (_, action) in TRANSITIONS.items() if action is Action.IMPOSSIBLE} == IMPOSSIBLE
    assert set(Handshakes(Core(SUITE.chosen, bytes))._actions) == set(Action)


def test_only_an_initiation_in_flight_is_in_the_state_for_it():
    """What a state is entered with: an action that sends goes to IN_FLIGHT and no other does."""
    for (state, _), (then, action) in TRANSITIONS.items():
        if action in (Action.SEND, Action.SEND_AGAIN, Action.RENEW):
            assert then is State.IN_FLIGHT
        elif action in (Action.GIVE_UP, Action.FINISH, Action.CANCEL):
            assert then is State.IDLE
        elif action in (Action.NOTHING, Action.IMPOSSIBLE):
            assert then is state


@pytest.mark.parametrize("state, trigger", sorted(IMPOSSIBLE, key=str))
def test_an_impossible_step_raises_here_and_is_an_event_in_the_field(state, trigger, monkeypatch):
    net, a, b = pair()
    peer, out = a.device.peers[b.public], []
    peer.state = state
    with pytest.raises(AssertionError, match=state.name):
        a.device._handshakes.fire(peer, trigger, net.now(a), out)
    assert out == [] and peer.state is state
    monkeypatch.setattr(Core, "strict", False)
    a.device._handshakes.fire(peer, trigger, net.now(a), out)
    assert out == [fx.Event(Kind.IMPOSSIBLE, b.public)] and peer.state is state


def test_every_deadline_has_one_handler_named_after_what_it_waits_for():
    table = Deadlines(None, None, None).handlers
    names = {reason: handler.__name__ for reason, handler in table.items()}
    assert set(table) == set(Reason) and len(set(names.values())) == len(Reason)
    for reason, name in names.items():
        if reason is not Reason.PERSISTENT_KEEPALIVE:  # configured
            for constant in name.removesuffix("_over").split("_and_"):
                assert hasattr(constants, constant.upper()), f"{reason}: {name}"


def test_words_have_one_form_and_a_text():
    for words in (Kind, Reject):
        for word in words:
            assert word == word.name.lower() == str(word) and word.replace("_", "").isalpha()
            assert word.text and not word.text.endswith(".")
    assert of_peer(Kind.REJECTED, Reject.UNKNOWN_PEER) == "rejected_unknown_peer"
    assert of_peer(Kind.HANDSHAKE_SENT) == "handshake_sent"


def test_a_promotion_of_a_session_that_was_forgotten_confirms_nothing():
    """The notice was on its way when the private key changed: there is no session, so none
    is reported, and the handshake that begins meanwhile goes on."""
    net, a, b = pair()
    net.send(a, A_TO_B)
    net.run(1)
    index, = b.plane.live_indices(0)
    assert b.events("handshake_complete")
    b.run(b.device.set_private_key(SUITE.new_key(), net.now(b)), net.now(b))
    known = b.device.peers[a.public]
    b.run(b.device.notice(a.public, 1, net.now(b)), net.now(b))
    before, flight = known.last_handshake, known.flight
    assert flight is not None
    assert b.device.notice(a.public, CONFIRMED, net.now(b), index) == []
    assert known.flight is flight and known.last_handshake == before


def test_the_plane_says_once_which_indices_are_free():
    """Rotation by installs and promotions from both sides: no index is told twice or forgotten."""
    net, a, b = pair()
    told = {a.name: [], b.name: []}
    for node in (a, b):
        freed = node.device.freed

        def note(peer, indices, freed=freed, name=node.name):
            told[name] += indices
            freed(peer, indices)
        node.device.freed = note
    for turn in range(40):
        net.send((a, b)[turn % 2], (A_TO_B, B_TO_A)[turn % 2])
        net.run(61)
    for node in (a, b):
        live = node.plane.live_indices(0)
        assert sorted([*told[node.name], *live]) == sorted(node.births) and len(told[node.name]) > 10
        assert set(live) == set(node.device.indices._owner)
    assert net.mono > 2000 * SECOND


def test_effects_are_plain_data_without_a_way_back():
    """Nothing in an effect can be called: who carries it out cannot reach the core."""
    for kind in fx.Effect.__args__:
        assert dataclasses.is_dataclass(kind)
        assert not [f.name for f in dataclasses.fields(kind) if "Callable" in str(f.type)]
