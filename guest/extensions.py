"""Extension modules, compiled for the guest: for its Python, libc and OpenSSL, whatever those of
this machine are. Of ours, setup.py says which sources, flags and libraries; the one of PyPI that has
to be compiled has the same flags."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

from debian import BuildError, run
from layout import TRIPLETS
from system import MACHINES, NATIVE, ROOT, System

VERSIONS = ("", "-15", "-14", "-13", "-12", "-11")  # of a cross compiler, as Debian names them
PINNED = {"pytun": ("python-pytun", "pytun.c")}  # module: package, source
_DESCRIBE = """
import json, setuptools
from distutils.core import run_setup
fields = ("name", "sources", "include_dirs", "extra_compile_args", "extra_link_args", "libraries")
made = run_setup("setup.py", ["-q"], stop_after="init").ext_modules
print(json.dumps([{field: getattr(extension, field) for field in fields} for extension in made]))
"""


def compiler(arch: str) -> str:
    """The one of this machine for all that is compiled for a guest's processor. BuildError when there is none."""
    if arch == NATIVE:
        return "gcc"
    found = next((name for v in VERSIONS if shutil.which(name := f"{TRIPLETS[arch]}-gcc{v}")), None)
    if found is None:
        raise BuildError(f"not installed: a compiler for {arch}: tools/packages.sh guests")
    return found


def described(machine: str) -> list[SimpleNamespace]:
    """setup.py's extensions, for a Linux on `machine`; in a process of its own, since Cython keeps
    what it was told about one."""
    said = run(sys.executable, "-I", "-c", _DESCRIBE, env={"_PYTHON_HOST_PLATFORM": f"linux-{machine}"}, cwd=ROOT)
    return [SimpleNamespace(**fields) for fields in json.loads(said.splitlines()[-1])]


def build(system: System, into: Path) -> dict[str, Path]:
    """Compiles against the unpacked system; the files by module."""
    ours = described(MACHINES[system.arch])
    made = {}
    for extension in ours:
        target = into / f"{extension.name.rpartition('.')[2]}{_suffix(system)}"
        made[extension.name] = _compile(system, target, extension, extension.sources, [ROOT / d for d in extension.include_dirs])
    for module, (package, source) in PINNED.items():
        folder = system.sources(package)
        target = _compile(system, folder / f"{module}{_suffix(system)}", ours[0], [folder / source], [])
        made[module] = system.owned(target, package)
    return made


def _suffix(system: System) -> str:
    return f".cpython-{system.python.replace('.', '')}-{system.triplet}.so"


def _compile(system: System, target: Path, like: SimpleNamespace, sources: list, headers: list[Path]) -> Path:
    """With the flags of the extension `like`."""
    python, libraries = f"python{system.python}", system.root / "usr/lib" / system.triplet
    # A cross compiler has headers and libraries of its own, which it would take first.
    of_guest = [f"-isystem{system.root / 'usr/include' / inner}" for inner in (python, f"{system.triplet}/{python}", system.triplet, "")]
    run(compiler(system.arch), f"--sysroot={system.root}", f"-B{libraries}", f"-L{libraries}", "-shared", "-fPIC", "-fwrapv", "-DNDEBUG",
        *like.extra_compile_args, *(f"-I{folder}" for folder in headers), *of_guest,
        f"-ffile-prefix-map={system.root}=", f"-ffile-prefix-map={system.top}=", *sources, "-o", target, *like.extra_link_args,
        *(f"-l{library}" for library in like.libraries), "-Wl,--build-id=none", "-s", cwd=ROOT)
    return target
