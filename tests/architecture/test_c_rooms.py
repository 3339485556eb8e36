"""The include rules of ARCHITECTURE.md, read from the C core's source, and what the
extension modules that are built from its rooms link."""
import graphlib
import platform
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from needs import need

import wgpy._fast.plane
import wgpy._fast.ports

CORE = Path(__file__).resolve().parents[2] / "wgpy/_fast/c"
SUITE = CORE.parents[1] / "suite"  # wgpy_suite.h
# What each room may include of the others. Whoever reads a cipher reads aead, and core's
# few headers; plane sees of it two tables of functions.
MAY_INCLUDE = {
    "core": set(),
    "aead": {"core/wg.h", "core/burn.h"},
    "suite": {"core/wg.h", "core/burn.h", "aead/aead.h", "aead/macs.h"},
    "plane": {"core/*", "aead/aead.h", "aead/macs.h"},
    "ports": {"core/*"},
    "ring": {"core/*"},
}
SOURCES = sorted(str(p.relative_to(CORE)) for p in CORE.rglob("*") if p.is_file())
TEMPLATE = ".inc.h"  # the including file defines what it needs, so it is nothing by itself
HEADERS = [n for n in SOURCES if n.endswith(".h") and not n.endswith(TEMPLATE)]
X86_ONLY = {"aead/cpu.h"}


def room_of(name: str) -> str:
    return name.partition("/")[0]


@cache
def includes(name: str) -> list[str]:
    """What a file includes of the core, each as `room/file`, and of the system as `<file>`."""
    out = []
    for quote, wanted in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)', (CORE / name).read_text(), re.MULTILINE):
        inside = wanted if "/" in wanted else f"{room_of(name)}/{wanted}"
        out.append(f"<{wanted}>" if quote == "<" else inside)
    return out


def test_every_file_is_in_a_room():
    assert {room_of(n) for n in SOURCES} == set(MAY_INCLUDE)
    assert all(n.count("/") == 1 and n.endswith((".c", ".h")) for n in SOURCES)
    names = [Path(n).name for n in SOURCES if n.endswith(".c")]
    assert len(set(names)) == len(names), "symbol tables tell functions apart by the file's name"


@pytest.mark.parametrize("name", SOURCES)
def test_a_room_includes_what_it_may(name):
    room = room_of(name)
    for wanted in includes(name):
        if wanted.startswith("<"):
            continue
        assert wanted in SOURCES and not wanted.endswith(".c"), f"{name} includes {wanted}"
        allowed = MAY_INCLUDE[room] | {f"{room}/*"}
        assert wanted in allowed or f"{room_of(wanted)}/*" in allowed, f"{name} must not include {wanted}"


@pytest.mark.parametrize("name", SOURCES)
def test_only_the_room_of_ciphers_knows_a_library_of_them(name):
    """No file knows Python: the same ones run in guests that have none."""
    system = [w for w in includes(name) if w.startswith("<")]
    assert "<Python.h>" not in system
    assert room_of(name) == "aead" or not [w for w in system if w.startswith("<openssl/")], name


def calls(texts: dict[str, str]) -> dict[str, set[str]]:
    """For each C file those whose functions it names."""
    home = {found: name for name, text in texts.items()
            for found in re.findall(r"^(?!static|typedef|#)[\w *]*?\b(\w+)\([^;]*?\)\s*\{", text, re.MULTILINE)}
    return {name: {home[word] for word in re.findall(r"\w+", text) if word in home} - {name}
            for name, text in texts.items()}


def test_no_files_call_each_other_in_a_circle():
    """Tables of functions, which a room gets from another, are the way back."""
    graphlib.TopologicalSorter(calls({n: (CORE / n).read_text() for n in SOURCES if n.endswith(".c")})).prepare()


def test_a_circle_is_found():
    texts = {"a.c": "int a(void)\n{\n b(1);\n}\n", "b.c": "bool b(int x) { return c(x); }\n",
             "c.c": "static int d(int y)\n{\n}\nbool c(int x)\n{\n return a();\n}\n"}
    assert calls(texts) == {"a.c": {"b.c"}, "b.c": {"c.c"}, "c.c": {"a.c"}}
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(calls(texts)).prepare()


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_stands_by_itself(name):
    if name in X86_ONLY and platform.machine() not in ("x86_64", "i686"):
        return
    need("cc")
    done = subprocess.run(["cc", "-std=gnu11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function",
                           f"-I{CORE}", f"-I{SUITE}", "-x", "c", "-"],
                          input=f'#include "{name}"\n#include "{name}"\n', capture_output=True, text=True, timeout=60)
    assert not done.returncode, done.stderr


def test_templates_are_the_room_of_ciphers_own():
    for name in SOURCES:
        for wanted in includes(name):
            assert not wanted.endswith(TEMPLATE) or room_of(name) == "aead", f"{name} includes {wanted}"


def nm(module, *options: str) -> set[str]:
    need("nm")
    said = subprocess.run(["nm", "--format=posix", *options, module.__file__], capture_output=True, text=True,
                          check=True, timeout=60).stdout
    return {line.split()[0].partition("@")[0] for line in said.splitlines()}


CIPHER = re.compile(r"EVP_|OPENSSL|CRYPTO_|aead_|blake2s|macs_|poly|chacha", re.IGNORECASE)
PLANE = re.compile(r"(plane|trie|replay|seal|open_stage|admission|staged)_")
SOCKETS = {"socket", "bind", "connect", "sendmsg", "sendmmsg", "sendto", "recvmsg", "recvmmsg", "recvfrom"}


def test_ports_links_no_cipher_and_nothing_of_the_plane():
    """F6: whoever runs in red or black can call none, since there is none."""
    held = nm(wgpy._fast.ports)
    assert {"port_tun_init", "ring_out_init", "pump_run"} <= held
    assert not [n for n in held if CIPHER.match(n) or PLANE.match(n)]
    asked = nm(wgpy._fast.ports, "-D", "--undefined-only")
    assert "sendmsg" in asked and not [n for n in asked if CIPHER.match(n)]


def test_plane_links_no_socket():
    asked = nm(wgpy._fast.plane, "-D", "--undefined-only")
    assert [n for n in asked if n.startswith("EVP_")] and not asked & SOCKETS
