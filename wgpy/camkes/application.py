"""What `check` looks at: the files of an application directory, read and parsed. Whatever cannot be
read is a violation already."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from wgpy.camkes import platform as platforms
from wgpy.camkes import render, syntax
from wgpy.camkes.platform import NEIGHBOURS, ROOMS, Platform
from wgpy.camkes.syntax import Component, Connection, Document, End, Setting
from wgpy.config import site as site_file
from wgpy.config.site_model import Site
from wgpy.errors import ConfigError, HostError

MAX_TEXT = 1 << 20
_ROW = re.compile(r"""\{\s*&(\w+)_handle\s*,\s*(\w+)\s*,\s*
    (?: -1\s*,\s*"([^"]*)" | \{\s*\.id\s*=\s*-?\d+\s*,\s*\.reg_callback\s*=\s*(\w+)\s*\} )\s*\}""", re.VERBOSE)
_BADGE = re.compile(r"connections\[(\d+)\]\.consume_badge\s*=\s*(\w+)_notification_badge\(\)")
_FIRST = re.compile(r"#define FIRST_ADDRESS (0[xX][0-9a-fA-F]+)")
_SET = re.compile(r"^\s*set\(\s*(\w+)\s+(\"[^\"]*\"|[^\s)]+)([^)]*)\)", re.MULTILINE)
_SERVED = re.compile(r"^\s*AddToFileServer\(\s*\"?([\w.-]+)\"?\s+\"?([^\s\")]+)\"?([^)]*)\)", re.MULTILINE)
_BUILT = re.compile(r"^\s*DeclareCAmkES(?:(?:ARM)?VM|Component)\(\s*(\w+)([^)]*)\)", re.MULTILINE)
_NODE = re.compile(r"([\w,.-]+@[0-9a-f]+)\s*\{\s*interrupts\s*=\s*<\s*(\w+)\s+(\w+)\s+(\w+)\s*>;\s*\};")


class Violation(NamedTuple):
    """One line for a person: which file, where in it, what is wrong."""
    file: str
    key: str
    reason: str

    def __str__(self) -> str:
        return ": ".join(p for p in self if p)


class Row(NamedTuple):
    """Of a guest's table of connections: the dataport, who is rung, and by whom it is; `name` on arm."""
    dataport: str
    emits: str
    hears: str
    name: str


@dataclass
class Application:
    """`sizes`: of images, by path."""
    platform: Platform
    site: Site
    assembly: Document
    components: dict[str, Component]
    tables: dict[str, tuple[int | None, list[Row]]]  # by room, first address and rows
    options: dict[str, str]                          # of settings.cmake
    served: list[tuple[str, str, str]]               # name, path, file server
    built: dict[str, str]                            # by component type, what it is built with besides upstream's
    levels: dict[str, tuple[int, int]]               # of the overlay, by node: interrupt and kind
    sizes: dict[str, int] = field(default_factory=dict)

    def value(self, instance: str, attribute: str, default: Any = None) -> Any:
        """Of a setting."""
        found = self.assembly.settings.get((instance, attribute))
        return default if found is None else found.value

    def settings(self, instance: str) -> dict[str, Setting]:
        """All of an instance or a connection, by attribute."""
        return {attribute: s for (name, attribute), s in self.assembly.settings.items() if name == instance}

    def component(self, room: str) -> Component:
        """The type of a room's guest, which `read` has found."""
        return self.components[self.assembly.instances[render.vm(room)].type]

    def room(self, end: End) -> str | None:
        """Whose guest an end is, or None."""
        return next((room for room in ROOMS if render.vm(room) == end.instance), None)

    def rooms(self, connection: Connection) -> set[str]:
        """All of its ends that are guests."""
        return {room for end in connection.ends if (room := self.room(end))}


def of_directory(directory: Path) -> dict[str, bytes]:
    """Files by path; of images the size only, as that many bytes that take no memory. HostError, OSError."""
    if not (directory / render.ASSEMBLY).is_file():
        raise HostError(f"{directory}: no {render.ASSEMBLY}: not a directory that wgpy camkes generate wrote")
    files = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and not name.startswith("images/"):
            if path.stat().st_size > MAX_TEXT:
                raise HostError(f"{path}: more than {MAX_TEXT} bytes")
            files[name] = path.read_bytes()
    return files


def image_sizes(directory: Path) -> dict[str, int]:
    """Bytes of what guests boot from, by path."""
    return {f"images/{p.name}": p.stat().st_size for p in sorted((directory / "images").glob("*"))}


def read(files: Mapping[str, bytes], sizes: Mapping[str, int]) -> tuple[Application | None, list[Violation]]:
    """The application, or None and why there is none."""
    reader = _Reader(files)
    platform = reader.attempt(lambda: platforms.parse(reader.bytes(render.PLATFORM_FILE), render.PLATFORM_FILE))
    site = reader.attempt(lambda: _site(reader.bytes(render.SITE_FILE)))
    assembly = reader.attempt(lambda: syntax.parse(reader.text(render.ASSEMBLY), render.ASSEMBLY))
    if platform is None or site is None or assembly is None:
        return None, reader.violations
    components = reader.components(assembly)
    tables = {room: reader.table(f"src/{room}.c", platform.arm) for room in ROOMS}
    options = {m.group(1): m.group(2) for m in _SET.finditer(_uncommented(reader.text(render.settings_file(platform.arm))))}
    built = _uncommented(reader.text("CMakeLists.txt"))
    served = [(m.group(1), m.group(2), _instance(m.group(3))) for m in _SERVED.finditer(built)]
    made = {m.group(1): " ".join(m.group(2).split()) for m in _BUILT.finditer(built)}
    overlay = reader.text("overlay.dts") if platform.arm else ""
    if platform.arm:
        reader.text("src/time.c")  # has to be there
    levels = {m.group(1): (int(m.group(3), 0) + 32, int(m.group(4), 0)) for m in _NODE.finditer(overlay)}
    for room in ROOMS:
        instance = assembly.instances.get(render.vm(room))
        if instance is None or instance.type not in components:
            reader.say(render.ASSEMBLY, render.vm(room), f"is missing, or of a type that no file of ours declares: it is {room}'s guest")
    if reader.violations:
        return None, reader.violations
    return Application(platform, site, assembly, components, tables, options, served, made, levels, dict(sizes)), []


def _uncommented(text: str) -> str:
    """CMake's."""
    return re.sub(r"#[^\n]*", "", text)


def _instance(rest: str) -> str:
    found = re.search(r"INSTANCE\s+\"?(\w+)", rest)
    return found.group(1) if found else "fserv"


def _site(data: bytes) -> Site:
    site, errors, _ = site_file.parse_bytes(data, render.SITE_FILE)
    if site is None:
        raise errors[0]
    return site


class _Reader:
    def __init__(self, files: Mapping[str, bytes]):
        self._files = files
        self.violations: list[Violation] = []

    def say(self, file: str, key: str, reason: str) -> None:
        """A violation."""
        self.violations.append(Violation(file, key, reason))

    def attempt(self, make: Any) -> Any:
        """What it makes, or None and a violation."""
        try:
            return make()
        except ConfigError as e:
            self.say(":".join(str(p) for p in (e.source, e.line) if p), e.key or "", e.message)
            return None

    def bytes(self, name: str) -> bytes:
        """Of a file. ConfigError."""
        if name not in self._files:
            raise ConfigError("is missing", source=name)
        return self._files[name]

    def text(self, name: str) -> str:
        """Of a file, empty with a violation when there is none."""
        try:
            return self.bytes(name).decode()
        except UnicodeDecodeError:
            self.say(name, "", "is no UTF-8 text")
        except ConfigError as e:
            self.say(name, "", e.message)
        return ""

    def components(self, assembly: Document) -> dict[str, Component]:
        """Of the assembly and of what it imports of ours."""
        found = dict(assembly.components)
        for imported in assembly.imports:
            if not imported.startswith('"'):
                continue
            name = imported.strip('"')
            document = self.attempt(lambda: syntax.parse(self.text(name), name))  # noqa: B023
            if document is None:
                continue
            if document.assembly or any(i.startswith('"') for i in document.imports):
                self.say(name, "", f"has an assembly or imports more: that belongs to {assembly.source}")
            found |= document.components
        return found

    def table(self, name: str, arm: bool) -> tuple[int | None, list[Row]]:
        """The connections of a guest, in their order."""
        text = re.sub(r"/\*.*?\*/|//[^\n]*", "", self.text(name), flags=re.DOTALL)
        first = _FIRST.search(text)
        badges = {int(m.group(1)): m.group(2) for m in _BADGE.finditer(text)}
        rows = []
        for number, m in enumerate(_ROW.finditer(text)):
            hears = badges.get(number, "") if arm else (m.group(4) or "").removesuffix("_reg_callback")
            rows.append(Row(m.group(1), m.group(2).removesuffix("_emit").replace("NULL", ""), hears.replace("NULL", ""), m.group(3) or ""))
        wanted = sum(2 for room in ROOMS if name == f"src/{room}.c" for _ in NEIGHBOURS[room])
        if len(rows) != wanted:
            self.say(name, "connections", f"has {len(rows)} rows that can be read, {wanted} belong there")
        return (int(first.group(1), 16) if first else None), rows
