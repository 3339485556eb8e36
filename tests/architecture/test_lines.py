"""`make lines` tells an auditor what each process holds. What it measures is held against the
source here, and against running processes in tests/rooms/test_loaded.py."""

import ast
import re

import lines
import pytest
from architecture.test_c_rooms import includes
from architecture.test_imports import MODULES, reached
from needs import need

ROOMS = ("black", "crypto", "red")
FAST = lines.PACKAGE / "_fast"
SUITE = "<wgpy_suite.h>"


def with_packages(names: set[str]) -> set[str]:
    return {".".join(name.split(".")[:n]) for name in names for n in range(1, name.count(".") + 2)}


def of_cython(module: str) -> set[str]:
    """Modules that an extension imports, which its Python readers do not see."""
    text = "".join(p.read_text(encoding="utf-8") for p in lines.cython(FAST / f"{module}.so"))
    return {f"{a}.{b}" if f"{a}.{b}" in MODULES else a for a, b in
            re.findall(r"^ *from (wgpy[\w.]*) (?:import|cimport) (\w+)", text, re.MULTILINE)}


@pytest.mark.parametrize("process", [*ROOMS, "wgpyd"])
def test_python_is_what_its_modules_reach_and_no_import_comes_later(process):
    entries = set(lines.PROCESSES[process])
    walked = with_packages(entries.union(*map(reached, entries)))
    extensions = {n.split(".")[2] for n in walked if re.fullmatch(r"wgpy\._fast\.\w+", n)}
    walked |= with_packages({n for e in extensions for m in of_cython(e) for n in {m} | (reached(m) if m in MODULES else set())})
    found = {n for n, path in lines.loaded(process).items() if path.is_relative_to(lines.PACKAGE)}
    assert found == {n for n in walked if n in MODULES or re.fullmatch(r"wgpy\._fast\.(ports|plane)", n)}


def test_c_is_what_its_extension_is_built_of():
    need("readelf", "cc")
    setup = dict(re.findall(r"^(\w+)_ROOMS = (\(.*\))$", (lines.ROOT / "setup.py").read_text(), re.MULTILINE))
    assert set(setup) == {"PORTS", "PLANE"}
    for name, rooms in ((name.lower(), ast.literal_eval(rooms)) for name, rooms in setup.items()):
        module, = FAST.glob(f"{name}.*.so")
        assert lines.linked(module) == {c for room in rooms for c in (FAST / "c" / room).glob("*.c")}


def test_headers_are_those_that_the_sources_include():
    need("cc")
    for c in lines.CORE.rglob("*.c"):
        todo, walked = [str(c.relative_to(lines.CORE))], set()
        while todo:
            new = {n for n in includes(todo.pop()) if not n.startswith("<") or n == SUITE} - walked
            walked |= new
            todo += new - {SUITE}
        read = {str(h.relative_to(lines.CORE)) if h.is_relative_to(lines.CORE) else f"<{h.name}>" for h in lines.included(c)}
        # a file for an instruction set includes nothing where there is none
        assert read <= walked if lines.room_of(c) == lines.CIPHERS else read == walked, c


def test_each_room_sees_what_it_is_for():
    """F6, in what is loaded rather than in what is imported."""
    rooms = {p: {lines.room_of(f) for f in lines.files(p)} for p in lines.PROCESSES}
    ciphers = {"_fast/aead", "_fast/plane", "suite"}
    assert ciphers <= rooms["crypto"] and ciphers <= rooms["wgpyd"]
    for process in ("black", "red", "supervisor"):
        assert not ciphers & rooms[process]
        assert "nacl" not in lines.others(process) and "libcrypto.so.3" not in lines.others(process)
    for process in ("black", "red"):
        assert not {"protocol", "crypto", "admin", "config"} & rooms[process]


def test_the_table_adds_up():
    need("readelf", "cc")
    for process in lines.PROCESSES:
        listed = [line.split() for line in lines.listing(process).splitlines()]
        total = sum(int(n) for n, _ in listed)
        row = {line.split()[0]: line.split()[1:] for line in lines.table().splitlines() if line}
        column = row["room"].index(process)
        numbers = [int(row[name][column]) for name in ("sum", "ciphers") if row[name][column] != "-"]
        assert total == sum(numbers) == sum(len((lines.ROOT / path).read_text().splitlines()) for _, path in listed)
