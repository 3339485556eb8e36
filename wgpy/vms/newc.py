"""The kernel's archive of an initial RAM disk, "newc" (Documentation/driver-api/early-userspace):
sorted, owned by root, without times, so that the same files give the same bytes."""

import stat
from dataclasses import dataclass
from pathlib import PurePosixPath

FOLDER, PROGRAM, FILE, LINK = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777
CONSOLE = stat.S_IFCHR | 0o600


@dataclass(frozen=True)
class Entry:
    """A file, folder, link or device; `mode` as in stat."""
    mode: int
    data: bytes = b""           # of a link: where it leads
    device: tuple[int, int] = (0, 0)


def with_folders(entries: dict[str, Entry]) -> dict[str, Entry]:
    """By path, with every folder that a path has above it."""
    whole = dict(entries)
    for name in entries:
        for parent in PurePosixPath(name).parents:
            if str(parent) != ".":
                whole.setdefault(str(parent), Entry(FOLDER))
    return dict(sorted(whole.items(), key=lambda item: PurePosixPath(item[0]).parts))


def archive(entries: dict[str, Entry]) -> bytes:
    """The bytes, with the folders that the entries need."""
    out = bytearray()
    for number, (name, entry) in enumerate(with_folders(entries).items(), 1):
        _append(out, number, name, entry)
    _append(out, 0, "TRAILER!!!", Entry(0))
    return bytes(out) + bytes(-len(out) % 512)


def appended(packed: bytes, entries: dict[str, Entry]) -> bytes:
    """An image and an archive behind it, whose files take the place of those of the same name."""
    return packed + bytes(-len(packed) % 4) + archive(entries)


def _append(out: bytearray, number: int, name: str, entry: Entry) -> None:
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (number, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name.encode()) + 1, 0)
    out += b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
    out += bytes(-len(out) % 4) + entry.data
    out += bytes(-len(out) % 4)


def entries(data: bytes) -> dict[str, Entry]:
    """What an archive holds, by path. ValueError when it is none."""
    found: dict[str, Entry] = {}
    at = 0
    while True:
        if data[at:at + 6] != b"070701":
            raise ValueError(f"no entry at byte {at}")
        fields = [int(data[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
        name_at = at + 110
        name = data[name_at:name_at + fields[11] - 1].decode()
        data_at = (name_at + fields[11] + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found[name] = Entry(fields[1], data[data_at:data_at + fields[6]], (fields[9], fields[10]))
        at = (data_at + fields[6] + 3) & ~3
