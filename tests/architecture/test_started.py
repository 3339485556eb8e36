"""No program of this tree starts Python so that it would run modules of the current
directory or of the environment: tests, tools, benchmarks, units and documents included."""

import re
from pathlib import Path

import pytest
from architecture.test_house import ROOT, sources

# -I: isolated. -P -s: for an environment that is wholly ours. -E -s: a script by its path,
# whose own directory is ours, and which imports from there.
GOOD = re.compile(r'''["', \[]*(-I\b|-P["', ]+-s\b|-E["', ]+-s\b(?!["', ]+-))''')
# A Python, and after it an option or a script.
STARTED = re.compile(r'''(?:sys\.executable["'\]]?,|\(PY\)|\$python"?|bin/python3?"?,?|(?<![\w./-])python3?(?=\s+-[mc]))'''
                     r'''(?=\s*["', ]*(?:-|[\w./]+\.py\b|[A-Z]\w*\b|__file__|str\())(?P<rest>.*)''')
HERE = "tests/architecture/test_started.py"
# It shows what plain Python would run.
PLANTS = "tests/netns/test_start.py"


def lines(name: str) -> list[str]:
    """What stands in a list over several lines counts as one."""
    return re.sub(r",\n\s+", ", ", (ROOT / name).read_text(encoding="utf-8")).splitlines()


def forbidden(line: str) -> bool:
    return any(not GOOD.match(found["rest"].lstrip()) for found in STARTED.finditer(line))


UNITS = [str(p.relative_to(ROOT)) for p in (ROOT / "packaging").rglob("*.service")]


@pytest.mark.parametrize("name", [n for n in [*sources(), *UNITS] if n not in (HERE, PLANTS)])
def test_python_is_started_isolated(name):
    found = [line.strip() for line in lines(name) if forbidden(line)]
    assert not found, f"{name}: {found[0]}"


@pytest.mark.parametrize("line", [
    '[sys.executable, "-m", "wgpy.cli"]', "[sys.executable, '-c', code]", "[sys.executable, str(ROOM), role]",
    "[sys.executable, PROGRAM]", "[sys.executable, __file__, '--masked']",
    "\t@$(PY) -m pytest", "@$(PY) benchmarks/micro.py", 'exec "$python" -m wgpy.cli', "python3 -m wgpy.cli",
    "ExecStart=/usr/bin/python3 -m wgpy.cli", '[sys.executable, "-E", "-s", "-m", "wgpy.cli"]',
    '[sys.executable, "-P", "-m", "wgpy.cli"]', 'run(installed / "bin/python", "-c", "import wgpy")'])
def test_the_reader_sees_what_is_forbidden(line):
    assert forbidden(line)


@pytest.mark.parametrize("line", [
    '[sys.executable, "-I", "-m", "wgpy.cli"]', '[sys.executable, "-P", "-s", "-m", module]', "@$(PY) -I -m pytest",
    "@$(PY) -E -s benchmarks/micro.py", '"$python" -I -c', 'path = Path(sys.executable).with_name("wgpyd")'])
def test_the_reader_lets_the_rest_pass(line):
    assert not forbidden(line)


def test_the_commands_are_the_launcher_and_nothing_makes_others():
    assert UNITS and 'exec "$python" -I -m @MODULE@' in Path(ROOT / "packaging/launcher.sh").read_text()
    assert not re.search(r"scripts\]|entry.points", (ROOT / "pyproject.toml").read_text())
