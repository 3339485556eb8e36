"""The images as `make guests` makes them, in a folder of the tests' own."""

import os
import platform
import stat
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import debian
import images
import pytest
from needs import need, skip_what_make_lacks, skip_without_packages

from wgpy.vms import newc

RELEASE = "bookworm"


@dataclass
class Built:
    folder: Path
    arch: str

    def entries(self, room: str) -> dict[str, newc.Entry]:
        return _entries(self.folder / f"{room}.cpio.zst")

    def files(self, room: str) -> dict[str, bytes]:
        return {name: e.data for name, e in self.entries(room).items() if stat.S_ISREG(e.mode)}

    def elf(self, room: str) -> dict[str, bytes]:
        return {name: data for name, data in self.files(room).items() if data.startswith(b"\x7fELF")}

    def unpack(self, room: str, into: Path) -> Path:
        for name, entry in self.entries(room).items():
            path = into / name
            if stat.S_ISDIR(entry.mode):
                path.mkdir(parents=True, exist_ok=True)
            elif stat.S_ISLNK(entry.mode):
                path.symlink_to(entry.data.decode())
            elif stat.S_ISREG(entry.mode):
                path.write_bytes(entry.data)
                path.chmod(stat.S_IMODE(entry.mode))
        return into


@cache
def build_once(directory: Path, arch: str) -> Built:
    """For all tests of a run, whose directory it is."""
    need("zstd", "dpkg-deb", "readelf", "apt-get")
    if platform.machine() != "x86_64":
        pytest.xfail("these tests know the list of an x86-64 image")
    folder = directory / f"guests-{arch}"
    try:
        images.build(arch, RELEASE, folder)
    except debian.FetchError as e:
        skip_without_packages(str(e))
    except debian.BuildError as e:
        skip_what_make_lacks(str(e))
        raise
    return Built(folder, arch)


@cache
def _entries(packed: Path) -> dict[str, newc.Entry]:
    unpacked = subprocess.run(["zstd", "-dcq", packed], stdout=subprocess.PIPE, check=True).stdout
    return newc.entries(unpacked)


def run_in(root: Path, *argv: str, text: str = "") -> subprocess.CompletedProcess:
    """A program of an unpacked image, with nothing else to see."""
    return subprocess.run(argv, input=text, text=True, capture_output=True, timeout=120, env={"PATH": "/usr/sbin:/usr/bin"},
                          preexec_fn=lambda: (os.chroot(root), os.chdir("/")))
