"""The harness, built in a folder of the caller's."""

import os
import shutil
import subprocess
from pathlib import Path

from wgpy.errors import HostError

HARNESS = Path(__file__).parent / "harness"
INCLUDE = Path(__file__).parents[1] / "suite"  # wgpy_suite.h
_FLAGS = ("-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", f"-I{INCLUDE}")
_LIBRARIES = ("-ldl", "-lm", "-pthread")
VALGRIND_HEADER = "valgrind/memcheck.h"


def compiler() -> str:
    """The C compiler's path. HostError without one."""
    found = shutil.which("cc")
    if not found:
        raise HostError("the checks have to be compiled, and there is no C compiler: apt-get install gcc libc6-dev")
    return found


def version(program: str) -> str:
    """Its first line about itself, or nothing."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    return done.stdout.partition("\n")[0]


def _build(folder: Path, name: str, *more: str) -> Path:
    """The harness in `folder`, with flags `more`. HostError when it cannot be compiled, with what
    the compiler says first."""
    program = folder / name
    command = [compiler(), *_FLAGS, *more, *map(str, sorted(HARNESS.glob("*.c"))), "-o", str(program), *_LIBRARIES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
                          env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"})
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:200])
        raise HostError(f"the checks cannot be compiled: {said}")
    return program


def plain(folder: Path) -> Path:
    """As most checks need it. HostError."""
    return _build(folder, "harness")


def sanitized(folder: Path) -> Path:
    """With AddressSanitizer and UndefinedBehaviorSanitizer. HostError where there is no such."""
    return _build(folder, "sanitized", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def for_memcheck(folder: Path) -> Path:
    """That marks secrets for valgrind. HostError without valgrind or its header."""
    if not shutil.which("valgrind"):
        raise HostError("there is no valgrind: apt-get install valgrind")
    return _build(folder, "memcheck", "-DMEMCHECK", "-include", VALGRIND_HEADER)
