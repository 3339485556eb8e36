"""What is typed at a console, made into lines (docs/console.md). Whoever types may be a program, or
hostile: a line is bounded, and so is what is echoed of it."""

import re
from enum import Enum
from typing import NamedTuple

INTERRUPT, ANEW, ERASE_LINE = 0x03, 0x0C, 0x15
_CR, _LF, _TAB, _ERASE = 0x0D, 0x0A, 0x09, (0x08, 0x7F)
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_UNSHOWN = re.compile(rb"[^\x20-\x7e]")


class Mode(Enum):
    """What a line is: its bound in bytes, and whether it may be seen."""
    COMMAND = 1000
    TEXT = 4096
    SECRET = 8192


class Line(NamedTuple):
    """A line that has ended; `wrong` says why it is none, and then it is empty. The bytes of a
    secret are the receiver's to overwrite."""
    data: bytearray
    wrong: str = ""


class Interrupt(NamedTuple):
    """What is under way is to end. `anew`: somebody else sits here now."""
    anew: bool


class Editor:
    """The line that is being typed. COMMAND takes printable ASCII, TEXT tabs and whatever is no
    control character, SECRET any byte that ends or erases nothing."""

    def __init__(self) -> None:
        self._line, self._wrong, self._after_cr = bytearray(), "", False

    @property
    def empty(self) -> bool:
        """Nothing of a line was typed yet."""
        return not self._line and not self._wrong

    def clear(self) -> None:
        """Forgets the line, and overwrites it."""
        self._line[:] = bytes(len(self._line))
        self._line, self._wrong = bytearray(), ""

    def take(self, typed: bytearray, mode: Mode) -> tuple[Line | Interrupt | None, bytes]:
        """Takes from the front of `typed` up to the end of a line, and overwrites it there. The line,
        when it has ended, and what of it is to be echoed."""
        echo = bytearray()
        while typed:
            match = _CONTROL.search(typed)
            plain = match.start() if match else len(typed)
            if plain:
                self._add(typed[:plain], mode, echo)
                typed[:plain] = bytes(plain)
                del typed[:plain]
                self._after_cr = False
                continue
            byte = typed.pop(0)
            follows, self._after_cr = self._after_cr, byte == _CR
            if byte in (INTERRUPT, ANEW):
                self.clear()
                return Interrupt(byte == ANEW), bytes(echo)
            if byte == _CR or byte == _LF and not follows:
                line, self._line = Line(self._line, self._wrong), bytearray()
                self._wrong = ""
                return line, bytes(echo)
            if byte != _LF:
                self._control(byte, mode, echo)
        return None, bytes(echo)

    def _control(self, byte: int, mode: Mode, echo: bytearray) -> None:
        if byte in (*_ERASE, ERASE_LINE):
            end = 0 if byte == ERASE_LINE else max(0, len(self._line) - 1)
            while byte != ERASE_LINE and end and self._line[end] & 0xC0 == 0x80:  # the rest of a character of UTF-8
                end -= 1
            if mode is not Mode.SECRET:
                echo += b"\b \b" * (len(self._line) - end)
            self._line[end:] = b""
            if not self._line:
                self._wrong = ""
        elif byte == _TAB and mode is not Mode.SECRET:
            self._add(b"\t" if mode is Mode.TEXT else b" ", mode, echo)
        elif mode is Mode.SECRET:
            self._add(bytes([byte]), mode, echo)
        else:
            self._refuse("a control character")

    def _add(self, data: bytes | bytearray, mode: Mode, echo: bytearray) -> None:
        if self._wrong:
            return
        if mode is Mode.COMMAND and _UNSHOWN.search(data):
            self._refuse("a character that is not printable ASCII")
        elif len(self._line) + len(data) > mode.value:
            self._refuse(f"a line has at most {mode.value} bytes")
        else:
            self._line += data
            if mode is not Mode.SECRET:
                echo += _UNSHOWN.sub(b"?", data)

    def _refuse(self, why: str) -> None:
        self.clear()
        self._wrong = why
