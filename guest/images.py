"""usage: images.py ARCH RELEASE   builds the image of each room's guest into dist/guests/ARCH.

In .cache/guests it keeps what it fetched and which packages it chose; REFRESH=1 looks for newer
ones. MIRROR names another mirror of Debian, http_proxy is honoured. The same packages, sources,
compiler and compressor give the same bytes.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import bill
import bytecode
import extensions
import layout
import ring_module
from debian import BuildError, run
from image import Image
from system import CACHE, NATIVE, ROOT, System

from wgpy.ring import lane
from wgpy.ring import layout as ring
from wgpy.vms.newc import archive

COMPRESS = ("zstd", "-q", "-12", "--single-thread", "-c")
# An oops or the end of the first process ends the guest. What locks the kernel, /init does: the
# module wgpy_ring is not signed by Debian, and is loaded before.
COMMAND_LINE = "quiet panic=-1 oops=panic slab_nomerge init_on_alloc=1 init_on_free=1 debugfs=off random.trust_cpu=on"
# On a busy host an emulated timer may not tick while Linux looks whether it does, which it takes for its end. Where
# the kernel places devices itself, it must be told that the registers of a ring need a page of their own.
OF_MACHINE = {"amd64": "console=ttyS0 vsyscall=none no_timer_check", "arm64": "console=ttyAMA0 pci=resource_alignment=12@pci:1af4:1110"}


@contextmanager
def taking(what: str):
    begun = time.monotonic()
    yield
    print(f"guests: {what}: {time.monotonic() - begun:.1f} s", flush=True)


@contextmanager
def alone():
    """Another build of the same tree waits."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@alone()
def build(arch: str, release: str, out: Path, refresh: bool = False) -> dict[str, Path]:
    """The images by room, written into `out` with what belongs to them. BuildError."""
    system = System(arch, release)
    with taking("packages fetched, verified, unpacked"):
        system.prepare(refresh)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        with taking("extension modules compiled"):
            built = extensions.build(system, Path(scratch))
        with taking("kernel module compiled"):
            module = ring_module.build(arch, release, Path(scratch), system.kernel_version()).read_bytes()
        images = [Image(room, system, built, module) for room in layout.ROOMS.values()]
        with taking("Python compiled"):
            sources = {place: file for image in images for place, file in image.sources.items()}
            compiled = bytecode.compiled(_native(system), sources, Path(scratch))
        out.mkdir(parents=True, exist_ok=True)
        about = _about(system)
        with taking("archives compressed"):
            paths = {image.room.name: write(image, compiled, system, out, about) for image in images}
    shutil.copyfile(system.kernel(), out / "vmlinuz")
    (out / "command-line").write_text(f"{OF_MACHINE[arch]} {COMMAND_LINE}\n")
    return paths


def _native(system: System) -> System:
    """The same release for this machine, whose Python runs here."""
    if system.arch == NATIVE:
        return system
    native = System(NATIVE, system.release)
    native.prepare()
    return native


def _about(system: System) -> dict:
    from Cython import __version__ as cython
    return {"wgpy": bill.VERSION, "ring": ring.VERSION, "lane": lane.VERSION, "release": system.release,
            "architecture": system.arch, "kernel": system.kernel_version(),
            "python": system.python, "compiler": run(extensions.compiler(system.arch), "--version").splitlines()[0], "cython": cython,
            "compressor": run("zstd", "--version").strip()}


def write(image: Image, compiled: dict[str, bytes], system: System, out: Path, about: dict) -> Path:
    """The image of one room and what tells of it. BuildError when it is over its ceiling."""
    room = image.room.name
    entries, origins = image.entries(compiled), image.origins()
    packed = subprocess.run(COMPRESS, input=archive(entries), stdout=subprocess.PIPE, check=True).stdout
    if len(packed) > image.room.ceiling:
        raise BuildError(f"{room}: {len(packed)} bytes, more than {image.room.ceiling}")
    path = out / f"{room}.cpio.zst"
    path.write_bytes(packed)
    facts = {"room": room, **about, "unresolved": sorted(image.unknown)}
    (out / f"{room}.manifest.json").write_text(bill.manifest(entries, origins, facts))
    (out / f"{room}.cdx.json").write_text(bill.bill(room, origins, system))
    whole = sum(len(e.data) for e in entries.values())
    print(f"guests: {path}: {len(packed) / 1e6:.1f} MB, unpacked {whole / 1e6:.1f} MB, {len(entries)} files")
    return path


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    arch, release = sys.argv[1:]
    try:
        build(arch, release, ROOT / "dist" / "guests" / arch, refresh=os.environ.get("REFRESH", "") not in ("", "0"))
    except BuildError as e:
        sys.exit(f"guests: {e}")


if __name__ == "__main__":
    main()
