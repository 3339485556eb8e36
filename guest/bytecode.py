"""Python's compiled form of sources, by the interpreter of the guest's release: without times, the
same for the same sources and on every machine, and ready to be imported without them."""

import json
import os
import subprocess
from pathlib import Path

from debian import BuildError
from system import System

_COMPILE = """
import json, py_compile, sys
unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
for place, file, target in json.load(sys.stdin):
    py_compile.compile(file, target, "/" + place, doraise=True, invalidation_mode=unchecked, optimize=0)
"""


def interpreter(system: System) -> list[str]:
    """The command line of the unpacked Python, run by its own loader and libraries. What /lib64
    has of them is an absolute link, which names the loader of the machine that builds."""
    libraries = system.root / "usr/lib" / system.triplet
    (loader,) = libraries.glob("ld-linux-*.so.*")
    return [str(loader), "--library-path", str(libraries), str(system.root / f"usr/bin/python{system.python}")]


def compiled(system: System, sources: dict[str, Path], into: Path) -> dict[str, bytes]:
    """By place in the image. BuildError."""
    return compiled_by(interpreter(system), {"PYTHONHOME": str(system.root / "usr")}, sources, into)


def compiled_by(python: list[str], environment: dict[str, str], sources: dict[str, Path], into: Path) -> dict[str, bytes]:
    """Likewise by the interpreter that `python` starts."""
    jobs = [(place, str(file), str(into / f"{number}.pyc")) for number, (place, file) in enumerate(sorted(sources.items()))]
    # What a set or a constant table looks like in bytes depends on the seed of hashes.
    environment = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environment}
    done = subprocess.run([*python, "-P", "-s", "-S", "-c", _COMPILE], env=environment, input=json.dumps(jobs), text=True,
                          capture_output=True)
    if done.returncode:
        raise BuildError(f"{python[-1]}: {done.stderr.strip().splitlines()[-1]}")
    return {place: Path(target).read_bytes() for place, _, target in jobs}
