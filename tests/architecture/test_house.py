"""House rules a machine can check: small files, small functions, no loose ends."""
import ast
import re
import subprocess
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AIM, LIMIT = 400, 440          # lines a file: warned about, refused
FUNCTION_LIMIT = 66            # lines a Python function, aim 60
TEXT = {".py", ".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h", ".sh", ".md", ".toml", ".txt", ""}
GENERATED = re.compile(r"^(build|dist|\.[a-z_]+|[^/]+\.egg-info)/|^wgpy/_fast/[a-z]+\.c$")
MARKERS = ["TO" + "DO", "FIX" + "ME", "X" * 3, "pytest" + ".skip", "importor" + "skip"]
SKIPS = "tests/needs.py"  # the one place: with a reason, and not in CI


def sources() -> list[str]:
    """Paths of the tree's own text files, from git where there is a repository."""
    listed = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files"],
                            capture_output=True, text=True)
    names = listed.stdout.split() if listed.returncode == 0 else [
        str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file()]
    return sorted(n for n in names if Path(n).suffix in TEXT and not GENERATED.match(n)
                  and (ROOT / n).is_file())


def test_there_is_something_to_check():
    assert len(sources()) > 20


@pytest.mark.parametrize("name", [n for n in sources() if Path(n).suffix in
                                  {".py", ".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h"}])
def test_file_is_small(name):
    lines = len((ROOT / name).read_text(encoding="utf-8").splitlines())
    if lines > AIM:
        warnings.warn(f"{name} has {lines} lines, the aim is {AIM}", stacklevel=1)
    assert lines <= LIMIT, f"{name} has {lines} lines: split it"


@pytest.mark.parametrize("name", [n for n in sources() if n.endswith(".py")])
def test_functions_are_small(name):
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    long = [f"{node.name} ({node.end_lineno - node.lineno + 1} lines)" for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.end_lineno - node.lineno + 1 > FUNCTION_LIMIT]
    assert not long, f"{name}: {', '.join(long)}"


@pytest.mark.parametrize("name", sources())
def test_no_loose_ends(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    markers = MARKERS[:3] if name == SKIPS else MARKERS
    found = [m for m in markers if re.search(rf"\b{re.escape(m)}\b", text)]
    assert not found, f"{name} contains {', '.join(found)}"


@pytest.mark.parametrize("name", sources())
def test_nothing_of_one_machine(name):
    """Absolute paths of whoever built it do not belong in the tree."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.findall(r"(?<![\w.}])/(?:home|root|Users)/[\w.-]+", text)
    assert not found, f"{name} contains {found[0]}"


def test_evidence_exists():
    """Every path that docs/requirements.md offers as evidence is there, every id once."""
    text = (ROOT / "docs/requirements.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"tests/[\w/.]*\w", text))
    assert paths and not [p for p in paths if not (ROOT / p).exists()]
    ids = re.findall(r"^\| ([FPIA]\d+) \|", text, re.MULTILINE)
    assert ids == ([f"F{i}" for i in range(1, 11)] + ["P1", "P2"]
                   + [f"I{i}" for i in range(1, 7)] + [f"A{i}" for i in range(1, 7)])
