"""Fuzzing of the console of crypto's guest.

Invariant: whatever bytes come, in whatever pieces, with hang-ups in between, feed() does not raise; no
more answers end than lines came; what is kept of what was typed and what is shown for it is bounded;
and who says hello then is answered. Site files and secrets arrive as they were typed or not at all.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from wgpy.admin.console import Command, Console
from wgpy.admin.typed import Mode

PIECE = 4096
WORDS = [b"do", b"ask", b"text", b"both", b"wait", b"unlock", b"help", b"hello", b"hello x", b"\r", b"\n", b"\r\n", b"\x03", b"\x0c",
         b"\x15", b"\x7f", b"\t", b".", b".\r", b"\x1b[A", b"\0", b"\xff\xc3\xa4", b" " * 900, b"x" * 990, b"y" * 4090, b"z" * 8190]
pieces = st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=40)), max_size=12).map(lambda p: b"".join(p)[:PIECE])
steps = st.lists(st.one_of(pieces, st.sampled_from(["hang-up", "asks", "full", "free", "done"])), max_size=25)


class Desk:
    """Commands that say, ask, wait, and are answered later."""

    def __init__(self):
        self.out, self.calls, self.waiting, self.texts = bytearray(), [], [], []
        self.full = self.asking = False

        def both(turn, words):
            turn.ask_secret("one", lambda one: turn.ask_text("two", 100, lambda two: turn.ok()))
        commands = {"do": lambda turn, words: (turn.say("done\r\nok"), turn.ok()), "both": both,
                    "ask": lambda turn, words: turn.ask_secret("secret", lambda secret: turn.error(repr(bytes(secret)))),
                    "unlock": lambda turn, words: turn.ask_secret("passphrase", lambda secret: self.waiting.append(turn)),
                    "text": lambda turn, words: turn.ask_text("text", 5000, lambda text: (self.texts.append(text), turn.ok())),
                    "wait": lambda turn, words: self.waiting.append(turn)}
        self.console = Console("a", {n: Command(n, n, c) for n, c in commands.items()}, self.out.extend,
                               lambda: not self.full, self.calls.append, lambda: self.asking)
        self.console.greet()

    def settle(self):
        while self.calls:
            self.calls.pop(0)()

    def step(self, what):
        if isinstance(what, bytes):
            if self.console.listens:
                self.console.feed(what)
            return
        if what == "hang-up":
            self.console.greet()
        elif what == "asks":
            self.asking = True
            self.console.crypto_asks()
        elif what == "done":
            for turn in self.waiting:
                turn.ok()
            self.waiting.clear()
            self.asking = False
        else:
            self.full = what == "full"
            self.console.work()


def ends(out: bytes) -> int:
    return sum(line == b"ok" or line.startswith(b"error: ") for line in out.replace(b"> ", b"\r\n").split(b"\r\n"))


@settings(deadline=None)
@given(steps)
def test_whatever_comes_the_console_stays_whole(todo):
    desk, lines = Desk(), 0
    for what in todo:
        before = len(desk.out)
        desk.step(what)
        desk.settle()
        if isinstance(what, bytes):
            lines += sum(what.count(bytes([end])) for end in b"\r\n\x03\x0c")
            # echo of three bytes for each, and a short answer for each
            assert len(desk.out) - before <= 16 * PIECE + 1100 * (len(what) + 1)
        assert len(desk.console._typed) <= PIECE and len(desk.console._editor._line) <= Mode.SECRET.value
    assert ends(bytes(desk.out)) <= lines + 1
    desk.step("free")
    desk.settle()
    desk.asking = False
    while desk.waiting:
        desk.step("done")
        desk.settle()
    desk.step(b"\x03hello sesame\r")
    desk.settle()
    assert desk.out.endswith(b" wgpy 1 a open sesame\r\nok\r\n")


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=60), max_size=20), st.integers(1, 50))
def test_a_text_arrives_as_it_was_typed_in_pieces_of_any_size(lines, size):
    desk = Desk()
    lines = [line for line in lines if line != "."]
    typed = b"text\r" + b"".join(line.encode() + b"\r\n" for line in lines) + b".\r"
    for at in range(0, len(typed), size):
        desk.console.feed(typed[at:at + size])
        desk.settle()
    assert desk.texts == [b"".join(line.encode() + b"\n" for line in lines)]


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=200).filter(lambda b: not set(b) & set(b"\r\n\x03\x08\x0c\x15\x7f")))
def test_a_secret_arrives_as_it_was_typed(secret):
    desk = Desk()
    desk.console.feed(b"ask\r" + secret + b"\r")
    desk.settle()
    assert desk.out.endswith(b"error: " + repr(secret).encode() + b"\r\n> ")
