"""Platform files: what a machine under seL4 has, and who gets it. TOML that a person copies and edits;
`platforms/` has those that are known by name, docs/sel4.md says what each key means.

Addresses and sizes are bytes. Errors are ConfigErrors that name file and key.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wgpy.errors import ConfigError

KNOWN = Path(__file__).parent / "platforms"
MAX_FILE = 1 << 16
ROOMS = ("black", "crypto", "red")  # and so vm0, vm1, vm2
NEIGHBOURS = {"black": ("crypto",), "crypto": ("black", "red"), "red": ("crypto",)}
PAGE = 4096
MIB = 1 << 20
_LINKS = {"black": "wan", "red": "lan"}  # what a room's network card is


@dataclass(frozen=True)
class Span:
    """A piece of an address space."""
    base: int
    size: int

    @property
    def end(self) -> int:
        """Behind it."""
        return self.base + self.size

    def overlaps(self, other: "Span") -> bool:
        """Share a byte?"""
        return self.base < other.end and other.base < self.end

    def holds(self, other: "Span") -> bool:
        """All of it?"""
        return self.base <= other.base and other.end <= self.end

    def __str__(self) -> str:
        return f"{self.base:#x}+{self.size:#x}"


PORTS = Span(0x1000, 0xF000)  # of cards on x86; below are those of the machine


@dataclass(frozen=True)
class Interrupt:
    """`number`: of the GIC, or the pin of the I/O APIC. x86 alone: `dest`, the guest's line, `ioapic`
    and `low`, whether it is active low."""
    number: int
    level: bool
    dest: int = -1
    ioapic: int = 0
    low: bool = True


@dataclass(frozen=True)
class Device:
    """A network card. `path`: its node in the device tree (arm). x86: `pci`: bus, device, function; `ports`: ranges
    of I/O ports."""
    link: str
    name: str  # as its guest calls it
    memory: tuple[Span, ...]
    interrupt: Interrupt
    path: str = ""
    pci: tuple[int, int, int] = (0, 0, 0)
    ports: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Guest:
    """What one room gets. `ram`: base and size, as the guest sees it; where it is `one_to_one` as the
    machine sees it, too."""
    ram: Span
    one_to_one: bool
    devices: tuple[Device, ...]
    domain: int  # x86: of the IOMMU


@dataclass(frozen=True)
class Platform:
    """`source`: the file. `arm`, else x86. `memory`: of the machine. `window`: where connections appear in
    a guest. `free`: memory of the machine that seL4 leaves for guests that are mapped one to one. `shared`:
    pages of the interrupt controller that every guest has, one by one. `console`: a guest's, below /dev."""
    source: str
    text: str
    name: str
    arm: bool
    sel4: str  # seL4's name of the platform
    iommu: bool
    one_way: bool
    clear: bool
    memory: int
    window: Span
    dataport: int
    free: tuple[Span, ...]
    shared: tuple[int, ...]
    console: str
    command_line: str
    guests: dict[str, Guest]


def load(name: str) -> Platform:
    """By a name in `platforms/`, or a path."""
    path = Path(name) if "/" in name or name.endswith(".toml") else KNOWN / f"{name}.toml"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in KNOWN.glob("*.toml")))
        raise ConfigError(f"no such platform; known are {known}, or the path of a file", source=name) from None
    except OSError as e:
        raise ConfigError(e.strerror or str(e), source=name) from None
    return parse(data, str(path) if path.parent != KNOWN else path.name)


def parse(data: bytes, source: str) -> Platform:
    """Of a file's bytes."""
    try:
        if len(data) > MAX_FILE:
            raise ValueError(f"more than {MAX_FILE} bytes")
        text = data.decode()
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as e:
        raise ConfigError(str(e).splitlines()[0], source=source) from None
    found = _Reader(source, table, "").platform(text)
    _check(found)
    return found


class _Reader:
    """One table of the file."""

    def __init__(self, source: str, table: Any, where: str):
        self._source, self._where = source, where
        if not isinstance(table, dict):
            raise ConfigError("has to be a table", source=source, key=where)
        self._table = dict(table)

    def platform(self, text: str) -> Platform:
        """The whole file."""
        about, links = self._inner("platform"), self._inner("connections")
        arm = about.word("architecture", ("arm", "x86")) == "arm"
        found = Platform(
            source=self._source, text=text, name=about.text("name"), arm=arm, sel4=about.text("sel4"), iommu=about.flag("iommu"),
            one_way=about.flag("one_way"), clear=about.flag("clear"), memory=about.number("memory"),
            window=Span(links.number("base"), links.number("size")), dataport=links.number("dataport"),
            free=tuple(_Reader(self._source, t, "platform.free").span() for t in about.tables("free")),
            shared=tuple(about.numbers("shared")), console=about.text("console"), command_line=about.text("command_line"),
            guests={room: self._inner(room).guest(arm, room) for room in ROOMS})
        for table in (about, links, self):
            table.done()
        return found

    def guest(self, arm: bool, room: str) -> Guest:
        """A room's table."""
        ram = Span(self.number("base") if arm else 0, self.number("size"))
        found = Guest(ram, self.flag("one_to_one") if arm else False,
                      tuple(_Reader(self._source, t, f"{self._where}.device").device(arm, room) for t in self.tables("device")),
                      0 if arm else self.number("iommu_domain"))
        self.done()
        return found

    def device(self, arm: bool, room: str) -> Device:
        """One of a room's devices."""
        if room not in _LINKS:
            raise self._wrong("", "left out: crypto has no device")
        irq = self._inner("interrupt")
        level = irq.word("trigger", ("level", "edge")) == "level"
        if arm:
            interrupt = Interrupt(irq.number("number"), level)
        else:
            interrupt = Interrupt(irq.number("source"), level, irq.number("dest"), irq.number("ioapic"),
                                  irq.word("active", ("low", "high")) == "low")
        irq.done()
        memory = tuple(_Reader(self._source, t, f"{self._where}.memory").span() for t in self.tables("memory"))
        found = Device(self.word("link", (_LINKS[room],)), self.text("name"), memory, interrupt,
                       self.text("path") if arm else "", (0, 0, 0) if arm else self._pci(), () if arm else self._ports())
        self.done()
        return found

    def _pci(self) -> tuple[int, int, int]:
        said = self.text("pci")
        try:
            bus, rest = said.split(":")
            dev, fun = rest.split(".")
            found = int(bus, 16), int(dev, 16), int(fun, 16)
        except ValueError:
            found = (-1, 0, 0)
        if not (0 <= found[0] < 256 and 0 <= found[1] < 32 and 0 <= found[2] < 8):
            raise self._wrong("pci", "bus:device.function as lspci writes it, such as 65:00.0")
        return found

    def _ports(self) -> tuple[Span, ...]:
        found = tuple(_Reader(self._source, t, f"{self._where}.ports").span() for t in self.tables("ports"))
        if not all(PORTS.holds(span) and span.size for span in found):
            raise self._wrong("ports", f"in {PORTS}, where firmware puts those of cards")
        return found

    def span(self) -> Span:
        """A table of base and size."""
        found = Span(self.number("base"), self.number("size"))
        self.done()
        return found

    def number(self, key: str, default: int | None = None) -> int:
        """Not negative, below 2^48."""
        value = self._table.pop(key, default)
        if type(value) is not int or not 0 <= value < 1 << 48:
            raise self._wrong(key, "a number that is not negative")
        return value

    def numbers(self, key: str) -> list[int]:
        """A list of them."""
        value = self._table.pop(key, [])
        if not isinstance(value, list) or not all(type(v) is int and 0 <= v < 1 << 48 for v in value):
            raise self._wrong(key, "a list of numbers")
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._table.pop(key, None)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def text(self, key: str) -> str:
        """In one line, without what CAmkES would take for the end of a text."""
        value = self._table.pop(key, None)
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or set(value) & set('"\\'):
            raise self._wrong(key, 'a text of ASCII without " and \\')
        return value

    def word(self, key: str, known: tuple[str, ...]) -> str:
        """One of `known`."""
        value = self._table.pop(key, None)
        if value not in known:
            raise self._wrong(key, " or ".join(known))
        return str(value)

    def tables(self, key: str) -> list[Any]:
        """A list of tables, perhaps empty."""
        value = self._table.pop(key, [])
        if not isinstance(value, list):
            raise self._wrong(key, "a list of tables")
        return value

    def done(self) -> None:
        """Nothing may be left."""
        for key in self._table:
            raise ConfigError("is not known here", source=self._source, key=self._path(key)[:80])

    def _inner(self, key: str) -> "_Reader":
        if key not in self._table:
            raise self._wrong(key, "given")
        return _Reader(self._source, self._table.pop(key), self._path(key))

    def _path(self, key: str) -> str:
        return ".".join(p for p in (self._where, key) if p)

    def _wrong(self, key: str, wanted: str) -> ConfigError:
        return ConfigError(f"has to be {wanted}", source=self._source, key=self._path(key))


def _check(p: Platform) -> None:
    """What no application could be made of. What is wrong with an application is the rules' to say."""
    def wrong(key: str, message: str) -> ConfigError:
        return ConfigError(message, source=p.source, key=key)

    if p.dataport & (p.dataport - 1) or p.dataport < MIB:
        raise wrong("connections.dataport", f"{p.dataport:#x} is no power of two of at least 1 MiB")
    claimed: list[tuple[str, Span]] = []
    for room, guest in p.guests.items():
        if guest.ram.size % (16 * MIB) or not guest.ram.size or guest.ram.base % (2 * MIB):
            raise wrong(f"{room}.size", "has to be a multiple of 16 MiB, its base one of 2 MiB")
        if guest.ram.overlaps(p.window):
            raise wrong(f"{room}.base", f"{guest.ram} overlaps the connections' window {p.window}")
        spans = [s for d in guest.devices for s in d.memory] + ([guest.ram] if guest.one_to_one else [])
        for span in spans:
            for other, taken in claimed:
                if span.overlaps(taken) and (span != taken or other != room):
                    raise wrong(room, f"{span} overlaps {taken} of {other}")
            claimed.append((room, span))
        if guest.one_to_one and not any(free.holds(guest.ram) for free in p.free):
            raise wrong(f"{room}.base", f"{guest.ram} is not in platform.free, which seL4 leaves for guests")
    given = [(room, span) for room, g in p.guests.items() for d in g.devices for span in d.ports]
    for i, (room, span) in enumerate(given):
        for other, taken_ports in given[:i]:
            if span.overlaps(taken_ports):
                raise wrong(f"{room}.device.ports", f"{span} overlaps {taken_ports} of {other}")
    cards = [(room, d.path or d.pci) for room, g in p.guests.items() for d in g.devices]
    for i, (room, card) in enumerate(cards):
        for other, same in cards[:i]:
            if card == same:
                raise wrong(f"{room}.device", f"{other} has this device already")
    if sum(g.ram.size for g in p.guests.values()) >= p.memory:
        raise wrong("platform.memory", f"{p.memory:#x} bytes are too few for the guests' memory")
