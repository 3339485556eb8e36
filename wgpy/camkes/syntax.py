"""The part of CAmkES that `generate` writes and `check` reads: components with their interfaces, one
assembly, and settings (CAmkES manual, "Language"). Of the preprocessor only #include is read, so that
what stands in a file is what the build sees; macros are upstream's, by name, and nothing of ours.

Whatever else a file holds is a ConfigError with its line: a check that passed over what it does
not understand would prove nothing.
"""

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from wgpy.errors import ConfigError

_TOKEN = re.compile(r"""
    (?P<space>\s+|//[^\n]*|/\*.*?\*/)
  | (?P<directive>^[ \t]*\#[^\n]*)
  | (?P<text>"[^"\\\n]*")
  | (?P<number>0[xX][0-9a-fA-F]+|\d+)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<mark><<|[-{}()\[\];:,.=<>/&|~+*])
""", re.VERBOSE | re.DOTALL | re.MULTILINE)
_INCLUDE = re.compile(r'\s*#\s*include\s*<([\w./-]+)>\s*(//.*|/\*.*\*/\s*)?$')
_DEEPEST = 16  # lists and dictionaries in each other


class Token(NamedTuple):
    """`kind`: text, number, name, mark, or end."""
    kind: str
    value: str
    line: int


class End(NamedTuple):
    """One end of a connection."""
    instance: str
    interface: str


class Call(NamedTuple):
    """A value that a query gives, such as dtb([...])."""
    name: str
    argument: Any


class Macro(NamedTuple):
    """A macro of upstream's headers where a statement could stand."""
    name: str
    line: int


@dataclass
class Interface:
    """What a component offers or wants: `kind` is dataport, emits, consumes, uses or provides."""
    kind: str
    type: str
    line: int
    size: int | None = None  # of a dataport, bytes


@dataclass
class Component:
    """A component type."""
    name: str
    line: int
    interfaces: dict[str, Interface] = field(default_factory=dict)
    macros: list[Macro] = field(default_factory=list)
    hardware: bool = False


@dataclass
class Instance:
    """A component of the assembly."""
    type: str
    line: int


@dataclass
class Connection:
    """An edge of the assembly: from all of `sources` to all of `sinks`."""
    connector: str
    name: str
    line: int
    sources: list[End] = field(default_factory=list)
    sinks: list[End] = field(default_factory=list)

    @property
    def ends(self) -> list[End]:
        """Of both directions."""
        return self.sources + self.sinks


@dataclass
class Setting:
    """A line of the configuration. Numbers are int, true and false bool, names str behind "="."""
    value: Any
    line: int


@dataclass
class Document:
    """One file."""
    source: str
    includes: list[str] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)   # <of upstream> or "of ours", with these marks
    components: dict[str, Component] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)
    settings: dict[tuple[str, str], Setting] = field(default_factory=dict)  # by instance and attribute
    macros: list[Macro] = field(default_factory=list)
    assembly: int = 0  # its line


def parse(text: str, source: str) -> Document:
    """ConfigError, which names file and line, for what is not in the subset."""
    return _Parser(text, source).document()


def _tokens(text: str, source: str, document: Document) -> list[Token]:
    found, at, line = [], 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ConfigError(f"{text[at:at + 12].split()[0]!r} is no part of CAmkES that is read here", source=source, line=line)
        kind, value = match.lastgroup or "", match.group()
        if kind == "directive":
            include = _INCLUDE.match(value)
            if include is None:
                raise ConfigError("of the preprocessor only #include <file> is read: write what it would make",
                                  source=source, line=line)
            document.includes.append(include.group(1))
        elif kind != "space":
            found.append(Token(kind, value, line))
        line += value.count("\n")
        at = match.end()
    return [*found, Token("end", "the end", line)]


class _Parser:
    def __init__(self, text: str, source: str):
        self._file = Document(source)
        self._tokens = _tokens(text, source, self._file)
        self._at = 0

    def document(self) -> Document:
        """All of it."""
        while self._token.kind != "end":
            word = self._name()
            if word.value == "import":
                self._import()
            elif word.value == "component":
                self._component()
            elif word.value == "struct":
                self._struct()
            elif word.value == "assembly" and not self._file.assembly:
                self._file.assembly = word.line
                self._assembly()
            else:
                self._wrong("import, component, struct or the one assembly", word)
        return self._file

    # Tokens

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    def _wrong(self, wanted: str, token: Token | None = None) -> NoReturn:
        token = token or self._token
        raise ConfigError(f"{token.value[:40]} where {wanted} belongs", source=self._file.source, line=token.line)

    def _next(self) -> Token:
        token = self._token
        self._at += token.kind != "end"
        return token

    def _name(self) -> Token:
        if self._token.kind != "name":
            self._wrong("a name")
        return self._next()

    def _take(self, mark: str) -> bool:
        if self._token.value == mark and self._token.kind in ("mark", "name"):
            self._at += 1
            return True
        return False

    def _expect(self, mark: str) -> None:
        if not self._take(mark):
            self._wrong(repr(mark))

    # Declarations

    def _import(self) -> None:
        if self._token.kind == "text":
            self._file.imports.append(self._next().value)
        else:
            self._expect("<")
            parts = []
            while not self._take(">"):
                parts.append(self._next().value)
                if len(parts) > 32 or parts[-1] == "the end":
                    self._wrong("'>'")
            self._file.imports.append(f"<{''.join(parts)}>")
        self._expect(";")

    def _struct(self) -> None:
        """Its form is upstream's; it gives no capability."""
        self._name()
        self._expect("{")
        while not self._take("}"):
            if self._next().kind == "end":
                self._wrong("'}'")
        self._take(";")

    def _component(self) -> None:
        name = self._name()
        made = Component(name.value, name.line)
        if name.value in self._file.components:
            self._wrong("another name, because this one is taken,", name)
        self._file.components[name.value] = made
        self._expect("{")
        while not self._take("}"):
            self._item(made)
        self._take(";")

    def _item(self, made: Component) -> None:
        word = self._name()
        if self._token.value == "(":
            self._macro(word, made.macros)
            return
        if word.value == "maybe":
            word = self._name()
        if word.value in ("control", "hardware"):
            made.hardware |= word.value == "hardware"
        elif word.value in ("dataport", "emits", "consumes", "uses", "provides"):
            kind = self._name()
            size = None
            if word.value == "dataport" and self._take("("):
                size = self._number()
                self._expect(")")
            name = self._name()
            if name.value in made.interfaces:
                self._wrong("another name, because this one is taken,", name)
            made.interfaces[name.value] = Interface(word.value, kind.value, name.line, size)
        elif word.value == "has":
            self._name()
            self._name()
        elif word.value == "attribute":
            self._attribute()
        else:
            self._wrong("an interface, control, has or attribute", word)
        self._expect(";")

    def _attribute(self) -> None:
        self._name()
        self._name()
        if self._take("["):
            self._expect("]")
        if self._take("="):
            self._value(0)

    def _macro(self, word: Token, macros: list[Macro]) -> None:
        self._expect("(")
        if word.value != word.value.upper():
            self._wrong("a statement", word)
        arguments = []
        while not self._take(")"):
            arguments.append(self._next().value)
            if arguments[-1] == "the end":
                self._wrong("')'")
        macros.append(Macro(f"{word.value}({''.join(arguments)})", word.line))
        self._take(";")

    # The assembly

    def _assembly(self) -> None:
        self._expect("{")
        for part, statement in (("composition", self._composed), ("configuration", self._configured)):
            self._expect(part)
            self._expect("{")
            while not self._take("}"):
                statement()
        self._expect("}")
        self._take(";")

    def _composed(self) -> None:
        word = self._name()
        if word.value == "component":
            kind, name = self._name(), self._name()
            if name.value in self._file.instances:
                self._wrong("another name, because this one is taken,", name)
            self._file.instances[name.value] = Instance(kind.value, name.line)
            self._expect(";")
        elif word.value == "connection":
            self._connection()
        elif self._token.value == "(":
            self._macro(word, self._file.macros)
        else:
            self._wrong("component or connection", word)

    def _connection(self) -> None:
        connector, name = self._name(), self._name()
        made = Connection(connector.value, name.value, name.line)
        if name.value in self._file.connections:
            self._wrong("another name, because this one is taken,", name)
        self._file.connections[name.value] = made
        self._expect("(")
        while True:
            direction = self._name()
            if direction.value not in ("from", "to"):
                self._wrong("from or to", direction)
            instance = self._name().value
            self._expect(".")
            (made.sources if direction.value == "from" else made.sinks).append(End(instance, self._name().value))
            if not self._take(","):
                break
        self._expect(")")
        self._expect(";")
        if not made.sources or not made.sinks:
            self._wrong("an end in each direction", name)

    def _configured(self) -> None:
        name = self._name()
        if self._token.value == "(":
            self._macro(name, self._file.macros)
            return
        self._expect(".")
        key = name.value, self._name().value
        if key in self._file.settings:
            self._wrong(f"another attribute, because line {self._file.settings[key].line} has this one,", name)
        self._expect("=")
        self._file.settings[key] = Setting(self._value(0), name.line)
        self._expect(";")

    # Values

    def _value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            self._wrong("a shallower value")
        token = self._token
        if token.kind == "text":
            return self._next().value[1:-1]
        if token.kind == "name":
            self._at += 1
            if token.value.lower() in ("true", "false"):
                return token.value.lower() == "true"
            if self._take("("):
                argument = self._value(depth + 1)
                self._expect(")")
                return Call(token.value, argument)
            return f"={token.value}"
        if self._take("["):
            return self._items("]", lambda: self._value(depth + 1))
        if self._take("{"):
            pairs = self._items("}", lambda: self._pair(depth))
            if len(dict(pairs)) < len(pairs):
                self._wrong("a key for each value", token)
            return dict(pairs)
        return self._number()

    def _items(self, end: str, one: Any) -> list[Any]:
        found: list[Any] = []
        while not self._take(end):
            found.append(one())
            if not self._take(","):
                self._expect(end)
                break
        return found

    def _pair(self, depth: int) -> tuple[str, Any]:
        if self._token.kind != "text":
            self._wrong("a key in quotes")
        key = self._next().value[1:-1]
        self._expect(":")
        return key, self._value(depth + 1)

    def _number(self) -> int:
        """Also of the forms a << b and a & ~b, from left to right."""
        found = self._plain()
        while self._token.value in ("<<", "&"):
            mark = self._next().value
            other = self._plain()
            if mark == "<<" and not 0 <= other < 64:
                self._wrong("a shift of less than 64")
            found = found << other if mark == "<<" else found & other
        return found

    def _plain(self) -> int:
        inverted = self._take("~")
        if self._token.kind != "number":
            self._wrong("a value")
        text = self._next().value
        number = int(text, 16) if text.lower().startswith("0x") else int(text)
        return ~number if inverted else number
