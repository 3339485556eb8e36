"""The dialogue at the console of crypto's guest (docs/console.md): lines are typed, a command at a
time is carried out, each ends with one line `ok` or `error: REASON`. It knows no terminal: bytes go
in by feed(), and out by `put`."""

import logging
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from wgpy.admin.typed import Editor, Interrupt, Line, Mode
from wgpy.errors import WgpyError

log = logging.getLogger(__name__)

VERSION = 1
MAX_ANSWER = 4 << 20  # bytes of what a command says
_END = b"."           # the line that ends a text
_MAX_REASON = 1000
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


class Turn:
    """A command that is carried out, until ok() or error(); what comes later is passed over. `take`
    is what becomes of the lines that it asks for."""

    def __init__(self, console: "Console"):
        self._console: Console | None = console
        self._said = 0
        self.mode = Mode.COMMAND
        self.take: Callable[[Line], None] | None = None

    @property
    def program(self) -> bool:
        """A program types, which said `hello`."""
        return self._console is not None and self._console.program

    def say(self, text: str) -> None:
        """Lines of the answer; each begins with a blank, so that none is taken for its end."""
        for line in text.splitlines():
            data = b" " + _shown(line) + b"\r\n"
            self._said += len(data)
            if self._console is not None and self._said <= MAX_ANSWER:
                self._console.put(data)

    def ok(self) -> None:
        """It was done, and what it says was said."""
        self._end(b"ok" if self._said <= MAX_ANSWER else b"error: the answer is longer than %d bytes" % MAX_ANSWER)

    def error(self, reason: str) -> None:
        """Why nothing was done."""
        self._end(b"error: " + _shown(reason[:_MAX_REASON] or "no reason is known"))

    def ask_secret(self, prompt: str, then: Callable[[bytearray], None]) -> None:
        """The next line goes to `then`, is not echoed, and is overwritten after that."""
        def take(line: Line) -> None:
            self.take = None
            try:
                if line.wrong:
                    return self.error(line.wrong)
                if not line.data:
                    return self.ask_secret(prompt, then)
                then(line.data)
            finally:
                line.data[:] = bytes(len(line.data))
        self._ask(Mode.SECRET, prompt, take)

    def ask_text(self, prompt: str, most: int, then: Callable[[bytes], None]) -> None:
        """The lines up to one that is a point go to `then`, each with a newline; `most` bytes of them."""
        text, wrong, number = bytearray(), "", 0

        def take(line: Line) -> None:
            nonlocal wrong, number
            if line.data == _END:
                self.take = None
                return self.error(wrong) if wrong else then(bytes(text))
            number += 1
            if line.wrong:
                wrong = wrong or f"line {number}: {line.wrong}"
            elif len(text) + len(line.data) < most:
                text.extend(line.data + b"\n")
            else:
                wrong = wrong or f"more than {most} bytes"
        self._ask(Mode.TEXT, prompt, take)

    def leave(self) -> None:
        """Nobody waits for it any more."""
        self._console, self.take = None, None

    def _ask(self, mode: Mode, prompt: str, take: Callable[[Line], None]) -> None:
        if self._console is not None:
            self.mode, self.take = mode, take
            self._console.prompt(prompt)

    def _end(self, line: bytes) -> None:
        console = self._console
        self.leave()
        if console is not None:
            console.ended(line)


class Command(NamedTuple):
    """`usage` and `about` are for `help`; run(turn, words) begins it, with the words behind its
    name, and sees to it that the turn ends."""
    usage: str
    about: str
    run: Callable[[Turn, list[str]], None]


class Console:
    """`put(data)` sends bytes, and keeps what cannot leave; `clear()`: nothing is kept, so that a
    command may be begun; `later(call)`: when others had their turn. `asking()`: crypto waits for a
    passphrase; a person is asked for it without having typed `unlock`."""

    def __init__(self, node: str, commands: Mapping[str, Command], put: Callable[[bytes], None], clear: Callable[[], bool],
                 later: Callable[[Callable[[], None]], None], asking: Callable[[], bool]):
        self._node, self.put, self._clear, self._later, self._asking = node, put, clear, later, asking
        self._commands = dict(commands) | {
            "help": Command("help", "this list", self._help),
            "hello": Command("hello WORD", "for programs: from now on no echo and no prompt", self._hello)}
        self._editor, self._typed = Editor(), bytearray()
        self._turn: Turn | None = None
        self._waits = self._declined = False
        self.program = False

    # the terminal's side

    def greet(self) -> None:
        """The terminal is there, or there again: whatever was before is forgotten."""
        self.hang_up()
        self.put(_shown(f"crypto's console {VERSION}, node {self._node}; help tells what can be typed") + b"\r\n")
        self._rest()

    def hang_up(self) -> None:
        """The terminal is gone: half a line, a text, a secret are forgotten, nobody waits for an answer."""
        if self._turn is not None:
            self._turn.leave()
        self._turn = None
        self._editor.clear()
        self._typed[:] = bytes(len(self._typed))
        self._typed.clear()
        self.program = self._declined = False

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """What was typed. To be called only while `listens`; never raises."""
        self._typed += data
        self.work()

    @property
    def listens(self) -> bool:
        """All that was typed was taken, and no command is under way that asks for nothing."""
        return not self._typed and (self._turn is None or self._turn.take is not None)

    def work(self) -> None:
        """Takes a line of what was typed, if one may be taken; one a call, so that many share with others."""
        if self._waits or not self._typed or (self._turn is not None and self._turn.take is None) or not self._clear():
            return
        event, echo = self._editor.take(self._typed, self._turn.mode if self._turn else Mode.COMMAND)
        if not self.program:
            self.put(echo + (b"\r\n" if event else b""))
        if isinstance(event, Interrupt):
            self._interrupted(event.anew)
        elif event is not None and self._turn is not None and (take := self._turn.take) is not None:
            _guarded(self._turn, lambda: take(event))
        elif event is not None:
            self._command(event)
        if self._typed and not self._waits:
            self._waits = True
            self._later(self._again)

    def _again(self) -> None:
        self._waits = False
        self.work()

    # the commands' side

    def ended(self, line: bytes) -> None:
        """A turn is over."""
        self._turn = None
        self.put(line + b"\r\n")
        self._rest()
        if not self._waits:
            self._waits = True
            self._later(self._again)

    def prompt(self, text: str) -> None:
        """Says what is asked for."""
        self.put(b"? " + _shown(text) + b"\r\n" if self.program else _shown(text) + b": ")

    def crypto_asks(self) -> None:
        """It waits for a passphrase: a person who types nothing is asked for it."""
        if self._turn is None and self._editor.empty and not self.program:
            self.put(b"\r\n")
            self._rest()

    def _rest(self) -> None:
        """Nothing is under way."""
        if self.program:
            return
        if self._asking() and not self._declined:
            self._begin("unlock", [])
        else:
            self.put(b"> ")

    def _interrupted(self, anew: bool) -> None:
        """Whoever begins anew need not know what it interrupts."""
        if anew:
            typed, self._typed = self._typed, bytearray()
            self.greet()
            self._typed = typed
            return
        self.program, self._declined = False, True
        if self._turn is not None:
            self._turn.error("interrupted")
        else:
            self._rest()

    def _command(self, line: Line) -> None:
        words = line.data.decode("ascii", "replace").split()
        if line.wrong:
            Turn(self).error(line.wrong)
        elif not words:
            self._rest()
        elif words[0] not in self._commands:
            Turn(self).error(f"no such command: {words[0][:40]}; help tells which there are")
        else:
            self._begin(words[0], words[1:])

    def _begin(self, name: str, words: list[str]) -> None:
        turn = self._turn = Turn(self)
        if name == "unlock":
            self._declined = False
        _guarded(turn, lambda: self._commands[name].run(turn, words))

    def _help(self, turn: Turn, _words: list[str]) -> None:
        width = max(len(c.usage) for c in self._commands.values())
        for command in self._commands.values():
            turn.say(f"{command.usage:{width}}  {command.about}")
        turn.ok()

    def _hello(self, turn: Turn, words: list[str]) -> None:
        self.program = True
        turn.say(f"wgpy {VERSION} {self._node} {'asks' if self._asking() else 'open'} {' '.join(words)[:64]}")
        turn.ok()


def _guarded(turn: Turn, action: Callable[[], None]) -> None:
    """Whatever happens, the turn ends: a console that waits for ever is none."""
    try:
        action()
    except (WgpyError, OSError) as e:
        turn.error(str(e))
    except Exception:
        log.exception("console: internal error")
        turn.error("internal error")


def _shown(text: str) -> bytes:
    return _UNPRINTABLE.sub("?", text).encode("ascii")
