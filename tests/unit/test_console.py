"""The dialogue at a console: each command ends with one line, whatever is typed (I1)."""

import pytest

from wgpy.admin import console as module
from wgpy.admin.console import Command, Console, Turn
from wgpy.errors import WgpyError


class Desk:
    """A console, and whoever sits at it."""

    def __init__(self):
        self.out, self.calls, self.turns, self.told = b"", [], [], []
        self.asking, self.full = False, False
        commands = {"do": Command("do WORD", "something", lambda turn, words: (turn.say(" ".join(words)), turn.ok())),
                    "wait": Command("wait", "for the test", lambda turn, words: self.turns.append(turn)),
                    "fail": Command("fail", "is refused", self._fail), "crash": Command("crash", "has a bug", lambda t, w: 1 / 0),
                    "unlock": Command("unlock", "", lambda turn, words: turn.ask_secret("passphrase", self._secret(turn))),
                    "text": Command("text", "", lambda turn, words: turn.ask_text("a text", 20, self._text(turn)))}
        self.console = Console("a", commands, self._put, lambda: not self.full, self.calls.append, lambda: self.asking)
        self.console.greet()

    def _put(self, data):
        self.out += data

    def _fail(self, turn, words):
        raise WgpyError("no\nway \x1b[31m")

    def _secret(self, turn):
        def then(secret):
            self.told.append(bytes(secret))
            turn.ok()
        return then

    def _text(self, turn):
        def then(text):
            self.told.append(text)
            turn.ok()
        return then

    def types(self, data):
        """What is shown for it."""
        before = len(self.out)
        self.console.feed(data)
        while self.calls:
            self.calls.pop(0)()
        return self.out[before:].decode("ascii")


def test_a_command_is_echoed_answered_and_ended_once():
    desk = Desk()
    assert desk.out == b"crypto's console 1, node a; help tells what can be typed\r\n> "
    assert desk.types(b"do this\r") == "do this\r\n this\r\nok\r\n> "
    assert desk.types(b"fail\r\n").endswith("error: no?way ?[31m\r\n> ")
    assert desk.types(b"crash\n") == "crash\r\nerror: internal error\r\n> "
    assert "error: no such command: dow" in desk.types(b"dow\r")
    assert desk.types(b"\r") == "\r\n> "
    assert "do WORD" in desk.types(b"help\r") and desk.types(b"help\r").endswith("ok\r\n> ")


@pytest.mark.parametrize("typed, shown", [
    (b"dox\x08 a\x7fb\r", " b\r\nok"), (b"nonsense\x15do it\r", " it\r\nok"), (b"do\ta\r", " a\r\nok"),
    (b"nonsense\x03do it\r", " it\r\nok"), (b"do \x1b[A\r", "error: a control character"), (b"do \x00\r", "error: a control character"),
    (b"do \xc3\xa4\r", "error: a character that is not printable ASCII"), (b"d" * 5000 + b"\r", "error: a line has at most 1000 bytes"),
    (b"d" * 5000 + b"\x15do it\r", " it\r\nok"), (b"do" + b" " * 500 + b"x\r", " x\r\nok")])
def test_a_line_is_edited_or_refused_as_a_whole(typed, shown):
    desk = Desk()
    said = desk.types(typed)
    assert shown in said and said.count("ok\r\n") + said.count("error: ") == 1
    assert desk.types(b"do more\r").endswith(" more\r\nok\r\n> ")


def test_many_lines_at_once_are_taken_one_after_the_other():
    desk = Desk()
    desk.console.feed(b"do 1\r\ndo 2\r\nwait\r\ndo 3\r\n")
    assert b" 1" in desk.out and b" 2" not in desk.out, "others have their turn in between"
    while desk.calls:
        desk.calls.pop(0)()
    assert b" 2" in desk.out and b" 3" not in desk.out and not desk.console.listens
    desk.turns[0].ok()
    while desk.calls:
        desk.calls.pop(0)()
    assert b" 3" in desk.out and desk.console.listens


def test_no_command_begins_while_an_answer_waits_to_be_read():
    desk = Desk()
    desk.full = True
    assert desk.types(b"do it\r") == ""
    assert not desk.console.listens
    desk.full = False
    desk.console.work()
    assert desk.out.endswith(b" it\r\nok\r\n> ")


def test_a_secret_is_not_shown_and_not_kept():
    desk = Desk()
    assert desk.types(b"unlock\r") == "unlock\r\npassphrase: "
    assert desk.types(b"corx\x7frect\x01\xff horse\r") == "\r\nok\r\n> "
    assert desk.told == [b"correct\x01\xff horse"]
    assert desk.types(b"unlock\r\r").endswith("passphrase: \r\npassphrase: ") and desk.types(b"\x03").endswith("interrupted\r\n> ")
    assert "at most 8192 bytes" in desk.types(b"unlock\r" + b"x" * 9000 + b"\r")
    assert desk.types(b"unlock\rsecr\x03").endswith("error: interrupted\r\n> ")
    assert len(desk.told) == 1


def test_a_text_ends_with_a_point_and_is_taken_as_a_whole():
    desk = Desk()
    assert desk.types(b"text\rone\r\n\ttw\xc3\xb6\r.\r").endswith("ok\r\n> ")
    assert desk.told == ["one\n\ttwö\n".encode()]
    for wrong, reason in ((b"x" * 30, "more than 20 bytes"), (b"one\r\x1b", "line 2: a control character"),
                          (b"x" * 5000, "line 1: a line has")):
        said = desk.types(b"text\r" + wrong + b"\rmore\r.\r")
        assert reason in said and said.count("error: ") == 1
    assert desk.types(b"text\rone\rtwo\x03").endswith("error: interrupted\r\n> ") and len(desk.told) == 1


def test_who_hangs_up_leaves_nothing_to_the_next():
    desk = Desk()
    for typed in (b"do half", b"text\rone\r", b"unlock\rsec", b"wait\r", b"wait\rdo it\r", b"hello x\r"):
        desk.types(typed)
        desk.console.hang_up()
        for turn in desk.turns:
            turn.say("of somebody else")
            turn.ok()
        desk.console.greet()
        assert desk.types(b"do this\r") == "do this\r\n this\r\nok\r\n> "
    assert b"somebody" not in desk.out and desk.told == []


@pytest.mark.parametrize("before", [b"", b"do hal", b"text\rone\r", b"unlock\rsec", b"hello x\r"])
def test_who_cannot_be_seen_to_come_begins_anew(before):
    desk = Desk()
    desk.types(before)
    assert desk.types(b"\x0cdo it\r").endswith("crypto's console 1, node a; help tells what can be typed\r\n> do it\r\n it\r\nok\r\n> ")


def test_a_program_says_hello_after_whatever_it_finds():
    for before in (b"", b"do hal", b"text\rone\r", b"unlock\rsec", b"hello x\r", b"hello x\runlock\r"):
        desk = Desk()
        desk.types(before)
        said = desk.types(b"\x03hello 4711\n")
        assert "\r\n wgpy 1 a open 4711\r\nok\r\n" in said
        assert desk.types(b"do it\n") == " it\r\nok\r\n"
        assert desk.types(b"unlock\n") == "? passphrase\r\n" and desk.types(b"secret\n") == "ok\r\n"
        assert desk.told == [b"secret"]


def test_a_person_is_asked_when_crypto_asks_and_may_decline():
    desk = Desk()
    desk.asking = True
    desk.console.crypto_asks()
    assert desk.out.endswith(b"\r\npassphrase: ")
    assert desk.types(b"\x03").endswith("error: interrupted\r\n> ")
    assert desk.types(b"do it\r").endswith(" it\r\nok\r\n> ")
    assert desk.types(b"unlock\r").endswith("passphrase: ")
    assert desk.types(b"x\r").endswith("ok\r\npassphrase: "), "and again while crypto still asks"
    desk.console.greet()
    assert desk.out.endswith(b"passphrase: ")
    desk.types(b"\x03hello 1\r")
    desk.console.crypto_asks()
    assert desk.out.endswith(b"1 a asks 1\r\nok\r\n"), "a program is not disturbed"


def test_what_is_typed_is_not_disturbed_either():
    desk = Desk()
    desk.types(b"do ")
    desk.asking = True
    desk.console.crypto_asks()
    assert desk.out.endswith(b"> do ")


def test_an_answer_is_bounded_and_said_not_to_be_whole(monkeypatch):
    monkeypatch.setattr(module, "MAX_ANSWER", 100)
    desk = Desk()
    desk.types(b"wait\r")
    (turn,) = desk.turns
    for _ in range(50):
        turn.say("ten bytes.")
    turn.ok()
    assert desk.out.count(b"ten") < 10 and desk.out.endswith(b"error: the answer is longer than 100 bytes\r\n> ")


def test_no_line_of_an_answer_is_taken_for_its_end():
    desk = Desk()
    desk.types(b"wait\r")
    desk.turns[0].say("ok\nerror: no\r\n\x1b\n\nok")
    desk.turns[0].ok()
    lines = desk.out.split(b"\r\n")
    assert lines.count(b"ok") == 1 and not any(line.startswith(b"error") for line in lines) and b"\x1b" not in desk.out


def test_a_turn_that_is_over_says_nothing_more():
    desk = Desk()
    desk.types(b"wait\r")
    turn: Turn = desk.turns[0]
    turn.ok()
    shown = desk.out
    turn.say("late")
    turn.error("late")
    turn.ok()
    turn.ask_secret("late", lambda secret: None)
    assert desk.out == shown
