"""What a file needs besides itself: the modules that a Python module imports, the shared
libraries that a program or an extension module loads, the kernel modules that one depends on."""

import ast
import lzma
import re
from functools import cache
from pathlib import Path

from debian import BuildError, run


class Modules:
    """Python modules below the folders `path`, found by their source. `without`: modules that
    are left out wherever they are imported, because the rooms never come there. `built`: files of
    modules that are not on the path, or not for this guest."""

    def __init__(self, path: list[Path], without: frozenset[str], built: dict[str, Path]):
        self._path, self._without, self._built = path, without, built
        self.unknown: set[str] = set()  # built in, of other systems, or left out

    def reached(self, roots: list[str]) -> dict[str, Path]:
        """Files by module, packages by their `__init__`."""
        found: dict[str, Path] = {}
        todo = list(roots)
        while todo:
            name = todo.pop()
            parent = name.rpartition(".")[0]
            if parent:
                todo += [parent] if parent not in found else []
            if name in found or name in self.unknown:
                continue
            file = None if self._left_out(name) else self._find(name)
            if file is None:
                self.unknown.add(name)
                continue
            found[name] = file
            if file.suffix == ".py":
                todo += self._imports(name, file)
            elif (source := self._cython(name)) is not None:
                todo += re.findall(r"^from ([\w.]+) import", _included(source), re.MULTILINE)
        return found

    def _left_out(self, name: str) -> bool:
        return any(name == w or name.startswith(w + ".") for w in self._without)

    def _find(self, name: str) -> Path | None:
        if name in self._built:
            return self._built[name]
        inner = name.replace(".", "/")
        for folder in self._path:
            for candidate in (folder / inner / "__init__.py", folder / f"{inner}.py"):
                if candidate.is_file():
                    return candidate
            extensions = sorted((folder / inner).parent.glob(f"{Path(inner).name}.*.so"))
            if extensions:
                return extensions[0]
        return None

    def _cython(self, name: str) -> Path | None:
        """What an extension module of ours was made of."""
        candidates = (folder / (name.replace(".", "/") + ".pyx") for folder in self._path)
        return next((c for c in candidates if c.is_file()), None)

    def _imports(self, module: str, file: Path) -> list[str]:
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        names = []
        for node in _walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    above = package.split(".")[:len(package.split(".")) - node.level + 1]
                    base = ".".join([*above, *([base] if base else [])])
                names.append(base)
                names += [f"{base}.{a.name}" for a in node.names if self._find(f"{base}.{a.name}")]
        return names


def _included(source: Path) -> str:
    text = source.read_text()
    return text + "".join(_included(source.parent / name) for name in re.findall(r'^include "(.+)"', text, re.MULTILINE))


def _walk(node: ast.AST):
    """All nodes but what only a reader of types runs, or who runs the file as a program."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in (
                "TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'"):
            for other in child.orelse:
                yield other
                yield from _walk(other)
            continue
        yield child
        yield from _walk(child)


def is_elf(file: Path) -> bool:
    with file.open("rb") as f:
        return f.read(4) == b"\x7fELF"


@cache
def needed(file: Path) -> tuple[str, ...]:
    """Names of the libraries that the loader adds to an ELF file, and of its loader."""
    said = run("readelf", "-dlW", file)
    return tuple(re.findall(r"\(NEEDED\).*\[((?!ld-linux).*)\]", said) + re.findall(r"interpreter: (.*)\]", said))


class Libraries:
    """The shared libraries of an unpacked system."""

    def __init__(self, root: Path, triplet: str):
        self._folders = [root / "usr/lib" / triplet, root / "usr/lib"]
        self._root = root

    def reached(self, files: list[Path]) -> dict[str, Path]:
        """By the path that they must have, with the loader; BuildError when one is missing."""
        found: dict[str, Path] = {}
        todo = [name for file in files for name in needed(file)]
        while todo:
            name = todo.pop()
            place, file = self.find(name)
            if place not in found:
                found[place] = file
                todo += needed(file)
        return found

    def find(self, name: str) -> tuple[str, Path]:
        """Its path in the system, and the file; `name` may be a path."""
        if name.startswith("/"):
            place = name.lstrip("/")
            place = place if place.startswith("usr/") else "usr/" + place
            candidates = [self._root / place]
        else:
            candidates = [folder / name for folder in self._folders]
        for path in candidates:
            if path.exists():
                return str(path.relative_to(self._root)), path
        raise BuildError(f"{name}: no package that was unpacked has this library")


def kernel_modules(tree: Path, wanted: tuple[str, ...], built_in: set[str]) -> dict[str, bytes]:
    """The modules and what they depend on, each after what it needs, as the kernel's package
    has them: with their signatures. A name with `?` may be missing. BuildError when the kernel has one neither as a file nor in itself."""
    files = {p.name.partition(".ko")[0].replace("-", "_"): p for p in sorted(tree.rglob("*.ko*"))}
    ordered: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in ordered or name in built_in:
            return
        if name not in files:
            raise BuildError(f"this kernel has no module {name}")
        data = files[name].read_bytes()
        data = lzma.decompress(data) if files[name].suffix == ".xz" else data
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in depends[1].decode().split(",") if depends and depends[1] else []:
            add(other.replace("-", "_"))
        ordered[name] = data

    for name in wanted:
        if not name.endswith("?") or name[:-1] in files:
            add(name.removesuffix("?"))
    return ordered


def built_in_modules(tree: Path) -> set[str]:
    """By name; `tree` is the folder lib/modules/VERSION."""
    lines = (tree / "modules.builtin").read_text().split()
    return {Path(line).name.partition(".ko")[0].replace("-", "_") for line in lines}
