"""The kernel module wgpy_ring (guest/module), built for Debian's cloud kernel of a release and an
architecture: `ring_module.py ARCH RELEASE FOLDER`; `make guests` builds it for the kernel of the
images. Kernel and headers are fetched as the parts of images are, and kept beside them; nothing is
installed, and what is chosen once stays chosen."""

import shutil
import sys
from functools import cached_property
from pathlib import Path

import debian
from debian import Archive, BuildError, run
from extensions import compiler
from system import CACHE, NATIVE

SOURCE = Path(__file__).resolve().parent / "module"
MACHINE = {"amd64": ("x86_64", "x86_64-linux-gnu-"), "arm64": ("arm64", "aarch64-linux-gnu-")}  # the kernel's name, its tools' prefix


class Kernel:
    """`root`: the packages that were unpacked so far. `version`: the one that is wanted instead of
    the newest, or of the one that was chosen before."""

    def __init__(self, release: str, arch: str, cache: Path = CACHE, version: str | None = None):
        self.release, self.arch, self.cache, self._wanted = release, arch, cache, version
        self.top = cache / f"module-{release}-{arch}"
        self.root = self.top / "root"
        self._archive = Archive(self.top, release, arch, debian.mirror())

    @cached_property
    def version(self) -> str:
        """Such as 6.1.0-56-cloud-amd64. FetchError without a network, where none was chosen."""
        kept = self.top / "version"
        chosen = kept.read_text() if kept.exists() else None
        if chosen is None or self._wanted not in (None, chosen):
            self._archive.update()
            shutil.rmtree(self.root, ignore_errors=True)
            newest = self._archive.depends(f"linux-image-cloud-{self.arch}", r"linux-image-\d\S+").removeprefix("linux-image-")
            chosen = self._wanted or newest
            kept.write_text(chosen)
        return chosen

    def unpack(self, name: str, root: Path | None = None) -> Path:
        """The folder, `root`, in which the package's files are."""
        root = root or self.root
        done = root / "unpacked" / name
        if not done.exists():
            _ = self.version  # the lists are there now
            package = next((p for p in self._archive.resolve([name]) if p.name == name), None)
            if package is None:
                raise BuildError(f"{self.release} has no {name}: remove {self.top} and build again")
            debian.unpack(self._archive.fetch([package])[0], root)
            done.parent.mkdir(exist_ok=True)
            done.touch()
        return root

    def image(self) -> Path:
        """The kernel; its modules are below `root`."""
        return self.unpack(f"linux-image-{self.version}") / f"boot/vmlinuz-{self.version}"

    def headers(self) -> Path:
        """The folder to build against. The programs that a build runs are this machine's."""
        name = f"linux-headers-{self.version}"
        folder = self.root / "usr/src" / name
        if not (folder / "complete").exists():
            self.unpack(name)
            self.unpack(self._archive.depends(name, r"linux-headers-\S+-common"))
            native = self if self.arch == NATIVE else Kernel(self.release, NATIVE, self.cache)
            native.unpack(self._archive.depends(name, r"linux-kbuild-\S+"), self.root)
            makefile = folder / "Makefile"  # expects to lie in the root folder
            makefile.write_text(makefile.read_text().replace("include /usr/", f"include {self.root}/usr/"))
            (folder / "complete").touch()
        return folder

    def make(self, target: str, source: Path) -> list[str]:
        """The command that builds in the folder `source`. The headers name the compiler of the kernel itself,
        which a machine of another release need not have; kbuild takes any. BuildError when there is none."""
        return ["make", "-C", str(source), target, f"KERNEL={self.headers()}", f"CC={compiler(self.arch)}",
                f"ARCH={MACHINE[self.arch][0]}", f"CROSS_COMPILE={self.prefix}"]

    @property
    def prefix(self) -> str:
        """Of the names of compiler and linker."""
        return MACHINE[self.arch][1] if self.arch != NATIVE else ""


def build(arch: str, release: str, folder: Path, version: str | None = None) -> Path:
    """wgpy_ring.ko without what only a debugger needs and what comes of that, in `folder`, for the
    kernel `version` or the one that was chosen. BuildError."""
    kernel = Kernel(release, arch, version=version)
    work = kernel.top / "build"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(SOURCE, work)
    run(*kernel.make("modules", work))
    run(kernel.prefix + "strip", "--strip-debug", "--remove-section=.note.gnu.build-id", work / "wgpy_ring.ko")
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(work / "wgpy_ring.ko", folder))


if __name__ == "__main__":
    try:
        print(build(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
    except BuildError as e:
        sys.exit(f"ring_module: {e}")
