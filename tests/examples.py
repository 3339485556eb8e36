"""The suites of examples/suites, built once for all tests that want them."""

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from needs import need, need_header

from wgpy._fast.plane import load_suite
from wgpy.suite import Suite
from wgpy.suite.library import suite_of

FOLDER = Path(__file__).resolve().parents[1] / "examples/suites"
NAMES = sorted(p.parent.name for p in FOLDER.glob("*/Makefile"))


@cache
def _out() -> Path:
    out = Path(tempfile.mkdtemp(prefix="wgpy-examples-"))
    atexit.register(shutil.rmtree, out, True)
    out.chmod(0o755)
    return out


@cache
def library(name: str) -> Path:
    """As its README builds it, which may say nothing; skips where OpenSSL's headers are missing."""
    need("make", "cc")
    need_header("openssl/evp.h", "libssl-dev")
    done = subprocess.run(["make", "-s", "-C", FOLDER / name, f"OUT={_out()}"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    path = _out() / f"{name}.so"
    path.chmod(0o755)
    return path


@cache
def suite(name: str) -> Suite:
    """Loaded into this process."""
    with open(library(name), "rb") as file:
        return suite_of(load_suite(file.fileno()))
