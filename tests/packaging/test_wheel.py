"""F9: the source archive is complete, and the wheel built from it works where the
source tree is not."""
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from building import run

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A fresh environment with the wheel; its dependencies are lent by the environment
    of the tests, so that no network is needed. The editable install does not follow:
    .pth files are read only in the environment's own directory."""
    home = tmp_path_factory.mktemp("fresh")
    venv.create(home, with_pip=True, symlinks=True)
    python = home / "bin" / "python"
    own = Path(run(python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))",
                   cwd=home).strip())
    (own / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(python, "-I", "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=home)
    return home


def test_sdist_holds_every_source(sdist):
    with tarfile.open(sdist) as archive:
        held = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    wanted = {str(p.relative_to(ROOT)) for pattern in ("*.py", "*.pyi", "*.pyx", "*.pxd", "*.pxi")
              for p in (ROOT / "wgpy").rglob(pattern)}
    wanted |= {str(p.relative_to(ROOT)) for pattern in ("*.c", "*.h")
               for p in (ROOT / "wgpy").rglob(pattern)}
    assert wanted - held == set()
    assert not [name for name in held if name.endswith((".so", ".o", ".pyc"))]


def test_wheel_holds_extensions_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for module in ("ports", "plane"):
        assert [n for n in names if n.startswith(f"wgpy/_fast/{module}.") and n.endswith(".so")]
    assert {"wgpy/py.typed", "wgpy/_fast/ports.pyi", "wgpy/_fast/plane.pyi", "wgpy/suite/wgpy_suite.h"} <= set(names)
    assert not [n for n in names if n.startswith(("tests/", "benchmarks/", "tools/"))]


def test_wheel_imports_away_from_the_source(installed):
    where = run(installed / "bin/python", "-I", "-c",
                "import wgpy._fast.plane as p, wgpy._fast.ports, wgpy.cli; print(p.__file__)",
                cwd=installed)
    assert where.startswith(str(installed))


def test_the_commands_are_isolated_and_run_through_a_link(installed, tmp_path):
    """Whatever the installer does to scripts: PYTHONPATH is not searched."""
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('ran')\n")
    (tmp_path / "wgpyd").symlink_to(installed / "bin/wgpyd")
    for command in (installed / "bin/wgpy", installed / "bin/wgpyd", tmp_path / "wgpyd"):
        assert "wgpy" in run("/usr/bin/env", f"PYTHONPATH={tmp_path}", command, "--version", cwd=tmp_path)


def test_doctor_runs_from_the_wheel(installed):
    out = run(installed / "bin/wgpy", "doctor", cwd=installed)
    assert "aead" in out.lower()
