"""Where things stand in a TOML text, and the collection of what is wrong with it.

`tomllib` tells values without lines. `locate` walks a text that tomllib has accepted and
gives the line of every key, table and array element by its path, such as
("site", 1, "endpoints", 0).
"""

import difflib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from wgpy.config.site_model import Site
from wgpy.errors import ConfigError

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}(?!")' r"|'''.*?'{3,5}(?!')"
                     r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'", re.DOTALL)
_SCALAR = re.compile(r"[^,\]}\n#]*")


class _Locator:
    def __init__(self, text: str):
        self.text, self.at = text, 0
        self.line, self.counted = 1, 0
        self.lines: dict[Path, int] = {}
        self.counts: dict[Path, int] = {}  # elements of an array of tables so far

    def mark(self, path: Path) -> None:
        self.line += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        self.lines.setdefault(path, self.line)

    def skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        assert found, "tomllib has accepted the text"
        self.at = found.end()
        return found.group()

    def peek(self, text: str) -> bool:
        return self.text.startswith(text, self.at)

    def key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self.skip(_SPACE)
            if self.peek('"') or self.peek("'"):
                parts.append(tomllib.loads(f"k={self.skip(_STRING)}")["k"])
            else:
                parts.append(self.skip(_BARE_KEY))
            self.skip(_SPACE)
            if not self.peek("."):
                return parts
            self.at += 1

    def below(self, base: Path, parts: list[str]) -> Path:
        """The path of a dotted key; an array of tables on the way means its last element."""
        for left, part in zip(range(len(parts) - 1, -1, -1), parts):
            self.mark(base := base + (part,))
            if left and base in self.counts:
                base += (self.counts[base] - 1,)
        return base

    def document(self) -> dict[Path, int]:
        table: Path = ()
        self.skip(_BLANK)
        while self.at < len(self.text):
            if self.peek("["):
                array = self.peek("[[")
                self.at += 1 + array
                table = self.below((), self.key())
                if array:
                    index = self.counts.get(table, 0)
                    self.counts[table] = index + 1
                    table += (index,)
                    self.mark(table)
                self.at += 1 + array
            else:
                self.pair(table)
            self.skip(_BLANK)
        return self.lines

    def pair(self, table: Path) -> None:
        path = self.below(table, self.key())
        self.at += 1
        self.skip(_SPACE)
        self.value(path)

    def value(self, path: Path) -> None:
        if self.peek('"') or self.peek("'"):
            self.skip(_STRING)
        elif self.peek("["):
            self.items(path, "]", _BLANK)
        elif self.peek("{"):
            self.items(path, "}", _SPACE)
        else:
            self.skip(_SCALAR)

    def items(self, path: Path, end: str, blank: re.Pattern[str]) -> None:
        self.at += 1
        index = 0
        self.skip(blank)
        while not self.peek(end):
            if end == "]":
                self.mark(path + (index,))
                self.value(path + (index,))
                index += 1
            else:
                self.pair(path)
            self.skip(blank)
            if self.peek(","):
                self.at += 1
                self.skip(blank)
        self.at += 1


def locate(text: str) -> dict[Path, int]:
    """Path -> 1-based line, for a text that tomllib accepts."""
    return _Locator(text.replace("\r\n", "\n")).document()


class Report:
    """Errors and warnings about one text, each with its line."""

    def __init__(self, text: str, source: str):
        self.text, self.source = text, source
        self.lines: dict[Path, int] = {}
        self.places: dict[tuple[Path, object], Path] = {}  # (path of a list, value) -> path of the element
        self.errors: list[ConfigError] = []
        self.warnings: list[tuple[int, str]] = []

    def load(self) -> dict[str, Any] | None:
        """The document as tomllib gives it, or None after a syntax error."""
        try:
            data = tomllib.loads(self.text)
            self.lines = locate(self.text)
            return data
        except RecursionError:
            self._syntax("nested too deeply")
        except ValueError as e:  # TOMLDecodeError, or a number beyond what int() reads
            self._syntax(str(e))
        return None

    def _syntax(self, message: str) -> None:
        found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", message)
        line = int(found[1]) if found and found[1] else self.text.count("\n") + 1
        message = message[:found.start()] if found else message
        # tomllib quotes the offending key or character, which may be anything
        shown = "".join(c if c.isprintable() else "?" for c in message)[:120]
        self.errors.append(ConfigError(shown, source=self.source, line=line if found else 1))

    def line(self, path: Path) -> int:
        """Of the key at `path`, or of what it would stand in; 1 if there is none."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def place(self, path: Path, value: object) -> Path:
        """The element of the list at `path` that was read as `value`."""
        return self.places.get((path, value), path)

    def error(self, path: Path, message: str) -> None:
        """Of this file, line and key; the file will be refused."""
        self.errors.append(ConfigError(message, source=self.source, line=self.line(path),
                                       key=dotted(path)))

    def warn(self, path: Path, message: str) -> None:
        """Once for the same line and text."""
        text = str(ConfigError(message, source=self.source, line=self.line(path),
                               key=dotted(path)))
        if (self.line(path), text) not in self.warnings:
            self.warnings.append((self.line(path), text))

    def result(self, site: Site | None) -> tuple[Site | None, list[ConfigError], list[str]]:
        """(site with its warnings, [], warnings), or (None, errors by line, warnings)."""
        warnings = [text for _, text in sorted(self.warnings, key=lambda w: w[0])]
        self.errors.sort(key=lambda e: e.line or 0)
        if self.errors or site is None:
            return None, self.errors, warnings
        return replace(site, warnings=tuple(warnings)), [], warnings


def dotted(path: Path) -> str | None:
    """A path as an error shows it, without positions in arrays."""
    names = [p if re.fullmatch(r"[A-Za-z0-9_-]{1,40}", p) else "?"
             for p in path if isinstance(p, str)]
    return ".".join(names) or None


def suggestion(word: str, known: Iterable[str]) -> str:
    """"; did you mean 'x'?" or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
