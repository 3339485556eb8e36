"""Rules of what each guest has: devices, memory, interrupts, time, files. Each rule is a function that yields
violations of what an application's files say."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from wgpy.camkes import render
from wgpy.camkes.application import Application, Violation
from wgpy.camkes.edges import servers
from wgpy.camkes.platform import MIB, PAGE, ROOMS, Span
from wgpy.camkes.syntax import Call

DEVICES = {"dtb_irqs", "untyped_mmios", "pci_devices", "pci_devices_iospace", "vm_irqs", "vm_ioports"}  # what gives hardware
_OF_GUEST = {
    True: {"simple", "asid_pool", "base_prio", "_priority", "sem_value", "heap_size", "fs_shmem_size", "batch_shmem_size",
           "serial_getchar_shmem_size", "global_endpoint_base", "cnode_size_bits", "num_extra_frame_caps", "extra_frame_map_address",
           "vm_address_config", "vm_image_config", "dtb", "mmios", "untyped_mmios"},
    False: {"_priority", "heap_size", "cnode_size_bits", "guest_ram_mb", "kernel_cmdline", "kernel_image", "kernel_relocs", "initrd_image",
            "iospace_domain", "pci_devices", "pci_devices_iospace", "vm_irqs", "vm_ioports"},
}
_OF_CLEAR = {"clear_recv_id", "clear_recv_shmem_size", "clear_recv_attributes", "clear_send_id", "clear_send_shmem_size",
             "clear_send_attributes", "vswitch_mac_address", "vswitch_layout", "init_cons"}
_OF_SERVER = {"FileServer": {"heap_size"}, "TimeServer": {"timers_per_client", "priority", "simple"}, "SerialServer": set(),
              "VirtQueueInit": {"init_topology"}, "PCIConfigIO": set(), "RTC": set()}
_POOL = re.compile(r"simple_untyped(\d\d)_pool$")
_TAKEN = {2: "the timer", 3: "COM2", 4: "COM1", 12: "the rings"}  # on x86, by upstream's servers and monitor
_LINES = 16


def attributes(app: Application) -> Iterator[Violation]:
    """An attribute that nobody here knows may give a capability."""
    guests, names = {render.vm(room): room for room in ROOMS}, servers(app)
    for (instance, attribute), setting in app.assembly.settings.items():
        if instance in guests:
            room = guests[instance]
            ports = {f"{name}_access" for name, i in app.component(room).interfaces.items() if i.kind == "dataport"}
            known = _OF_GUEST[app.platform.arm] | ports | (_OF_CLEAR if app.site.small and room != "crypto" else set())
            fine = attribute in known or _POOL.match(attribute) is not None
        elif instance in names:
            fine = attribute in _OF_SERVER.get(names[instance], set())
        else:
            fine = instance in app.assembly.connections and attribute == "size"
        if not fine:
            kind = "gives hardware" if attribute in DEVICES else "is not known here: what it gives cannot be judged"
            yield Violation(f"{render.ASSEMBLY}:{setting.line}", f"{instance}.{attribute}", kind)


def devices(app: Application) -> Iterator[Violation]:
    """Crypto has none. The others have those of the platform file, no more, and each has one owner."""
    for room in ROOMS:
        name, guest = render.vm(room), app.platform.guests[room]
        settings = app.settings(name)
        if room == "crypto":
            for attribute in sorted(DEVICES & settings.keys()):
                yield Violation(f"{render.ASSEMBLY}:{settings[attribute].line}",
                                f"{name}.{attribute}", "crypto has no device, interrupt, port or memory of one")
        if app.platform.arm:
            yield from _of_tree(app, name, {d.path for d in guest.devices})
        else:
            yield from _of_bus(app, name, room)
    yield from _owners(app)


def _of_tree(app: Application, name: str, paths: set[str]) -> Iterator[Violation]:
    query = app.value(name, "dtb")
    asked = query.argument if isinstance(query, Call) and query.name == "dtb" and isinstance(query.argument, list) else None
    if asked is None or not all(isinstance(q, dict) and q.keys() <= {"path"} for q in asked):
        yield Violation(render.ASSEMBLY, f"{name}.dtb", 'has to be dtb([{"path": ...}]), or dtb([{}]) for no device')
        return
    found = [q["path"] for q in asked if q]
    if sorted(found) != sorted(paths):
        yield Violation(render.ASSEMBLY, f"{name}.dtb",
                        f"gives {', '.join(found) or 'nothing'}; {render.PLATFORM_FILE} has {', '.join(sorted(paths)) or 'nothing'}")
    wanted = [f"{page:#x}:0x1000:12" for page in app.platform.shared]
    if app.value(name, "mmios", []) != wanted:
        yield Violation(render.ASSEMBLY, f"{name}.mmios", f"has to be {wanted}: pages of the interrupt controller and no device's")


def _of_bus(app: Application, name: str, room: str) -> Iterator[Violation]:
    guest = app.platform.guests[room]
    wanted = [{"name": d.link, "bus": d.pci[0], "dev": d.pci[1], "fun": d.pci[2], "irq": d.link,
               "memory": [{"paddr": s.base, "size": s.size, "page_bits": render.PAGE_BITS} for s in d.memory]} for d in guest.devices]
    if app.value(name, "pci_devices", []) != wanted:
        yield Violation(render.ASSEMBLY, f"{name}.pci_devices", f"is not what {render.PLATFORM_FILE} gives {room}")
    ports = [{"start": s.base, "end": s.end - 1, "pci_device": 0, "name": d.link} for d in guest.devices for s in d.ports]
    if app.value(name, "vm_ioports", []) != ports:
        yield Violation(render.ASSEMBLY, f"{name}.vm_ioports", f"is not what {render.PLATFORM_FILE} gives {room}")
    for setting in app.value(name, "pci_devices", []):
        for span in setting.get("memory", []) if isinstance(setting, dict) else []:
            size, bits = span.get("size", 0), span.get("page_bits")
            if bits != render.PAGE_BITS or span.get("paddr", 1) % PAGE or size % PAGE:
                yield Violation(render.ASSEMBLY,
                                f"{name}.pci_devices", f"{span.get('paddr', 0):#x} is not of whole pages of 12 bits")


def _owners(app: Application) -> Iterator[Violation]:
    """Of pages, and of whole devices."""
    taken: list[tuple[str, Span]] = []
    for room in ROOMS:
        guest, name = app.platform.guests[room], render.vm(room)
        spans = [Span(s.base & -4096, -(-s.size // 4096) * 4096) for d in guest.devices for s in d.memory]
        spans += [span for span, _ in _untyped(app, name)]
        for span in spans:
            for other, before in taken:
                if span.overlaps(before):
                    yield Violation(render.PLATFORM_FILE, room, f"{span} shares a page or more with {before} of {other}")
            taken.append((room, span))


def _untyped(app: Application, name: str) -> list[tuple[Span, str]]:
    found = []
    for text in app.value(name, "untyped_mmios", []):
        match = re.fullmatch(r"(0x[0-9a-fA-F]+):(\d+)", text) if isinstance(text, str) else None
        if match and int(match.group(2)) < 48:
            found.append((Span(int(match.group(1), 16), 1 << int(match.group(2))), text))
    return found


def memory(app: Application) -> Iterator[Violation]:
    """One to one only where a card without an IOMMU needs it, then exactly its own; else the pool covers it."""
    total = 0
    for room in ROOMS:
        name, ram = render.vm(room), _ram(app, room)
        if ram is None:
            yield Violation(render.ASSEMBLY, name, "says no base and size of its memory")
            continue
        one_to_one, untyped = _one_to_one(app, name), app.value(name, "untyped_mmios", [])
        if one_to_one and not app.platform.guests[room].one_to_one:
            yield Violation(render.ASSEMBLY,
                            f"{name}.vm_image_config", f"{room}'s memory is mapped one to one, which only a card without an IOMMU needs")
        if untyped and room != "crypto" and (not one_to_one or [s for s, _ in _untyped(app, name)] != [ram]):
            yield Violation(render.ASSEMBLY, f"{name}.untyped_mmios", f"{untyped} is not the guest's memory, {ram}, mapped one to one")
        if one_to_one and not untyped:
            yield Violation(render.ASSEMBLY, f"{name}.untyped_mmios", f"lacks the guest's memory, {ram}")
        if one_to_one and not any(free.holds(ram) for free in app.platform.free):
            yield Violation(render.ASSEMBLY, f"{name}.vm_address_config", f"{ram} is not in platform.free of {render.PLATFORM_FILE}")
        pool = _pool(app, name)
        spare = render.SPARE[app.platform.arm] << render.POOL_BITS[app.platform.arm]
        needed = spare + (0 if one_to_one else ram.size)
        if pool < needed:
            yield Violation(render.ASSEMBLY, f"{name}.simple_untyped{render.POOL_BITS[app.platform.arm]}_pool",
                            f"the pools are {pool // MIB} MiB, {needed // MIB} MiB are needed: "
                            f"guest memory and {spare // MIB} MiB for its monitor")
        total += pool + (ram.size if one_to_one else 0)
    if total >= app.platform.memory:
        yield Violation(render.PLATFORM_FILE,
                        "platform.memory", f"the guests take {total // MIB} MiB of the machine's {app.platform.memory // MIB}")


def _pool(app: Application, name: str) -> int:
    pools = [(s.value, int(m.group(1))) for a, s in app.settings(name).items() if (m := _POOL.match(a))]
    return sum(count << bits for count, bits in pools if type(count) is int and count >= 0)


def _one_to_one(app: Application, name: str) -> bool:
    return bool(app.platform.arm and _table(app, name, "vm_image_config").get("map_one_to_one") is not False)


def _table(app: Application, name: str, attribute: str) -> dict[str, Any]:
    found = app.value(name, attribute)
    return found if isinstance(found, dict) else {}


def _ram(app: Application, room: str) -> Span | None:
    """As the assembly says."""
    name = render.vm(room)
    if not app.platform.arm:
        size = app.value(name, "guest_ram_mb")
        return Span(0, size * MIB) if type(size) is int and size > 0 else None
    found = _table(app, name, "vm_address_config")
    try:
        return Span(int(found["ram_base"], 0), int(found["ram_size"], 0))
    except (KeyError, TypeError, ValueError):
        return None


def interrupts(app: Application) -> Iterator[Violation]:
    """Each has one owner, and is level or edge as the device needs."""
    owners: dict[object, str] = {}
    for room in ROOMS:
        for device in app.platform.guests[room].devices:
            key = device.interrupt.ioapic, device.interrupt.number
            if key in owners:
                yield Violation(render.PLATFORM_FILE, f"{room}.device", f"interrupt {device.interrupt.number} is {owners[key]}'s already")
            owners[key] = room
            if app.platform.arm:
                node = device.path.strip("/")
                wanted = (device.interrupt.number, 4 if device.interrupt.level else 1)
                if app.levels.get(node) != wanted:
                    found = app.levels.get(node)
                    yield Violation("overlay.dts", node,
                                    f"is {'not here' if found is None else f'interrupt {found[0]} of kind {found[1]}'}; "
                                    f"{render.PLATFORM_FILE} has {wanted[0]} of kind {wanted[1]}")
    if not app.platform.arm:
        yield from _of_ioapic(app)


def _of_ioapic(app: Application) -> Iterator[Violation]:
    seen: dict[int, str] = {}
    for room in ROOMS:
        name = render.vm(room)
        found = app.value(name, "vm_irqs", [])
        wanted = [{"name": d.link, "ioapic": d.interrupt.ioapic, "source": d.interrupt.number, "level_trig": int(d.interrupt.level),
                   "active_low": int(d.interrupt.low), "dest": d.interrupt.dest} for d in app.platform.guests[room].devices]
        if found != wanted:
            yield Violation(render.ASSEMBLY, f"{name}.vm_irqs", f"is not what {render.PLATFORM_FILE} gives {room}")
        for line in (d.interrupt.dest for d in app.platform.guests[room].devices):
            if not 0 < line < _LINES or line in _TAKEN:
                yield Violation(render.PLATFORM_FILE, f"{room}.device.interrupt.dest",
                                f"{line} belongs to {_TAKEN[line]}" if line in _TAKEN else f"{line} is none of 1 to 15")
            if line in seen:
                yield Violation(render.PLATFORM_FILE,
                                f"{room}.device.interrupt.dest", f"{line} is {seen[line]}'s; it has to be the only one in the machine")
            seen[line] = room


def iommu(app: Application) -> Iterator[Violation]:
    """On x86 a card is given only behind it, and each guest has a domain of its own there."""
    if app.platform.arm:
        return
    name = render.settings_file(False)
    wanted = "ON" if app.platform.iommu else "OFF"
    for option in ("CAmkESVMGuestDMAIommu", "KernelIOMMU"):
        if app.options.get(option) != wanted:
            yield Violation(name, option,
                            f"is {app.options.get(option, 'not set')}, not {wanted} as platform.iommu of {render.PLATFORM_FILE}")
    domains: dict[object, str] = {}
    for room in ROOMS:
        vm, guest = render.vm(room), app.platform.guests[room]
        if guest.devices and not app.platform.iommu:
            yield Violation(render.PLATFORM_FILE,
                            f"{room}.device", "without an IOMMU no card is passed through: its DMA would reach every room")
        if guest.devices and app.value(vm, "pci_devices_iospace") != 1:
            yield Violation(render.ASSEMBLY, f"{vm}.pci_devices_iospace", f"has to be 1: else {room}'s card is not behind the IOMMU")
        domain = app.value(vm, "iospace_domain")
        if type(domain) is not int or domain <= 0 or domain in domains:
            yield Violation(render.ASSEMBLY, f"{vm}.iospace_domain",
                            f"{domain} is not a number of its own" + (f": {domains[domain]} has it" if domain in domains else ""))
        domains[domain] = room


def schedule(app: Application) -> Iterator[Violation]:
    """Who spins takes his turn and no more: nobody is above crypto, and on arm, where an idle guest does not
    give its processor back, nobody above anybody."""
    for attribute in ("base_prio", "_priority") if app.platform.arm else ("_priority",):
        found = {room: app.value(render.vm(room), attribute) for room in ROOMS}
        if not all(type(v) is int and 0 < v < 250 for v in found.values()):
            yield Violation(render.ASSEMBLY, attribute, "each guest needs one, below 250 where the servers are")
        elif any(found[room] > found["crypto"] for room in ROOMS):
            yield Violation(render.ASSEMBLY, attribute, "a guest is above crypto: spinning it would starve it")
        elif app.platform.arm and len(set(found.values())) > 1:
            yield Violation(render.ASSEMBLY, attribute,
                            "differs: on arm an idle guest keeps its processor, so that those below it never run")


def options(app: Application) -> Iterator[Violation]:
    """What the rest relies on when upstream is built."""
    wanted = {"KernelMaxNumNodes": "1"}
    if app.platform.arm:
        wanted |= dict.fromkeys(("VmPCISupport", "VmVirtioConsole", "KernelArmExportPCNTUser", "KernelArmExportPTMRUser"), "ON")
        wanted["VmVirtioNetVirtqueue"] = "OFF"  # ON gives crypto a card, too
        wanted["KernelCustomDTSOverlay"] = '"${CMAKE_CURRENT_LIST_DIR}/overlay.dts"'
    else:
        wanted |= {"KernelSel4Arch": "x86_64", "KernelX86_64VTX64BitGuests": "ON"}
    name = render.settings_file(app.platform.arm)
    for option, value in wanted.items():
        if app.options.get(option) != value:
            yield Violation(name, option, f"is {app.options.get(option, 'not set')}, not {value}")
    if app.options.get("SIMULATION", "OFF") != "OFF" and app.platform.arm:
        yield Violation(name, "SIMULATION", "takes the timer away that the time server needs")
    if app.site.small and not app.platform.clear:
        yield Violation(render.PLATFORM_FILE,
                        "platform.clear", f"is false, and {render.SITE_FILE} is in small mode, which needs the link in clear")


def images(app: Application) -> Iterator[Violation]:
    """Crypto boots from a file server of its own, everybody from files that are there and fit."""
    serves = {c.sources[0].instance: c.sinks[0].instance for c in app.assembly.connections.values() if c.connector == "seL4RPCDataport"}
    for room in ROOMS:
        name, server = render.vm(room), serves.get(render.vm(room), "")
        kernel, initrd = _booted(app, name)
        have = {served for served, _, instance in app.served if instance == server}
        for what in (kernel, initrd):
            if what not in have:
                yield Violation("CMakeLists.txt", str(what), f"is not in {server or 'a file server'}, from which {room} boots")
        if room != "crypto" and server == serves.get(render.vm("crypto")):
            yield Violation(render.ASSEMBLY, f"{name}.fs", f"{room} and crypto share {server}: {room}'s monitor could read crypto's image")
        yield from _fits(app, room, initrd)
    for served, path, instance in app.served:
        if ("crypto" in served or "crypto" in path) and instance != serves.get(render.vm("crypto")):
            yield Violation("CMakeLists.txt", served, f"puts crypto's image into {instance}, which another guest's monitor reads")


def _booted(app: Application, name: str) -> tuple[str, str]:
    if app.platform.arm:
        table = _table(app, name, "vm_image_config")
        return table.get("kernel_name", ""), table.get("initrd_name", "")
    return app.value(name, "kernel_image", ""), app.value(name, "initrd_image", "")


def _fits(app: Application, room: str, initrd: str) -> Iterator[Violation]:
    name, ram = render.vm(room), _ram(app, room)
    if ram is None:
        return
    kernel_room = initrd_room = ram.size // 2
    if app.platform.arm:
        table = _table(app, name, "vm_address_config")
        try:
            at, tree = int(table["initrd_addr"], 0), int(table["dtb_addr"], 0)
        except (KeyError, TypeError, ValueError):
            at = tree = 0
        if not ram.base < at < tree < ram.end - MIB:
            yield Violation(render.ASSEMBLY, f"{name}.vm_address_config",
                            "initrd_addr and dtb_addr have to lie in this order in the guest's memory, the latter 1 MiB before its end")
            return
        kernel_room, initrd_room = at - ram.base, tree - at
    for file, space in (("images/linux", kernel_room), (f"images/{initrd}", initrd_room)):
        size = app.sizes.get(file)
        if size is None and app.sizes:
            yield Violation(file, "", "is missing")
        elif size is not None and size > space:
            yield Violation(file, "", f"{size} bytes are too large for {room}: there is room for {space}")


def rooms(app: Application, texts: dict[str, bytes]) -> Iterator[Violation]:
    """Each guest is told of connections that it has."""
    for room in ROOMS:
        file = f"rooms/{room}.toml"
        try:
            table = tomllib.loads(texts[file].decode())
            said, name = table["rings"], table["room"]
        except (KeyError, ValueError, TypeError) as e:
            yield Violation(file, "", f"cannot be read: {e}")
            continue
        if name != room:
            yield Violation(file, "room", f"is {name!r}")
        rows = app.tables[room][1]
        names = [row.name for row in rows] if app.platform.arm else [f"connector.{n}" for n in range(len(rows))]
        wanted = {row.dataport.removeprefix("to_"): f"uio:{names[n]},{names[n + 1]}"
                  for n, row in enumerate(rows[:-1]) if row.dataport.startswith("to_")}
        if said != wanted:
            yield Violation(file, "rings", f"is not {wanted}, the connections of src/{room}.c")
