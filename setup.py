"""Builds the two extension modules from Cython and the C core.

`ports` moves bytes and holds no cryptography, so that the black and red rooms
can be built from it alone; `plane` holds keys, tables and the two stages.
"""
import os
import platform
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FAST = Path("wgpy/_fast")
C = FAST / "c"

PORTS_C = ["ip.c", "split.c", "merge.c", "port_tun.c", "port_udp.c", "port_mem.c", "ring_in.c", "ring_out.c", "gate.c",
           "pump.c"]
PLANE_C = [
    "ip.c", "icmp.c", "replay.c", "trie.c", "lane.c", "staged.c", "plane.c", "control.c", "seal.c", "open.c",
    "share.c", "admission.c", "blake2s.c", "index.c", "macs_wireguard.c", "ratelimit.c",
    *sorted(p.name for p in C.glob("aead*.c")),
]
FLAGS = ["-O3", "-std=gnu11", "-pthread", "-fvisibility=hidden", "-fno-strict-aliasing"]
# The same bytes whichever folder they are built in (F9).
FLAGS += ["-g0", f"-ffile-prefix-map={Path.cwd()}=."]
LINK = ["-pthread"]
if "-fsanitize" not in os.environ.get("CFLAGS", ""):  # sanitizers bring their own
    FLAGS += ["-fstack-protector-strong", "-fstack-clash-protection", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"]
    FLAGS += {"x86_64": ["-fcf-protection"], "i686": ["-fcf-protection"],
              "aarch64": ["-mbranch-protection=standard"]}.get(platform.machine(), [])
    LINK += ["-Wl,-z,relro,-z,now", "-Wl,-z,noexecstack"]


def extension(name: str, sources: list[str], libraries: list[str]) -> Extension:
    return Extension(
        f"wgpy._fast.{name}",
        [str(FAST / f"{name}.pyx"), *(str(C / s) for s in sources)],
        include_dirs=[str(C)],
        depends=[str(h) for h in sorted(C.glob("*.h"))],
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
        [extension("ports", PORTS_C, []), extension("plane", PLANE_C, ["crypto"])],
        compiler_directives={"language_level": 3, "embedsignature": True},
        build_dir="build",
    )
)
