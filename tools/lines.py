"""How many lines of this tree each process holds, by room: what who reviews it reads.

usage: tools/lines.py [PROCESS]   With one: each of its files, the ciphers last.

Nothing is listed by hand. Python: what a fresh interpreter has loaded once it has imported the
process's modules. C: the files that the symbol tables of the extension modules among them name,
and the headers that the compiler reads for these; Cython: what Cython says that it reads.
"""
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

from Cython.Build.Dependencies import create_dependency_tree

from wgpy.rooms.room import MODULES

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "wgpy"
CORE = PACKAGE / "_fast/c"
# Where each begins, and what it imports when it knows what it is to do.
PROCESSES = {room: ("wgpy.rooms.room", module) for room, module in MODULES.items()} | {
    "supervisor": ("wgpy.cli.__main__", "wgpy.cli.commands", "wgpy.node.life"),
    "wgpyd": ("wgpy.daemon.wgpyd", "wgpy.daemon.process")}
SOURCES = {".py", ".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h"}
CIPHERS = "_fast/aead"
IMPORT = "import importlib, json, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n" \
         "print(json.dumps({n: m.__file__ for n, m in sys.modules.items() if getattr(m, '__file__', None)}))"


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=ROOT).stdout


@cache
def loaded(process: str) -> dict[str, Path]:
    """Module -> its file, of all modules that have one."""
    return {name: Path(file) for name, file in
            json.loads(said(sys.executable, "-I", "-c", IMPORT, *PROCESSES[process])).items()}


@cache
def linked(extension: Path) -> frozenset[Path]:
    """The C files of the core whose symbols it has."""
    names = set(re.findall(r" FILE .* (\S+\.c)$", said("readelf", "--wide", "--syms", str(extension)), re.MULTILINE))
    return frozenset(path for path in CORE.rglob("*.c") if path.name in names)


@cache
def included(c: Path) -> frozenset[Path]:
    """The headers that it reads of the core, others' too, and of suites."""
    words = said("cc", "-std=gnu11", f"-I{CORE}", f"-I{PACKAGE / 'suite'}", "-MM", str(c)).replace("\\\n", " ").split()
    return frozenset(path for word in words[2:] if (path := (ROOT / word).resolve()).is_relative_to(PACKAGE))


@cache
def cython(extension: Path) -> frozenset[Path]:
    pyx = extension.with_name(f"{extension.name.partition('.')[0]}.pyx")
    read = (Path(name).resolve() for name in create_dependency_tree(quiet=True).all_dependencies(str(pyx)))
    return frozenset(path for path in (pyx, *read) if path.is_relative_to(PACKAGE) and path.suffix != ".h")


def files(process: str) -> set[Path]:
    found: set[Path] = set()
    for path in loaded(process).values():
        if path.is_relative_to(PACKAGE):
            found |= {path} if path.suffix == ".py" else cython(path) | linked(path)
    return found | {header for path in found if path.suffix == ".c" for header in included(path)}


def others(process: str) -> list[str]:
    """Packages that are not of the standard library, and the libraries of our extensions."""
    names = {name.partition(".")[0] for name, path in loaded(process).items() if "site-packages" in path.parts}
    ours = [path for path in loaded(process).values() if path.suffix == ".so" and path.is_relative_to(PACKAGE)]
    libraries = {n for path in ours for n in re.findall(r"NEEDED.*\[(\S+)\]", said("readelf", "--dynamic", str(path)))}
    return sorted(n for n in names if not n.startswith("_")) + sorted(libraries)


def room_of(path: Path) -> str:
    """A folder of the package; of the C core each room."""
    parts = path.relative_to(PACKAGE).parts
    if parts[:2] == ("_fast", "c"):
        return f"_fast/{parts[2]}"
    return parts[0] if len(parts) > 1 else "(top)"


@cache
def count(path: Path) -> tuple[int, int]:
    """All lines, and those that are neither blank nor comment."""
    lines = path.read_text(encoding="utf-8").splitlines()
    code, block = 0, False
    for line in map(str.strip, lines):
        if path.suffix in (".c", ".h"):
            block = block or line.startswith("/*")
            code += bool(line) and not block and not line.startswith("//")
            block = block and "*/" not in line
        else:
            code += bool(line) and not line.startswith("#")
    return len(lines), code


def tree() -> set[Path]:
    """Of the package, without what Cython generates."""
    return {p for p in PACKAGE.rglob("*") if p.suffix in SOURCES and not (p.parent == PACKAGE / "_fast" and p.suffix == ".c")}


def table() -> str:
    columns = {"tree": tree()} | {process: files(process) for process in PROCESSES}
    sums = {name: {} for name in columns}
    for name, paths in columns.items():
        for path in paths:
            sums[name][room_of(path)] = sums[name].get(room_of(path), 0) + count(path)[0]
    row = lambda name, values: f"{name:<12}" + "".join(f"{value or '-':>12}" for value in values) + "\n"
    text = row("room", columns)
    for room in sorted(sums["tree"].keys() - {CIPHERS}):
        text += row(room, (sums[name].get(room) for name in columns))
    rest = {name: [p for p in paths if room_of(p) != CIPHERS] for name, paths in columns.items()}
    text += row("sum", (sum(count(p)[0] for p in paths) for paths in rest.values()))
    text += row("  of code", (sum(count(p)[1] for p in paths) for paths in rest.values()))
    text += row("ciphers", (sums[name].get(CIPHERS) for name in columns))
    return text + "\nnot of this tree, nor of Python:\n" + "".join(f"{p:<12}{', '.join(others(p))}\n" for p in PROCESSES)


def listing(process: str) -> str:
    order = sorted(files(process), key=lambda p: (room_of(p) == CIPHERS, room_of(p), p))
    return "".join(f"{count(p)[0]:>6}  {p.relative_to(ROOT)}\n" for p in order)


def main(arguments: list[str]) -> None:
    if any(name not in PROCESSES for name in arguments):
        sys.exit(f"usage: tools/lines.py [{'|'.join(PROCESSES)}]")
    print("".join(map(listing, arguments)) if arguments else table(), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
