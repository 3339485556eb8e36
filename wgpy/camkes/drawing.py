"""A drawing (SVG) of capabilities: what each guest can touch, as the application's files say. The same
application gives the same bytes."""

from html import escape

from wgpy.camkes import edges, render
from wgpy.camkes.application import Application
from wgpy.camkes.platform import MIB, NEIGHBOURS, ROOMS

_WIDTH, _BOX, _GAP, _TOP, _LINE = 1160, 250, 190, 60, 18
_FILL = {"black": "#d9d9d9", "crypto": "#dce9f7", "red": "#f7dcdc"}


def draw(app: Application) -> str:
    """The text of the file."""
    inside = {room: _inside(app, room) for room in ROOMS}
    height = _LINE * (max(map(len, inside.values())) + 3)
    parts = []
    for number, room in enumerate(ROOMS):
        x = _left(number)
        parts.append(f'<rect x="{x}" y="{_TOP}" width="{_BOX}" height="{height}" fill="{_FILL[room]}" stroke="black"/>')
        parts.append(_text(x + 10, _TOP + 24, f"{room}: {render.vm(room)}, a Linux guest", bold=True))
        parts += [_text(x + 10, _TOP + 24 + _LINE * (i + 1), line) for i, line in enumerate(inside[room])]
    for neighbour in NEIGHBOURS["crypto"]:
        parts += _rings(app, neighbour)
    below = _TOP + height
    if app.site.small:
        y = below + 34
        start, end = _left(0) + _BOX // 2, _left(2) + _BOX // 2
        parts.append(f'<path d="M {start} {below} V {y} H {end} V {below}" fill="none" stroke="black" stroke-dasharray="6 4"/>')
        parts.append(_text((start + end) // 2, y - 6, "link in clear: virtual network cards", middle=True))
        below = y
    for line in _servers(app):
        below += _LINE + 4
        parts.append(_text(_left(0), below + 14, line))
    title = f"{app.site.node.name}, {app.site.node.mode} mode, {app.platform.name}: who can touch what"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{below + 40}" font-family="sans-serif" font-size="12">'
    marker = ('<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
              '<path d="M 0 0 L 8 4 L 0 8 z"/></marker></defs>')
    return "\n".join([head, f"<title>{escape(title)}</title>", marker, _text(20, 30, title, bold=True), *parts, "</svg>", ""])


def _left(number: int) -> int:
    return 20 + number * (_BOX + _GAP)


def _text(x: int, y: int, text: str, *, bold: bool = False, middle: bool = False) -> str:
    how = (' font-weight="bold"' if bold else "") + (' text-anchor="middle"' if middle else "")
    return f'<text x="{x}" y="{y}"{how}>{escape(text)}</text>'


def _inside(app: Application, room: str) -> list[str]:
    """What a guest has beside its rings."""
    guest = app.platform.guests[room]
    lines = [f"memory: {guest.ram.size // MIB} MiB, " + ("one to one" if guest.one_to_one else "of a pool of its own")]
    for device in guest.devices:
        where = device.path or "PCI {:02x}:{:02x}.{}".format(*device.pci)
        lines += [f"{device.link}: {where}", f"interrupt {device.interrupt.number}, {'level' if device.interrupt.level else 'edge'}"]
        lines += [f"memory {span}" for span in device.memory] + [f"ports {span}" for span in device.ports]
        lines.append("DMA: its own memory (IOMMU)" if app.platform.iommu else "DMA: ALL MEMORY, no IOMMU")
    return lines if guest.devices else [*lines, "no device, no interrupt, no DMA"]


def _rings(app: Application, neighbour: str) -> list[str]:
    """Arrows between crypto and a neighbour, with the rights of both ends."""
    left, right = sorted(("crypto", neighbour), key=ROOMS.index)
    x, y, parts = _left(ROOMS.index(left)) + _BOX, _TOP + 30, []
    for source, sink in ((left, right), (right, left)):
        start, end = (x, x + _GAP) if source == left else (x + _GAP, x)
        size = app.value(f"{source}_to_{sink}", "size", app.platform.dataport)
        rights = [app.value(render.vm(room), f"{port}_access", "RW") for room, port in ((source, f"to_{sink}"), (sink, f"from_{source}"))]
        parts.append(f'<path d="M {start} {y} H {end}" stroke="black" marker-end="url(#end)"/>')
        parts.append(_text(x + _GAP // 2, y - 5, f"{size // 1024} KiB, doorbell", middle=True))
        parts.append(_text(x + _GAP // 2, y + 14, f"{source} {rights[0]}, {sink} {rights[1]}", middle=True))
        y += 54
    return parts


def _servers(app: Application) -> list[str]:
    """What monitors reach that are trusted; no guest does itself."""
    users: dict[str, set[str]] = {}
    for connection in app.assembly.connections.values():
        for end in connection.sinks:
            if app.room(end) is None:
                users.setdefault(end.instance, set()).update(app.rooms(connection))
    types = edges.servers(app)
    return ["Servers, which the monitors of guests call:"] + [
        f"{name} ({types.get(name, '?')}): {', '.join(sorted(who))}" for name, who in sorted(users.items()) if who]
