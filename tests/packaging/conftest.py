"""The source archive and a wheel of it, as a release would have them."""
import sys
from pathlib import Path

import pytest
from building import build_wheel, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def sdist(tmp_path_factory) -> Path:
    """Built from a copy without build products, as a fresh clone would be."""
    top = tmp_path_factory.mktemp("sdist")
    tree = top / "tree"
    tree.mkdir()
    for name in ("wgpy", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE",
                 "CHANGELOG.md", "packaging"):
        run("cp", "-r", ROOT / name, tree, cwd=top)
    for made in [*tree.rglob("*.so"), *(tree / "wgpy/_fast").glob("*.c")]:
        made.unlink()
    run(sys.executable, "-I", "-c",
        f"from setuptools.build_meta import build_sdist; build_sdist({str(top)!r})", cwd=tree)
    (archive,) = top.glob("wgpy-*.tar.gz")
    return archive


@pytest.fixture(scope="session")
def wheel(sdist) -> Path:
    return build_wheel(sdist, sdist.parent)
