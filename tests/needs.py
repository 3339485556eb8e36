"""Programs of the host that a test cannot do without."""

import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parent.parent / "tools" / "packages.txt"
ABSENT = "not installed: "


def package_of(program: str) -> str:
    """By tools/packages.txt."""
    for line in PACKAGES.read_text().splitlines():
        if not line.startswith("#"):
            _, package, *programs = line.split()
            if program in programs:
                return package
    return program


def need(*programs: str) -> None:
    """Skips the test, with the reason, when one of them is missing. Where everything
    should be installed, as in CI, conftest.py lets the whole run fail for it."""
    absent = [p for p in programs if not shutil.which(p)]
    if absent:
        pytest.skip(ABSENT + ", ".join(f"{p} (apt-get install {package_of(p)})" for p in absent))


def need_header(name: str, package: str) -> None:
    """Skips the test likewise when the C compiler finds no header of that name."""
    need("cc")
    done = subprocess.run(["cc", "-fsyntax-only", "-xc", "-"], input=f"#include <{name}>\n", capture_output=True, text=True, timeout=60)
    if done.returncode:
        pytest.skip(f"{ABSENT}{name} (apt-get install {package})")


def skip_without_packages(said: str) -> None:
    """Skips where Debian's packages for guests are neither kept nor to be had."""
    pytest.skip(f"{ABSENT}packages for guests ({said}): make guests, with a network")


def skip_what_make_lacks(said: str) -> None:
    """Skips likewise when tests/c/Makefile (or what it runs) said that a tool is missing."""
    for line in said.splitlines():
        if "not installed: " in line:
            pytest.skip(ABSENT + line.partition("not installed: ")[2].rstrip(" .Stop"))
