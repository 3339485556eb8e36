"""Builds the two extension modules from Cython and the C core.

`ports` moves bytes and holds no cryptography, so that the black and red rooms
can be built from it alone; `plane` holds keys, tables and the two stages. Each takes
whole rooms of the C core; tests/architecture/test_c_rooms.py looks at what is in them.
WGPY_EXTENSIONS=ports builds that one alone, without libcrypto.
"""
import os
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FAST = Path("wgpy/_fast")
C = FAST / "c"
SUITE = Path("wgpy/suite")  # wgpy_suite.h

PORTS_ROOMS = ("core", "ports", "ring")
PLANE_ROOMS = ("core", "aead", "suite", "plane")
EXTENSIONS = {"ports": (PORTS_ROOMS, []), "plane": (PLANE_ROOMS, ["crypto"])}  # rooms of C, libraries
WANTED = os.environ.get("WGPY_EXTENSIONS", "ports plane").split()
if not WANTED or not set(WANTED) <= EXTENSIONS.keys():
    sys.exit(f"WGPY_EXTENSIONS: {' '.join(WANTED) or 'nothing'}: name some of {' '.join(EXTENSIONS)}")
FLAGS = ["-O3", "-std=gnu11", "-pthread", "-fvisibility=hidden", "-fno-strict-aliasing"]
# The same bytes whichever folder they are built in (F9).
FLAGS += ["-g0", f"-ffile-prefix-map={Path.cwd()}=."]
LINK = ["-pthread"]
if "-fsanitize" not in os.environ.get("CFLAGS", ""):  # sanitizers bring their own
    FLAGS += ["-fstack-protector-strong", "-fstack-clash-protection", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"]
    # Of the target, which whoever cross-compiles names in _PYTHON_HOST_PLATFORM.
    FLAGS += {"x86_64": ["-fcf-protection"], "i686": ["-fcf-protection"],
              "aarch64": ["-mbranch-protection=standard"]}.get(sysconfig.get_platform().rpartition("-")[2], [])
    LINK += ["-Wl,-z,relro,-z,now", "-Wl,-z,noexecstack"]


def extension(name: str, rooms: tuple[str, ...], libraries: list[str]) -> Extension:
    return Extension(
        f"wgpy._fast.{name}",
        [str(FAST / f"{name}.pyx"), *(str(c) for room in rooms for c in sorted((C / room).glob("*.c")))],
        include_dirs=[str(C), str(SUITE)],
        depends=[str(h) for h in sorted((*C.rglob("*.h"), *SUITE.glob("*.h")))],
        extra_compile_args=FLAGS,
        extra_link_args=LINK,
        libraries=libraries,
    )


class BuildExtensions(build_ext):
    """Some Pythons are built to look for libraries where their builder kept them, and would
    hand that on: root would then load libcrypto from a user's folder."""

    def build_extensions(self):
        for name in ("linker_so", "linker_exe"):
            words = getattr(self.compiler, name, None) or []
            setattr(self.compiler, name, [w for w in words if not w.startswith(("-Wl,-rpath", "-R"))])
        self.compiler.runtime_library_dirs = []
        super().build_extensions()


def launcher(name: str, module: str) -> str:
    """The script that starts `module` in the Python that the extension modules are built for."""
    text = Path("packaging/launcher.sh").read_text(encoding="utf-8")
    script = Path("build/launchers") / name
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(text.replace("@MODULE@", module)
                      .replace("@VERSION@", f"{sys.version_info.major}.{sys.version_info.minor}"), encoding="utf-8")
    return str(script)


setup(
    cmdclass={"build_ext": BuildExtensions},
    scripts=[launcher("wgpy", "wgpy.cli"), launcher("wgpyd", "wgpy.daemon.wgpyd")],
    ext_modules=cythonize(
        [extension(name, *EXTENSIONS[name]) for name in WANTED],
        compiler_directives={"language_level": 3, "embedsignature": True},
        build_dir="build",
    )
)
