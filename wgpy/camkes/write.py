"""`generate` and `check` as commands have them: directories in, directories out, all or nothing."""

import gzip
import shutil
import stat
import tempfile
from pathlib import Path

from wgpy.camkes import application, drawing, linux, platform, render
from wgpy.camkes.application import Violation
from wgpy.camkes.check import check
from wgpy.camkes.platform import ROOMS, Platform
from wgpy.config import site as site_file
from wgpy.errors import ConfigError, HostError
from wgpy.vms import newc
from wgpy.vms.images import STORE, Images, entries

_ARCHITECTURES = {True: "arm64", False: "amd64"}  # arm and x86, as `make guests` calls them
_URANDOM = stat.S_IFCHR | 0o666
_MOST_KEYS = 1 << 20  # bytes of a sealed store


class Refused(ConfigError):
    """An application that rules forbid; `violations` has all that they say."""

    def __init__(self, violations: list[Violation]):
        self.violations = violations
        first, more = violations[0], len(violations) - 1
        super().__init__(first.reason + (f" (and {more} more)" if more else ""), source=first.file, key=first.key or None)


def generate(site: Path, machine: str, out: Path, images: Path | None, keys: Path | None) -> list[str]:
    """Writes the directory `out`, which must not be there yet, and gives the names of its files. ConfigError,
    HostError, OSError; then nothing is written."""
    if out.exists() or out.is_symlink():
        raise HostError(f"{out} exists already and is left as it is: name another directory, or remove it")
    text = site.read_bytes()
    parsed, errors, _ = site_file.parse_bytes(text, str(site))
    if parsed is None:
        raise errors[0]
    found = platform.load(machine)
    files = render.render(parsed, text, found)
    boots = _boots(found, files, images, keys)
    app, violations = check(files, {name: len(data) for name, data in boots.items()})
    if violations or app is None:
        raise Refused(violations)
    files[render.DRAWING] = drawing.draw(app).encode()
    _put(out, files | boots)
    return sorted(files | boots)


def examine(directory: Path) -> list[Violation]:
    """What rules say of a directory. HostError when it is none of ours, OSError."""
    return check(application.of_directory(directory), application.image_sizes(directory))[1]


def picture(directory: Path) -> str:
    """Its drawing. Refused when rules forbid it: what is drawn would not be what is."""
    app, violations = check(application.of_directory(directory), application.image_sizes(directory))
    if violations or app is None:
        raise Refused(violations)
    return drawing.draw(app)


def _boots(found: Platform, files: dict[str, bytes], images: Path | None, keys: Path | None) -> dict[str, bytes]:
    """Kernel and images with what makes them this node's, by path. Keys go into crypto's alone."""
    if images is None:
        if keys is not None:
            raise HostError("--keys goes into crypto's image: name the images with --images")
        return {}
    built = Images(images, _ARCHITECTURES[found.arm])
    made = {"images/linux": built.kernel if found.arm else linux.vmlinux(built.kernel, str(images / "vmlinuz"))}
    for room in ROOMS:
        own = {"etc/wgpy/room.toml": files[f"rooms/{room}.toml"], "etc/wgpy/site.toml": files[render.SITE_FILE]}
        if room == "crypto" and keys is not None:
            own[f"etc/wgpy/{STORE}"] = _sealed(keys)
        made[f"images/{room}.initrd"] = _initrd(own, built.packed(room))
    return made


def _initrd(own: dict[str, bytes], packed: bytes) -> bytes:
    """The node's files before the image: upstream's monitor on arm takes for an initial RAM disk only what begins
    as gzip does, and Linux unpacks one archive behind the other, each as it is packed. Python starts before /dev is
    mounted and wants random numbers for its dictionaries; no machine here gives the kernel a seed."""
    first = gzip.compress(newc.archive(entries(own) | {"dev/urandom": newc.Entry(_URANDOM, device=(1, 9))}), mtime=0)
    return first + bytes(-len(first) % 4) + packed


def _sealed(keys: Path) -> bytes:
    if keys.stat().st_size > _MOST_KEYS:
        raise HostError(f"{keys}: more than {_MOST_KEYS} bytes: not a sealed store")
    return keys.read_bytes()


def _put(out: Path, files: dict[str, bytes]) -> None:
    """Beside it first, so that `out` is whole or not there."""
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.resolve().parent) as scratch:
        made = Path(scratch) / "application"
        for name, data in files.items():
            path = made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        if out.exists():
            raise HostError(f"{out} was made meanwhile and is left as it is")
        shutil.move(made, out)
