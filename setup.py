"""Builds the two extension modules from Cython and the C core.

`ports` moves bytes and holds no cryptography, so that the black and red rooms
can be built from it alone; `plane` holds keys, tables and the two stages.
"""
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

FAST = Path("wgpy/_fast")
C = FAST / "c"

PORTS_C = ["ip.c", "split.c", "merge.c", "port_tun.c", "port_udp.c", "port_mem.c", "ring_in.c", "ring_out.c", "gate.c",
           "pump.c"]
PLANE_C = [
    "ip.c", "icmp.c", "replay.c", "trie.c", "lane.c", "staged.c", "plane.c", "seal.c", "open.c",
    "admission.c", "blake2s.c", "index.c", "macs_wireguard.c", "ratelimit.c",
    *sorted(p.name for p in C.glob("aead*.c")),
]
FLAGS = ["-O3", "-std=gnu11", "-pthread", "-fvisibility=hidden", "-fno-strict-aliasing"]


def extension(name: str, sources: list[str], libraries: list[str]) -> Extension:
    return Extension(
        f"wgpy._fast.{name}",
        [str(FAST / f"{name}.pyx"), *(str(C / s) for s in sources)],
        include_dirs=[str(C)],
        depends=[str(h) for h in sorted(C.glob("*.h"))],
        extra_compile_args=FLAGS,
        extra_link_args=["-pthread"],
        libraries=libraries,
    )


setup(
    ext_modules=cythonize(
        [extension("ports", PORTS_C, []), extension("plane", PLANE_C, ["crypto"])],
        compiler_directives={"language_level": 3, "embedsignature": True},
        build_dir="build",
    )
)
