#!/usr/bin/env python3
"""usage: room.py ROOT ROOM   leaves of a root that Buildroot made what guest/layout.py gives the room:
the Python that it reaches, in compiled form; its programs; the libraries that these load. /init is
guest/pid1.py, as in the images of Debian's packages. Buildroot runs this on a copy of its target
folder (BR2_ROOTFS_POST_FAKEROOT_SCRIPT); the interpreter is its own, of the target's version."""

import os
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
GUEST = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(GUEST))

import bytecode  # noqa: E402
import layout  # noqa: E402
from closure import Libraries, Modules, is_elf  # noqa: E402
from debian import BuildError  # noqa: E402


class Root:
    """`kept`: files that stay as they are, by place; `made`: what is written besides."""

    def __init__(self, root: Path, room: layout.Room):
        self._root, self._room = root, room
        homes = sorted((root / "usr/lib").glob("python3.*"))
        if len(homes) != 1:
            raise BuildError(f"{root}/usr/lib: one Python is wanted, not {len(homes)}")
        self._home, self._python = homes[0], homes[0].name.removeprefix("python")
        if self._python != f"{sys.version_info.major}.{sys.version_info.minor}":
            raise BuildError(f"the Python that runs this is {sys.version.split()[0]}, not one of {self._python}")
        self.made: dict[str, bytes] = {}
        self.kept, libraries = self._files(), Libraries(root, "")
        self.kept |= {libraries.find(name)[1] for name in room.libraries}
        self.kept |= set(libraries.reached([f for f in self.kept | self._modules() if is_elf(f)]).values())
        self._kernel()
        self.made["init"] = layout.INIT.format(python=self._python).encode() + (GUEST / "pid1.py").read_bytes()

    def _files(self) -> set[Path]:
        names = [f"python{self._python}", *(name.rpartition("/")[2] for name in self._room.programs)]
        found = {name: [p for folder in ("usr/bin", "usr/sbin") if (p := self._root / folder / name).is_file()] for name in names}
        found |= {name: [p] for name in self._room.files if (p := self._root / name).is_file()}
        absent = [name for name in (*names, *self._room.files) if not found.get(name)]
        if absent:
            raise BuildError(f"{self._room.name} wants {', '.join(absent)}, which {self._root} has not")
        return {paths[0] for paths in found.values()}

    def _modules(self) -> set[Path]:
        """Extension modules. They and the compiled form of the others go to `made`, all of them
        beside those of Python."""
        path = [self._home, self._home / "lib-dynload", self._home / "site-packages"]
        found = Modules(path, self._room.without, {}).reached([*layout.ALWAYS, *self._room.python])
        absent = [name for name in self._room.python if name not in found]
        if absent:
            raise BuildError(f"{self._room.name} wants {', '.join(absent)}, which {self._home} has not")
        places = {str(f.relative_to(self._root)).replace("/site-packages/", "/", 1): f for f in found.values()}
        sources = {place: f for place, f in places.items() if f.suffix == ".py"}
        sources[f"{self._home.relative_to(self._root)}/sitecustomize.py"] = GUEST / "python_site.py"
        with tempfile.TemporaryDirectory() as scratch:
            compiled = bytecode.compiled_by([sys.executable], {}, sources, Path(scratch))
        self.made |= {place + "c": data for place, data in compiled.items()}
        self.made |= {place: f.read_bytes() for place, f in places.items() if place not in sources}
        return {f for place, f in places.items() if place not in sources}

    def _kernel(self) -> None:
        modules = {f.stem: f.read_bytes() for f in sorted((self._root / "usr/lib/modules").rglob("*.ko"))}
        self.made |= {f"usr/lib/modules/{name}.ko": data for name, data in modules.items()}
        self.made["etc/wgpy/image"] = "".join(f"{word}\n" for word in (self._room.name, *modules)).encode()

    def reduce(self) -> None:
        """Removes what is not kept, links to folders excepted, folders that are empty then, and links to those."""
        kept = {f for name in self.kept for f in (name.parent.resolve() / name.name, name.resolve())}
        for folder, folders, files in os.walk(self._root, topdown=False):
            for path in (Path(folder, name) for name in files):
                if path not in kept:
                    path.unlink()
            for path in (Path(folder, name) for name in folders):
                if not path.is_symlink() and not any(path.iterdir()):
                    path.rmdir()
        for path in self._root.iterdir():
            if path.is_symlink() and not path.exists():
                path.unlink()
        for name in layout.FOLDERS:
            (self._root / name).mkdir(parents=True, exist_ok=True)
        for name, data in self.made.items():
            path = self._root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o755 if name == "init" else 0o644)


def main() -> None:
    if len(sys.argv) != 3 or sys.argv[2] not in layout.ROOMS:
        sys.exit(f"usage: room.py ROOT {'|'.join(layout.ROOMS)}")
    try:
        Root(Path(sys.argv[1]).resolve(), layout.ROOMS[sys.argv[2]]).reduce()
    except BuildError as e:
        sys.exit(f"room.py: {e}")


if __name__ == "__main__":
    main()
