"""What the protocol core reports: words with a line each for a person. Counters, labels of
metrics and `wgpy node why` show a word as it stands here, in the form of a drop's name."""

from enum import StrEnum
from typing import Self


class _Word(StrEnum):
    """A string with an explanation, `text`."""
    text: str

    def __new__(cls, word: str, text: str) -> Self:
        member = str.__new__(cls, word)
        member._value_, member.text = word, text
        return member


class Reject(_Word):
    """Why an admitted handshake message was refused. What is refused before, by the plane,
    is a drop (wgpy.drops)."""
    MALFORMED = "malformed", "no handshake message by type and length"
    DOWN = "down", "the interface is down or has no private key"
    UNKNOWN_PEER = "unknown_peer", "an initiation from a public key that no peer has"
    FLOOD = "flood", "initiations of one peer closer than 20 ms"
    ZERO_DH = "zero_dh", "a public key of low order"
    STATIC = "static", "the sealed static key cannot be opened"
    TIMESTAMP = "timestamp", "the sealed time stamp cannot be opened: not the peer that it claims to be"
    REPLAY = "replay", "a time stamp that is not later than the peer's latest"
    RESPONSE = "response", "a response that cannot be opened: altered, or another preshared key"
    UNKNOWN_INDEX = "unknown_index", "an answer to nothing that waits for one"
    COOKIE_UNEXPECTED = "cookie_unexpected", "a cookie reply to a message that has had one, or to none"
    COOKIE_INVALID = "cookie_invalid", "a cookie reply that cannot be opened"


class Kind(_Word):
    """Of an event; `text` is the line of the log."""
    HANDSHAKE_SENT = "handshake_sent", "sending handshake initiation"
    HANDSHAKE_COMPLETE = "handshake_complete", "handshake complete"
    HANDSHAKE_GIVEN_UP = "handshake_given_up", "handshake did not complete, giving up"
    UNDER_LOAD = "under_load", "under load: handshakes need a cookie"
    LOAD_OVER = "load_over", "load is over"
    REJECTED = "rejected", "rejected"
    STAMPS_BACK = "stamps_back", ("this peer's time stamps went back: its initiations are refused until they are past "
                                  "the greatest (its clock was wrong, or somebody replays old ones)")
    IMPOSSIBLE = "impossible", "a step that the state machine of handshakes does not have (please report it)"


WARNINGS = frozenset({Kind.UNDER_LOAD, Kind.LOAD_OVER, Kind.STAMPS_BACK, Kind.IMPOSSIBLE})


def of_peer(kind: Kind, reason: Reject | None = None) -> str:
    """The name under which a peer's events are counted: rejected_replay, handshake_sent."""
    return f"{kind}_{reason}" if reason else str(kind)
