"""An application, file by file, from a site, a platform and the templates. It is text alone here; what
holds of it is for the rules to prove."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Template

from wgpy.camkes.platform import MIB, NEIGHBOURS, ROOMS, Device, Guest, Platform
from wgpy.config.site_model import Site
from wgpy.errors import ConfigError
from wgpy.vms.images import STORE

TEMPLATES = Path(__file__).parent / "templates"
PLATFORM_FILE, SITE_FILE, ASSEMBLY, DRAWING = "platform.toml", "site.toml", "wgpy.camkes", "capabilities.svg"
PRIORITY = 100         # of all guests: docs/sel4.md says why none is above another
POOL_BITS = {True: 24, False: 23}  # of the untyped memory that a monitor gets, arm and x86
SPARE = {True: 4, False: 6}        # objects of it besides guest memory, for page tables and the like
PAGE_BITS = 12         # of a card's memory on x86: upstream's monitor looks for each page of 4 KiB by its address
INITRD = 96 * MIB      # from the start of a guest's memory: room for an arm64 kernel
TREE = 16 * MIB        # from its end: device tree
CLEAR = "eth1"         # black's and red's card of the link in clear
CLEAR_SOURCE = "${CAMKES_VM_DIR}/components/VM_Arm/src/modules/virtio_net_virtqueue.c"  # upstream's, on arm
MACS = {"black": "02:00:00:00:00:01", "red": "02:00:00:00:00:02"}  # of that link, which has no others


class _Template(Template):
    delimiter = "@"


@cache
def _template(name: str) -> _Template:
    return _Template((TEMPLATES / name).read_text(encoding="utf-8"))


def vm(room: str) -> str:
    """The instance of a room's guest."""
    return f"vm{ROOMS.index(room)}"


def component(room: str, arm: bool) -> str:
    """Its type; upstream's macros for x86 want these names."""
    return room.capitalize() if arm else f"Init{ROOMS.index(room)}"


def file_server(room: str) -> str:
    """The instance that has what a guest boots from."""
    return "fserv_crypto" if room == "crypto" else "fserv"


def settings_file(arm: bool) -> str:
    """As upstream's settings.cmake looks for it."""
    return "settings.cmake" if arm else "app_settings.cmake"


def edges() -> Iterator[tuple[str, str]]:
    """Source and sink of each dataport."""
    for neighbour in NEIGHBOURS["crypto"]:
        yield "crypto", neighbour
        yield neighbour, "crypto"


def pool(guest: Guest, arm: bool) -> int:
    """Objects of untyped memory for a guest's monitor."""
    unit = 1 << POOL_BITS[arm]
    return SPARE[arm] + (0 if guest.one_to_one else -(-guest.ram.size // unit))


def render(site: Site, site_text: bytes, platform: Platform) -> dict[str, bytes]:
    """Every file but images, by path. ConfigError."""
    if site.small and not platform.clear:
        raise ConfigError("small mode needs the link in clear, and platform.clear is false: mode large, or another platform",
                          source=platform.source, key="platform.clear")
    made = _Application(site, platform)
    files = {ASSEMBLY: made.assembly(), "guests.camkes": made.guests(), "CMakeLists.txt": made.build(),
             settings_file(platform.arm): made.settings(), PLATFORM_FILE: platform.text}
    files |= {f"src/{room}.c": made.rings(room) for room in ROOMS}
    files |= {f"rooms/{room}.toml": made.room_file(room) for room in ROOMS}
    if platform.arm:
        files |= {"overlay.dts": made.overlay(), "src/time.c": made.part("time.c")}
    return {name: text.encode() for name, text in files.items()} | {SITE_FILE: site_text}


class _Application:
    def __init__(self, site: Site, platform: Platform):
        self._site, self._platform = site, platform
        self._folder = "arm" if platform.arm else "x86"

    def part(self, name: str, **values: object) -> str:
        """A template filled in: the architecture's own, or that of both."""
        own = f"{self._folder}/{name}"
        chosen = own if (TEMPLATES / own).exists() else name
        if not values:
            return (TEMPLATES / chosen).read_text(encoding="utf-8")
        return _template(chosen).substitute({key: str(value) for key, value in values.items()})

    def assembly(self) -> str:
        small = self._site.small
        wires = "".join(self.part("wires.camkes", room=r, vm=vm(r), fserv=file_server(r)) for r in ROOMS)
        bell = "seL4GlobalAsynch" if self._platform.arm else "seL4Notification"
        joined = "".join(self.part("edge.camkes", source=a, sink=b, from_vm=vm(a), to_vm=vm(b), bell=bell) for a, b in edges())
        sizes = "".join(self.part("size.camkes", source=a, sink=b, dataport=hex(self._platform.dataport)) for a, b in edges())
        return self.part(
            ASSEMBLY, node=self._site.node.name, mode=self._site.node.mode, platform=self._platform.name,
            clear_words="Black and red have one link more, in clear." if small else "Black and red share nothing.",
            wires=wires + self.part("console.camkes").rstrip("\n"), edges=joined + (self.part("clear-edge.camkes") if small else ""),
            sizes=(sizes + (self.part("clear-topology.camkes") if small else "")).rstrip("\n"),
            guests="".join(self._guest(room) for room in ROOMS))

    def guests(self) -> str:
        small = self._site.small
        parts = []
        for room in ROOMS:
            ports = "".join(self.part("ports.camkes", neighbour=n, dataport=self._platform.dataport) for n in NEIGHBOURS[room])
            clear = self.part("clear-ports.camkes") if small and room != "crypto" else ""
            parts.append(self.part("component.camkes", type=component(room, self._platform.arm), ports=ports, clear_ports=clear))
        values = {"structs": self.part("clear-struct.camkes") if small else ""} if self._platform.arm else {}
        return self.part("guests.camkes", components="".join(parts), **values)

    def _guest(self, room: str) -> str:
        p, guest = self._platform, self._platform.guests[room]
        access = "".join(self.part("access.camkes", vm=vm(room), neighbour=n) for n in NEIGHBOURS[room]) if p.one_way else ""
        clear = ""
        if self._site.small and room in MACS:
            other = "red" if room == "black" else "black"
            clear = self.part("clear-guest.camkes", vm=vm(room), other_vm=vm(other), mac=MACS[room], other_mac=MACS[other])
        words = "memory from the pool, and no device" if not guest.devices else "its network card, behind the IOMMU" if p.iommu else \
            "its network card, whose DMA nothing confines"
        values = {
            "room": room, "vm": vm(room), "number": ROOMS.index(room), "memory_words": words,
            "priority": PRIORITY, "priority_of_monitor": PRIORITY + p.arm, "pool": pool(guest, p.arm), "console": p.console,
            "command_line": f"console={p.console} {p.command_line}", "access": access, "clear": clear}
        return self.part("guest.camkes", **values, **(self._arm(room, guest) if p.arm else self._x86(guest, vm(room)))).rstrip("\n") + "\n"

    def _arm(self, room: str, guest: Guest) -> dict[str, object]:
        ram = guest.ram
        memory = [f"        {vm(room)}.untyped_mmios = [\"{ram.base:#x}:{ram.size.bit_length() - 1}\"];\n"] if guest.one_to_one else []
        nodes = ", ".join(f'{{"path": "{d.path}"}}' for d in guest.devices) or "{}"
        shared = ", ".join(f'"{page:#x}:0x1000:12"' for page in self._platform.shared)
        return {"base": hex(ram.base), "size": hex(ram.size), "initrd": hex(ram.base + INITRD), "dtb": hex(ram.end - TREE),
                "one_to_one": str(guest.one_to_one).lower(), "nodes": nodes, "shared": shared, "memory": "".join(memory)}

    def _x86(self, guest: Guest, name: str) -> dict[str, object]:
        memory = ""
        if guest.devices:
            indent = " " * 12
            cards, lines = ("".join(f"{indent}{one(d)},\n" for d in guest.devices) for one in (_card, _line))
            space = f"        {name}.pci_devices_iospace = 1;\n" if self._platform.iommu else ""
            memory = (f"{space}        {name}.pci_devices = [\n{cards}        ];\n"
                      f"        {name}.vm_irqs = [\n{lines}        ];\n")
            if ports := "".join(f"{indent}{one},\n" for d in guest.devices for one in _ports(d)):
                memory += f"        {name}.vm_ioports = [\n{ports}        ];\n"
        return {"megabytes": guest.ram.size // MIB, "domain": hex(guest.domain), "memory": memory}

    def rings(self, room: str) -> str:
        """The table of connections: for each neighbour first the way to it, then the way from it."""
        parts = {name: "" for name in ("externs", "rows", "badges")}
        for number, neighbour in enumerate(NEIGHBOURS[room]):
            for name in parts if self._platform.arm else ("externs", "rows"):
                values = {"index": 2 * number + 1} if name == "badges" or not self._platform.arm and name == "rows" else {}
                parts[name] += self.part(f"{name}.c", neighbour=neighbour, **values)
        return self.part("rings.c", room=room, window=hex(self._platform.window.base), **parts)

    def build(self) -> str:
        """What is built of what; with the link in clear its card in the monitors of those that have it."""
        return self.part("CMakeLists.txt", clear=f"\n        {CLEAR_SOURCE}" if self._site.small else "")

    def settings(self) -> str:
        p = self._platform
        if p.arm:
            more = self.part("qemu.cmake", megabytes=p.memory // MIB) if p.sel4 == "qemu-arm-virt" else ""
            text = self.part("settings.cmake", sel4=p.sel4, more=more)
        else:
            text = self.part("settings.cmake", more=self.part("iommu.cmake" if p.iommu else "no-iommu.cmake"))
        return text.rstrip("\n") + "\n"

    def overlay(self) -> str:
        nodes = "".join(
            self.part("node.dts", node=d.path.strip("/"), interrupt=hex(d.interrupt.number - 32),
                      trigger="0x4" if d.interrupt.level else "0x1")
            for g in self._platform.guests.values() for d in g.devices)
        return self.part("overlay.dts", nodes=nodes)

    def room_file(self, room: str) -> str:
        """Connections by their names; where all have the same, by their order."""
        rings = ""
        for number, neighbour in enumerate(NEIGHBOURS[room]):
            ways = (f"to-{neighbour}", f"from-{neighbour}") if self._platform.arm else \
                (f"connector.{2 * number}", f"connector.{2 * number + 1}")
            rings += f'{neighbour} = "uio:{ways[0]},{ways[1]}"\n'
        if room == "crypto":
            more = f'\n[keys]\nstore = "/etc/wgpy/{STORE}"\n\n[console]\ntty = "/dev/{self._platform.console}"\n'
        else:
            links = {d.link: d.name for d in self._platform.guests[room].devices} | ({"clear": CLEAR} if self._site.small else {})
            more = "\n[links]\n" + "".join(f'{link} = "{name}"\n' for link, name in links.items()) if links else ""
        return self.part("room.toml", room=room, rings=rings, more=more).rstrip("\n") + "\n"


def _card(d: Device) -> str:
    bus, dev, fun = d.pci
    memory = ", ".join(f'{{"paddr": {s.base:#x}, "size": {s.size:#x}, "page_bits": {PAGE_BITS}}}' for s in d.memory)
    return f'{{"name": "{d.link}", "bus": {bus:#x}, "dev": {dev:#x}, "fun": {fun}, "irq": "{d.link}", "memory": [{memory}]}}'


def _ports(d: Device) -> list[str]:
    """Upstream's monitor compares the last port, not the one behind it."""
    return [f'{{"start": {s.base:#x}, "end": {s.end - 1:#x}, "pci_device": 0, "name": "{d.link}"}}' for s in d.ports]


def _line(d: Device) -> str:
    i = d.interrupt
    return (f'{{"name": "{d.link}", "ioapic": {i.ioapic}, "source": {i.number}, "level_trig": {int(i.level)}, '
            f'"active_low": {int(i.low)}, "dest": {i.dest}}}')
