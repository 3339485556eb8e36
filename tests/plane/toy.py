"""The suite of tests/c/toy_suite.h, which has no size that WireGuard's has: as a library for the C
plane, and as a record for its specification."""
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from needs import need

from wgpy._fast.plane import load_suite
from wgpy.suite import Suite
from wgpy.suite.library import suite_of

ROOT = Path(__file__).resolve().parents[2]
SOURCE = f"{ROOT}/tests/c/toy_library.c"


def build(out: str, *flags: str, source: str = SOURCE) -> None:
    """A shared library of one C file, which may include wgpy_suite.h."""
    need("cc")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-fvisibility=hidden", *flags, f"-I{ROOT}/wgpy/suite", "-o", out, source],
                   check=True, timeout=600)


@cache
def toy() -> Suite:
    with TemporaryDirectory() as place:
        build(f"{place}/toy.so")
        with open(f"{place}/toy.so", "rb") as library:
            loaded = load_suite(library.fileno())
    return suite_of(loaded)
