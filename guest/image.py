"""One room's image: its files, and of which package each is."""

import os
from collections.abc import Callable
from pathlib import Path

import layout
from closure import Libraries, Modules, built_in_modules, is_elf, kernel_modules
from system import ROOT, System

from wgpy.vms.newc import CONSOLE, FILE, FOLDER, LINK, PROGRAM, Entry, with_folders

PID1 = Path(__file__).parent / "pid1.py"
SITE = Path(__file__).parent / "python_site.py"
RING = "usr/lib/modules/wgpy_ring.ko"  # after all that it depends on
Compile = Callable[[dict[str, Path]], dict[str, bytes]]


class Image:
    """`built`: our extension modules for this system, by module; `module`: wgpy_ring.ko."""

    def __init__(self, room: layout.Room, system: System, built: dict[str, Path], module: bytes):
        self.room, self._system, self._built = room, system, built
        self.files: dict[str, Path] = {}    # as they are, by place
        self.sources: dict[str, Path] = {}  # to be compiled, by the place of the source
        self.made: dict[str, bytes] = {}
        self.unknown: set[str] = set()
        self._library = f"usr/lib/python{system.python}"
        self._add_python()
        self._add_programs()
        self._add_kernel(module)
        self.made["init"] = layout.INIT.format(python=system.python).encode() + PID1.read_bytes()

    def entries(self, compiled: dict[str, bytes]) -> dict[str, Entry]:
        """All of it, as the kernel unpacks it. `compiled`: by the place of the source."""
        found = {name: Entry(FOLDER) for name in layout.FOLDERS}
        folders = {place.split("/")[1] for place in self.files}
        found |= {name: Entry(LINK, f"usr/{name}".encode()) for name in ("lib", "lib64") if name in folders}
        found["dev/console"] = Entry(CONSOLE, device=(5, 1))
        found |= {place: Entry(PROGRAM if os.access(file, os.X_OK) else FILE, file.read_bytes()) for place, file in self.files.items()}
        found |= {place + "c": Entry(FILE, compiled[place]) for place in self.sources}
        found |= {place: Entry(PROGRAM if place == "init" else FILE, data) for place, data in self.made.items()}
        return with_folders(found)

    def origins(self) -> dict[str, str]:
        """By place; what is made here is wgpy's, a kernel module the kernel's."""
        whole = {place: self._system.origin(file.resolve()) for place, file in self.files.items()}
        whole |= {place + "c": self._system.origin(file.resolve()) for place, file in self.sources.items()}
        kernel = self._system.origin(self._system.kernel())
        return whole | {place: kernel if place.endswith(".ko") and place != RING else "wgpy" for place in self.made}

    def _add_python(self) -> None:
        found = Modules([ROOT, *self._system.python_path()], self.room.without, self._built)
        for module, file in found.reached([*layout.ALWAYS, *self.room.python]).items():
            inner = module.replace(".", "/")
            if file.suffix == ".so":
                folder = inner.rpartition("/")[0] or "lib-dynload"
                self.files[f"{self._library}/{folder}/{file.name}"] = file
            else:
                self.sources[f"{self._library}/{inner}{'/__init__' if file.name == '__init__.py' else ''}.py"] = file
        self.sources[f"{self._library}/sitecustomize.py"] = SITE
        self.unknown = found.unknown

    def _add_programs(self) -> None:
        root, libraries = self._system.root, Libraries(self._system.root, self._system.triplet)
        for place in (f"usr/bin/python{self._system.python}", *self.room.programs, *self.room.files):
            self.files[place] = root / place
        self.files |= dict(libraries.find(name) for name in self.room.libraries)
        self.files |= libraries.reached([f for f in self.files.values() if f.is_file() and is_elf(f)])

    def _add_kernel(self, module: bytes) -> None:
        tree = self._system.kernel_modules()
        modules = kernel_modules(tree, self.room.modules, built_in_modules(tree))
        self.made |= {f"usr/lib/modules/{name}.ko": data for name, data in modules.items()} | {RING: module}
        self.made["etc/wgpy/image"] = "".join(f"{word}\n" for word in (self.room.name, *modules, Path(RING).stem)).encode()
