"""The import rules of ARCHITECTURE.md, read from the source and not from a running
program: who may know whom, and which rooms must not touch the world."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "wgpy"

# Lower may not import higher; equal ranks only inside one package.
RANKS = {
    "wgpy.constants": 0, "wgpy.errors": 0, "wgpy.notices": 0, "wgpy.events": 0, "wgpy.loop": 0, "wgpy.logs": 0,
    "wgpy.netlink": 0, "wgpy": 0,
    "wgpy._fast": 1, "wgpy.drops": 2,
    "wgpy.config": 3, "wgpy.suite": 3,
    "wgpy.protocol": 4, "wgpy.ring": 4, "wgpy.environment": 4,
    "wgpy.admin": 5, "wgpy.isolate": 5, "wgpy.firewall": 5,
    "wgpy.rooms": 6,
    "wgpy.black": 7, "wgpy.crypto": 7, "wgpy.red": 7,
    "wgpy.daemon": 8, "wgpy.node": 8, "wgpy.lab": 8, "wgpy.conformance": 8,
    "wgpy.guest": 9, "wgpy.vms": 9, "wgpy.camkes": 10,
    "wgpy.cli": 11,
}
# Bytes, times and entropy go in as arguments here.
PURE = ("wgpy.protocol", "wgpy.suite", "wgpy.config", "wgpy.constants", "wgpy.errors", "wgpy.notices", "wgpy.events")
IMPURE = {"socket", "os", "time", "random", "secrets", "threading", "asyncio", "mmap", "subprocess",
          "select", "selectors", "signal", "io", "pathlib", "tempfile", "ctypes", "logging",
          "datetime", "multiprocessing", "concurrent", "pyroute2", "pytun"}
KEYLESS = ("wgpy.black", "wgpy.red")
OPENING = ("wgpy.protocol", "wgpy.suite", "wgpy._fast.plane", "wgpy.crypto", "nacl")
STAMPS = {"wgpy.crypto.stamps", "wgpy.protocol.tai64n"}  # how large their memory is


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(p): p for p in sorted(PACKAGE.rglob("*.py"))}


def owner(name: str) -> str:
    """The entry of RANKS that a module belongs to."""
    while name not in RANKS:
        assert "." in name, f"{name} has no place in the layering"
        name = name.rpartition(".")[0]
    return name


@cache
def imports(module: str) -> set[str]:
    """Modules imported anywhere in the file, conditional and late ones too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                is_module = whole in MODULES or whole.startswith("wgpy._fast.")
                found.add(whole if is_module else node.module)
    return found


def reached(module: str) -> set[str]:
    """What a module imports itself or through others."""
    seen, todo = set(), [module]
    while todo:
        for name in imports(todo.pop()) - seen:
            seen.add(name)
            if name in MODULES:
                todo.append(name)
    return seen


def inside(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == r or name.startswith(r + ".") for r in rooms)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_lies_below_it(module):
    own = owner(module)
    for name in imports(module):
        if name.split(".")[0] == "wgpy":
            other = owner(name)
            assert other == own or RANKS[other] < RANKS[own], f"{module} must not import {name}"


@pytest.mark.parametrize("module", [m for m in MODULES if inside(m, PURE)])
def test_pure_rooms_have_no_clock_socket_file_thread_or_randomness(module):
    touched = {name.split(".")[0] for name in imports(module)} & IMPURE
    assert not touched, f"{module} imports {touched}"


@pytest.mark.parametrize("module", [m for m in MODULES if inside(m, KEYLESS)])
def test_black_and_red_know_no_protocol_suite_or_keys(module):
    """F6, also through what they import themselves."""
    for name in reached(module):
        assert not inside(name, ("wgpy.protocol", "wgpy.suite", "wgpy.crypto", "wgpy._fast.plane")), \
            f"{module} reaches {name}"
        assert name.split(".")[0] != "nacl", f"{module} reaches {name}"


@pytest.mark.parametrize("module", [m for m in MODULES if inside(m, ("wgpy.daemon",))])
def test_wgpyd_knows_no_rooms(module):
    assert not {n for n in reached(module) if inside(n, ("wgpy.node", "wgpy.rooms", "wgpy.firewall"))}


def test_the_supervisor_can_open_neither_keys_nor_packets():
    """F6: its process loads nothing that knows what they are."""
    assert {n for program in ("wgpy.node.supervisor", "wgpy.guest.main") for n in reached(program) if inside(n, OPENING)} <= STAMPS


@pytest.mark.parametrize("module", MODULES)
def test_no_circle(module):
    """Nor one that is closed by a late import or by names for annotations."""
    assert module not in reached(module)


# Each part of the protocol core stands on those of lower rows, and knows none beside it.
CORE = ["noise cookies peer timers indices effects messages tai64n", "core", "handshake sessions",
        "inbound upkeep deadlines", "device"]


def test_parts_of_the_protocol_core_know_only_those_below():
    row = {f"wgpy.protocol.{name}": n for n, names in enumerate(CORE) for name in names.split()}
    for module, own in row.items():
        for name in imports(module) & row.keys():
            assert row[name] < own or own == 0, f"{module} must not import {name}"
    rest = {m for m in MODULES if m.startswith("wgpy.protocol.")} - row.keys()
    assert rest == {f"wgpy.protocol.{name}" for name in (
        "interface", "plane", "plane_peer", "loops", "keypairs", "inner", "admission", "ratelimit")}


def test_the_reader_sees_late_and_conditional_imports(tmp_path, monkeypatch):
    odd = tmp_path / "odd.py"
    odd.write_text("def f():\n    if 1:\n        import socket\n        from os import path\n"
                   "        from wgpy.protocol import device\nif TYPE_CHECKING:\n    import wgpy.loop\n")
    monkeypatch.setitem(MODULES, "odd", odd)
    assert imports("odd") == {"socket", "os", "wgpy.protocol.device", "wgpy.loop"}


def test_every_package_has_its_place():
    for module in MODULES:
        owner(module)
