"""The unpacked packages of a release for an architecture, from which images are made, and the two
packages that Debian does not have, from PyPI by the hashes in requirements.lock."""

import json
import os
import re
import shutil
import sys
import tarfile
import time
from pathlib import Path

import debian
import layout
from debian import Archive, BuildError, FetchError, Package, run

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "guests"
SOURCES = ("pyseccomp", "python-pytun")
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
NATIVE = next((arch for arch, machine in MACHINES.items() if machine == os.uname().machine), "")


class System:
    """`root`: the unpacked packages. `cache` may be another folder, for tests."""

    def __init__(self, arch: str, release: str, cache: Path = CACHE):
        if release not in layout.PYTHON or arch not in layout.TRIPLETS:
            raise BuildError(f"no images of {release} for {arch}: there are {', '.join(layout.PYTHON)}; {', '.join(layout.TRIPLETS)}")
        if not NATIVE:
            raise BuildError(f"images are built on {' or '.join(MACHINES.values())}, not on {os.uname().machine}")
        newest = tuple(map(int, layout.PYTHON[release].split(".")))
        if newest > sys.version_info[:2]:
            raise BuildError(f"the Python of {release} is {layout.PYTHON[release]}: one at least as new is needed to read its sources")
        self.arch, self.release = arch, release
        self.python, self.triplet = layout.PYTHON[release], layout.TRIPLETS[arch]
        self.top = cache / f"{release}-{arch}"
        self.root = self.top / "root"
        self._owner: dict[Path, str] = {}
        self.packages: dict[str, Package] = {}  # by origin
        self.pinned: dict[str, list[str]] = {}   # hashes by origin

    def prepare(self, refresh: bool = False) -> None:
        """Fetches what is not there and unpacks all of it anew."""
        self.top.mkdir(parents=True, exist_ok=True)
        archive = Archive(self.top, self.release, self.arch, debian.mirror())
        chosen = self._chosen(archive, refresh)
        shutil.rmtree(self.root, ignore_errors=True)
        for package, deb in zip(chosen, archive.fetch(chosen), strict=True):
            origin = f"{package.name} {package.version}"
            self.packages[origin] = package
            self._owner |= {self.root / name: origin for name in debian.unpack(deb, self.root)}
        for name in debian.MERGED:
            (self.root / name).symlink_to(f"usr/{name}")
        shutil.rmtree(self.top / "sources", ignore_errors=True)
        for name in SOURCES:
            self._unpack_source(name)

    def _chosen(self, archive: Archive, refresh: bool) -> list[Package]:
        names = [n.format(python=self.python) for n in layout.PACKAGES + layout.BUILDING]
        kept = self.top / "packages.json"
        if kept.exists() and not refresh:
            known = json.loads(kept.read_text())
            if known["for"] == names:
                age = (time.time() - kept.stat().st_mtime) / 86400
                print(f"guests: {self.release} {self.arch}: packages as chosen {age:.1f} days ago; REFRESH=1 looks for newer ones")
                return [Package(**fields) for fields in known["packages"]]
        print(f"guests: {self.release} {self.arch}: the signed lists, and what is newest in them", flush=True)
        archive.update()
        kernel = archive.depends(layout.KERNEL.format(arch=self.arch), r"linux-image-\d\S+")
        chosen = archive.resolve(names) + [p for p in archive.resolve([kernel]) if p.name == kernel]
        kept.write_text(json.dumps({"for": names, "packages": [vars(p) for p in chosen]}, indent=1))
        return chosen

    def _unpack_source(self, name: str) -> None:
        """pip refuses an archive whose hash is not in requirements.lock."""
        version, hashes = pinned(name)
        fetched = self.top / "pypi" / f"{name}-{version}"
        if not list(fetched.glob("*.tar.gz")):
            fetched.mkdir(parents=True, exist_ok=True)
            asked = fetched / "requirements.txt"
            asked.write_text(f"{name}=={version} " + " ".join(f"--hash=sha256:{h}" for h in hashes) + "\n")
            try:
                run(sys.executable, "-I", "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "--no-build-isolation",
                    "--require-hashes", "-d", fetched, "-r", asked)
            except BuildError as e:
                raise FetchError(str(e)) from None
        with tarfile.open(next(iter(fetched.glob("*.tar.gz")))) as archive:
            archive.extractall(self.top / "sources", [m for m in archive if m.isfile()])
        self.pinned[f"{name} {version}"] = hashes
        for path in self.sources(name).rglob("*"):
            self.owned(path, name)

    def sources(self, name: str) -> Path:
        """The folder in which a package of PyPI was unpacked."""
        return self.top / "sources" / f"{name}-{pinned(name)[0]}"

    def owned(self, file: Path, name: str) -> Path:
        """The file, which was made of that package."""
        self._owner[file] = f"{name} {pinned(name)[0]}"
        return file

    def origin(self, file: Path) -> str:
        """Package and version that a file is of; "wgpy" for the tree's own."""
        return self._owner.get(file, "wgpy")

    def python_path(self) -> list[Path]:
        home = self.root / "usr/lib" / f"python{self.python}"
        return [home, home / "lib-dynload", self.root / "usr/lib/python3/dist-packages", *map(self.sources, SOURCES)]

    def kernel(self) -> Path:
        return next(iter((self.root / "boot").glob("vmlinuz-*")))

    def kernel_version(self) -> str:
        """Such as 6.1.0-56-cloud-amd64."""
        return self.kernel().name.removeprefix("vmlinuz-")

    def kernel_modules(self) -> Path:
        return next(iter((self.root / "usr/lib/modules").iterdir()))


def pinned(name: str) -> tuple[str, list[str]]:
    """(version, SHA-256 of each file) in requirements.lock."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    found = re.search(rf"^{name}==(\S+)((?:\s+--hash=sha256:[0-9a-f]{{64}})+)", text, re.MULTILINE)
    if found is None:
        raise BuildError(f"requirements.lock does not pin {name}")
    return found[1], re.findall(r"[0-9a-f]{64}", found[2])
