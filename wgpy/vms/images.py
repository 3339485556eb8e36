"""The images that `make guests` built, and what is put into each for one node."""

import json
import os
import stat
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wgpy.config.site_model import Site
from wgpy.errors import HostError
from wgpy.ring import lane
from wgpy.ring import layout as ring
from wgpy.vms import newc, qemu

ROOMS = ("black", "crypto", "red")
STORE = "keys.sealed"  # on crypto's disk
CONSOLE = "/dev/hvc0"
_ARCHITECTURES = {"x86_64": "amd64"}
_MOST = 1 << 20  # bytes of a manifest
_FILE = stat.S_IFREG | 0o600


def default_folder() -> Path:
    """Of this machine's architecture: where a package puts them, else those of a checkout."""
    arch = _ARCHITECTURES.get(os.uname().machine, os.uname().machine)
    installed = Path("/usr/share/wgpy/guests") / arch
    return installed if installed.is_dir() else Path(__file__).resolve().parents[2] / "dist" / "guests" / arch


def entries(files: dict[str, bytes]) -> dict[str, newc.Entry]:
    """Files that root alone may read, for an archive."""
    return {name: newc.Entry(_FILE, data) for name, data in files.items()}


def own_files(room: str, site: Site, text: bytes) -> dict[str, newc.Entry]:
    """What a room's image gets for one node."""
    return entries({"etc/wgpy/room.toml": room_file(room, site).encode(), "etc/wgpy/site.toml": text})


def this_wgpy() -> dict[str, Any]:
    """What images and host have to agree in, as a manifest has it."""
    return {"wgpy": version("wgpy"), "ring": ring.VERSION, "lane": lane.VERSION}


class Images:
    """Of one build, complete, for this wgpy, and for this machine or for `arch` as Debian calls it."""

    def __init__(self, folder: Path, arch: str | None = None):
        """HostError, with the remedy."""
        self.folder = folder
        manifests = [self._manifest(room) for room in ROOMS]
        self._kernel = self._read("vmlinuz")
        self.command_line = self._read("command-line").decode(errors="replace").strip()
        wanted = arch or _ARCHITECTURES.get(os.uname().machine, os.uname().machine)
        if any(m.get("architecture") != wanted for m in manifests):
            raise HostError(f"{folder}: images for {manifests[0].get('architecture')}, not for {wanted}")
        if len({str(m.get("kernel")) for m in manifests}) > 1:
            raise HostError(f"{folder}: images of different builds: make guests")
        self.kernel_version = str(manifests[0].get("kernel"))

    @property
    def kernel(self) -> bytes:
        """Linux, the same in each guest."""
        return self._kernel

    def ramdisk(self, room: str, site: Site, text: bytes) -> bytes:
        """A room's image with its room file and the site file, whose `text` is. HostError."""
        return newc.appended(self.packed(room), own_files(room, site, text))

    def packed(self, room: str) -> bytes:
        """A room's image as it was built. HostError."""
        return self._read(f"{room}.cpio.zst")

    def _manifest(self, room: str) -> dict[str, Any]:
        name = f"{room}.manifest.json"
        try:
            found = json.loads(self._read(name, _MOST))
            if not isinstance(found, dict) or found.get("room") != room:
                raise ValueError
        except ValueError:
            raise HostError(f"{self.folder / name}: no manifest of {room}'s image: make guests") from None
        here = this_wgpy()
        there = {key: found.get(key) for key in here}
        if there != here:
            raise HostError(f"{self.folder}: images of {_named(there)}, this is {_named(here)}: make guests")
        return found

    def _read(self, name: str, most: int = 1 << 28) -> bytes:
        path = self.folder / name
        try:
            if path.stat().st_size > most:
                raise HostError(f"{path}: more than {most} bytes")
            return path.read_bytes()
        except FileNotFoundError:
            raise HostError(f"{path}: no such file: make guests builds the images, --images DIR says where they are") from None
        except OSError as e:
            raise HostError(f"{path}: {e.strerror}") from None


def _named(of: dict[str, Any]) -> str:
    return f"wgpy {of['wgpy']} (ring {of['ring']}, lane {of['lane']})"


def room_file(room: str, site: Site) -> str:
    """docs/room-file.md; the places are those of qemu.py."""
    lines = [f'room = "{room}"', 'site = "/etc/wgpy/site.toml"', "[rings]"]
    lines += [f'{neighbour} = "uio:{qemu.address(slot)}"' for neighbour, slot in qemu.RINGS[room].items()]
    if room == "crypto":
        lines += ["[keys]", f'store = "/state/{STORE}"', "[console]", f'tty = "{CONSOLE}"', "[state]", 'dir = "/state"']
    else:
        lines += ["[links]", f'{"wan" if room == "black" else "lan"} = "eth0"']
        if site.small:
            lines.append('clear = "eth1"')
    return "\n".join([*lines, ""])
