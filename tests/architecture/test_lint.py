"""ruff and mypy as pyproject.toml sets them up, and the stubs of the extension modules against
what is built."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAST = ROOT / "wgpy/_fast"
STUBS = ("ports", "plane")
# What Cython adds, and what plane uses of ports.
UNTOLD = r"wgpy\._fast\.(ports|plane)\.__(reduce_cython|setstate_cython|test)__" "\n" r"wgpy\._fast\.plane\.DROP_TEXTS" "\n"


def content(*words: str) -> None:
    """Fails with what the tool says."""
    done = subprocess.run([sys.executable, "-I", "-m", *words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)


def test_ruff():
    content("ruff", "check", "--output-format", "concise")


def test_types():
    content("mypy", "--no-error-summary")


def test_stubs_name_what_the_modules_have(tmp_path):
    """Names, constants, methods and their parameters. Not whether a class may be a base beside
    another, nor constructors: Cython gives those no signature."""
    (tmp_path / "untold").write_text(UNTOLD)
    content("mypy.stubtest", *(f"wgpy._fast.{name}" for name in STUBS), "--concise", "--ignore-disjoint-bases",
            "--allowlist", str(tmp_path / "untold"))


def cython_constructors(name: str) -> dict[str, list[tuple[str, bool]]]:
    """Class -> (parameter, whether it has a default) of __cinit__, in order; `*` stands there too."""
    text = (FAST / f"{name}.pyx").read_text(encoding="utf-8")
    text = re.sub(r'^include "(.*)"$', lambda m: (FAST / m[1]).read_text(encoding="utf-8"), text, flags=re.MULTILINE)
    found = {}
    for part in re.split(r"^cdef class ", text, flags=re.MULTILINE)[1:]:
        head = re.search(r"def __cinit__\(self(.*?)\):", part, re.DOTALL)
        words = [w.strip() for w in head[1].split(",") if w.strip()] if head else []
        found[re.match(r"\w+", part)[0]] = [
            (re.sub(r" not None$|=.*", "", w).split()[-1].split("]")[-1], "=" in w) for w in words]
    return found


def stub_constructors(name: str) -> dict[str, list[tuple[str, bool]]]:
    found = {}
    for node in ast.parse((FAST / f"{name}.pyi").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            made = next((n.args for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__new__"), None)
            found[node.name] = [] if made is None else parameters(made)
    return found


def parameters(args: ast.arguments) -> list[tuple[str, bool]]:
    plain = args.args[1:]
    out = [(a.arg, i >= len(plain) - len(args.defaults)) for i, a in enumerate(plain)]
    if args.kwonlyargs:
        out.append(("*", False))
    return out + [(a.arg, d is not None) for a, d in zip(args.kwonlyargs, args.kw_defaults)]


@pytest.mark.parametrize("name", STUBS)
def test_stubs_have_the_constructors_of_the_source(name):
    written = cython_constructors(name)
    assert stub_constructors(name) == written
    assert any(len(p) > 3 for p in written.values())
