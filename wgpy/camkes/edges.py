"""Rules of who is joined with whom: the edges of the assembly are the rings' and no others. Each rule is a
function that yields violations of what an application's files say."""

from collections.abc import Iterator

from wgpy.camkes import render
from wgpy.camkes.application import Application, Row, Violation
from wgpy.camkes.platform import MIB, NEIGHBOURS, ROOMS
from wgpy.camkes.syntax import Connection

DATA, CLEAR = "seL4SharedDataWithCaps", "seL4VirtQueues"
BELL = {True: "seL4GlobalAsynch", False: "seL4Notification"}  # arm, x86
MOST_DEVICES = 31   # on a guest's PCI bus
X86_WINDOW = 0xA0000000  # a constant of upstream's monitor
# What upstream's monitor of a guest needs: connector, interface of the guest, type of the server, its interface.
_SERVED = {
    True: {("seL4RPCDataport", "fs", "FileServer", "fs_ctrl")},
    False: {("seL4RPCDataport", "fs", "FileServer", "fs_ctrl"), ("seL4RPCCall", "putchar", "SerialServer", "processed_putchar"),
            ("seL4RPCCall", "guest_putchar", "SerialServer", "raw_putchar"),
            ("seL4RPCCall", "system_rtc", "RTC", "rtc"),
            ("seL4TimeServer", "init_timer", "TimeServer", "the_timer"), ("seL4RPCCall", "pci_config", "PCIConfigIO", "pci_config")},
}
# A guest with itself, by which upstream's templates give its monitor a capability.
_OWN = {True: {("seL4GlobalAsynch", "notification_ready_connector", "notification_ready"), ("seL4VMDTBPassthrough", "dtb_self", "dtb")},
        False: {("seL4GlobalAsynch", "intready_connector", "intready")}}
# Of all guests with the serial server, in the rooms' order: interface of each guest, of the server.
_SERIAL, _CONSOLE = "serial", {True: {"serial_getchar": "getchar", "batch": "processed_batch"}, False: {"serial_getchar": "getchar"}}
_MACROS = {True: set(), False: {"VM_COMPOSITION_DEF()", "VM_CONFIGURATION_DEF()", *(f"VM_PER_VM_CONFIG_DEF({n})" for n in range(3))}}
_SERVERS = {"FileServer", "SerialServer", "TimeServer"}
_OF_MACRO = {"fserv": "FileServer", "serial": "SerialServer", "pci_config": "PCIConfigIO", "time_server": "TimeServer", "rtc": "RTC"}
# arm: a monitor that gives up stops, and does not spin above every guest. x86: it does not give up over CPUID.
_WRAPPED = {True: "-Wl,--wrap=vm_run", False: "-Wl,--wrap=vm_cpuid_handler"}
_CLOCK = "SOURCES ${CMAKE_CURRENT_LIST_DIR}/src/time.c LD_FLAGS -Wl,--wrap=ltimer_default_init"
_GUEST_MACRO = "VM_INIT_DEF()"


def servers(app: Application) -> dict[str, str]:
    """Types of what is not a guest, by instance."""
    found = {name: instance.type for name, instance in app.assembly.instances.items()
             if name not in {render.vm(room) for room in ROOMS}}
    return found | ({} if app.platform.arm else _OF_MACRO)


def _at(line: int, file: str = render.ASSEMBLY) -> str:
    return f"{file}:{line}"


def components(app: Application) -> Iterator[Violation]:
    """The guests are upstream's monitors with the rings' interfaces; besides them there are the servers."""
    clear = {"clear_send", "clear_recv"} if app.site.small else set()
    for room in ROOMS:
        component = app.component(room)
        known = {f"{part}{n}" for n in NEIGHBOURS[room] for part in ("to_", "from_", "ring_", "rung_by_")}
        known |= clear if room != "crypto" else set()
        if component.hardware:
            yield Violation("guests.camkes", component.name, "is hardware: a guest is none")
        if [m.name for m in component.macros] != [_GUEST_MACRO]:
            yield Violation("guests.camkes", component.name, f"has to have {_GUEST_MACRO} and no other macro")
        for name in sorted(component.interfaces.keys() ^ known):
            yield Violation("guests.camkes", f"{component.name}.{name}", "is missing" if name in known else
                            f"is no interface of {room}'s guest: it would be an edge that no rule knows")
    if len({app.component(room).name for room in ROOMS}) < len(ROOMS):
        yield Violation(render.ASSEMBLY, "", "two guests have one type: each needs a table of connections of its own")
    allowed = _SERVERS | ({"VirtQueueInit"} if app.site.small else set())
    for name, instance in app.assembly.instances.items():
        if name not in {render.vm(room) for room in ROOMS} and instance.type not in allowed:
            yield Violation(_at(instance.line), name,
                            f"a component of type {instance.type} belongs to no room and is no server of upstream's monitors")
    for macro in app.assembly.macros:
        if macro.name not in _MACROS[app.platform.arm]:
            yield Violation(_at(macro.line), macro.name, "a macro of which nothing is known here: write what it would make")
    have = [m.name for m in app.assembly.macros]
    for name in sorted(n for n in _MACROS[app.platform.arm] if have.count(n) != 1):
        yield Violation(render.ASSEMBLY, name, "belongs here once")


def connections(app: Application) -> Iterator[Violation]:
    """Every edge is one of a ring, of the link in clear, or of a guest's monitor with a server."""
    expected = _expected(app)
    found = {_key(c) for c in app.assembly.connections.values()}
    for (connector, sources, sinks) in expected - found:
        ends = ", ".join([f"from {e}" for e in sorted(sources)] + [f"to {e}" for e in sorted(sinks)])
        yield Violation(render.ASSEMBLY, "", f"lacks the connection {connector} ({ends})")
    names = servers(app)
    once: dict[object, str] = {}
    for c in app.assembly.connections.values():
        if _key(c) in once:
            yield Violation(_at(c.line), c.name, f"is {once[_key(c)]} a second time")
        once[_key(c)] = c.name
        if _key(c) in expected or _served(app, c, names):
            continue
        joined = sorted(app.rooms(c))
        if joined == ["black", "red"]:
            yield Violation(_at(c.line), c.name, "joins black and red: " + ("in small mode by the link in clear alone" if app.site.small
                                                                           else "in large mode nothing may"))
        else:
            yield Violation(_at(c.line), c.name,
                            f"is an edge of {' and '.join(joined) or 'servers'} that neither a ring nor a server needs")
    for room in ROOMS:
        reached = [n for c in app.assembly.connections.values() for n in {e.instance for e in c.sinks}
                   if names.get(n) == "FileServer" and room in app.rooms(c)]
        if len(reached) != 1:
            yield Violation(render.ASSEMBLY, f"{render.vm(room)}.fs", "has to have one file server")


def _key(c: Connection) -> tuple[str, frozenset[str], frozenset[str]]:
    return c.connector, frozenset(".".join(e) for e in c.sources), frozenset(".".join(e) for e in c.sinks)


def _expected(app: Application) -> set[tuple[str, frozenset[str], frozenset[str]]]:
    made = set()
    vm = {room: render.vm(room) for room in ROOMS}
    for a, b in render.edges():
        made.add((DATA, frozenset({f"{vm[a]}.to_{b}"}), frozenset({f"{vm[b]}.from_{a}"})))
        made.add((BELL[app.platform.arm], frozenset({f"{vm[a]}.ring_{b}"}), frozenset({f"{vm[b]}.rung_by_{a}"})))
    for ours, theirs in _CONSOLE[app.platform.arm].items():
        made.add(("seL4SerialServer", frozenset(f"{v}.{ours}" for v in vm.values()), frozenset({f"{_SERIAL}.{theirs}"})))
    if app.site.small:
        ends = frozenset(f"{vm[room]}.clear_{way}" for room in ("black", "red") for way in ("send", "recv"))
        made.add((CLEAR, ends, frozenset({"clear.init"})))
    return made


def _served(app: Application, c: Connection, names: dict[str, str]) -> bool:
    """Is it one of a guest's monitor with a server, with itself, or of two servers?"""
    arm = app.platform.arm
    if len(c.sources) != 1 or len(c.sinks) != 1:
        return False
    source, sink = c.sources[0], c.sinks[0]
    if app.room(source) is None:
        return arm and (c.connector, names.get(source.instance), source.interface, names.get(sink.instance), sink.interface) == \
            ("seL4TimeServer", "SerialServer", "timeout", "TimeServer", "the_timer")
    if source.instance == sink.instance:
        return (c.connector, source.interface, sink.interface) in _OWN[arm]
    return (c.connector, source.interface, names.get(sink.instance, ""), sink.interface) in _SERVED[arm]


def console(app: Application) -> Iterator[Violation]:
    """Upstream numbers the guests on the serial line in the order of the ends: who types to crypto, a passphrase
    too, must not type to another."""
    wanted = [render.vm(room) for room in ROOMS]
    for c in app.assembly.connections.values():
        found = [end.instance for end in c.sources]
        if any(end.instance == _SERIAL for end in c.sinks) and c.connector == "seL4SerialServer" and found != wanted:
            yield Violation(_at(c.line), c.name, f"numbers the guests {', '.join(found)}, not {', '.join(wanted)}")


def one_way(app: Application) -> Iterator[Violation]:
    """Who reads a dataport cannot write it, where the platform allows to say so."""
    if not app.platform.one_way:
        return
    for a, b in render.edges():
        for room, port, wanted in ((a, f"to_{b}", "RW"), (b, f"from_{a}", "R")):
            found = app.value(render.vm(room), f"{port}_access", "RWXP")
            if found != wanted:
                yield Violation(render.ASSEMBLY,
                                f"{render.vm(room)}.{port}_access", f"is {found!r}, not {wanted!r}: {a} alone may write what {b} reads")


def sizes(app: Application) -> Iterator[Violation]:
    """Powers of two, the same in all places, that fit into the window in which a guest sees them."""
    size_of: dict[tuple[str, str], int] = {}
    for a, b in render.edges():
        carried = DATA, frozenset({f"{render.vm(a)}.to_{b}"})
        name = next((c.name for c in app.assembly.connections.values() if _key(c)[:2] == carried), f"{a}_to_{b}")
        size = app.value(name, "size")
        if type(size) is not int or size < MIB or size & (size - 1):
            yield Violation(render.ASSEMBLY, f"{name}.size", f"{size} is no power of two of at least 1 MiB")
            continue
        for room, port in ((a, f"to_{b}"), (b, f"from_{a}")):
            size_of[room, port] = size
            declared = app.component(room).interfaces.get(port)
            if declared is not None and declared.size != size:
                yield Violation("guests.camkes",
                                f"{app.component(room).name}.{port}", f"Buf({declared.size}) is not the dataport's size, {size:#x}")
    window = app.platform.window
    for room in ROOMS:
        at = window.base
        for row in app.tables[room][1]:
            size = size_of.get((room, row.dataport), 0)
            if size and at % size:
                yield Violation(f"src/{room}.c", row.dataport, f"would lie at {at:#x}, no multiple of its size: put larger ones first")
            at += 2 * size  # its registers take as many addresses as its memory
        if at > window.end:
            yield Violation(render.PLATFORM_FILE, "connections.size", f"{room}'s connections end at {at:#x}, behind the window {window}")
        if len(app.tables[room][1]) > MOST_DEVICES:
            yield Violation(f"src/{room}.c", "connections", f"more than {MOST_DEVICES}")


def tables(app: Application) -> Iterator[Violation]:
    """The glue names each dataport once, first the way to a neighbour, then the way from it, with its bells."""
    arm, base = app.platform.arm, app.platform.window.base
    if not arm and base != X86_WINDOW:
        yield Violation(render.PLATFORM_FILE, "connections.base", f"is {base:#x}; upstream's monitor has {X86_WINDOW:#x}")
    for room in ROOMS:
        first, rows = app.tables[room]
        wanted = [row for n in NEIGHBOURS[room] for row in (
            Row(f"to_{n}", f"ring_{n}", "", f"to-{n}" if arm else ""), Row(f"from_{n}", "", f"rung_by_{n}", f"from-{n}" if arm else ""))]
        for number, (row, other) in enumerate(zip(rows, wanted)):
            if row != other:
                yield Violation(f"src/{room}.c", f"connections[{number}]", f"is {_said(row)}, not {_said(other)}")
        card = f" {render.CLEAR_SOURCE}" if arm and app.site.small and room != "crypto" else ""
        wanted_build = f"EXTRA_SOURCES ${{CMAKE_CURRENT_LIST_DIR}}/src/{room}.c{card} EXTRA_LD_FLAGS {_WRAPPED[arm]}"
        yield from _built(app, app.component(room).name, wanted_build)
        if arm and first != base:
            yield Violation(f"src/{room}.c",
                            "FIRST_ADDRESS", f"is {first and hex(first)}, not connections.base {base:#x} of {render.PLATFORM_FILE}")


def clock(app: Application) -> Iterator[Violation]:
    """Upstream's stops every guest after five minutes."""
    guests = {app.component(room).name for room in ROOMS}
    if app.platform.arm:
        yield from _built(app, "TimeServer", _CLOCK)
    for name in sorted(app.built.keys() - guests - ({"TimeServer"} if app.platform.arm else set())):
        yield Violation("CMakeLists.txt", name, "is built anew: what it would be then is not known here")


def _built(app: Application, name: str, wanted: str) -> Iterator[Violation]:
    if app.built.get(name, "") != wanted:
        yield Violation("CMakeLists.txt", name, f"is not built with {wanted} and no more")


def _said(row: Row) -> str:
    named = f", named {row.name!r}" if row.name else ""
    return f"{row.dataport} that rings {row.emits or 'nobody'} and hears {row.hears or 'nobody'}{named}"
