"""Crypto's disk: a file of root's alone, made when a node first comes up as virtual machines, with the
node's sealed key store on it. From then on what is on the disk is crypto's, and nobody else's to read."""

import errno
import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from wgpy.config.site_model import Site
from wgpy.errors import HostError
from wgpy.node.state import KEYS, open_keys, state_dir
from wgpy.vms.images import STORE

NAME = "crypto.ext4"
SIZE = 64 << 20  # bytes, of which a new one takes few
_CORRECTED = 1    # e2fsck(8): there were errors, and are none any more


def open_disk(site: Site) -> int:
    """The disk of the site's node, made where there is none, locked for as long as the descriptor or a
    copy of it is open. HostError."""
    path = state_dir(site) / NAME
    try:
        if not path.exists():
            _make(site, path)
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _check(path)
        except BaseException as e:
            os.close(fd)
            if isinstance(e, BlockingIOError):
                raise HostError(f"{path}: in use by another process") from None
            raise
        return fd
    except OSError as e:
        remedy = ": free some space" if e.errno == errno.ENOSPC else ""
        raise HostError(f"{path}: {e.strerror}{remedy}") from None


def _make(site: Site, path: Path) -> None:
    if not (path.parent / KEYS).exists():
        raise HostError(f"{site.node.name} has no keys yet: wgpy keys seal FILE")
    fresh = path.with_suffix(".new")
    keys = open_keys(path.parent)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="crypto-") as name, os.fdopen(keys, "rb") as store:
        (Path(name) / "audit").mkdir(mode=0o700)
        with open(os.open(Path(name) / STORE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
            shutil.copyfileobj(store, copy)
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, SIZE)
            _mkfs(fresh, Path(name))
            os.fsync(fd)
            fresh.rename(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)


def _check(path: Path) -> None:
    """As a host does that boots: crypto's image has no program for it."""
    status, said = _run("e2fsck", "-p", str(path))
    if status & ~_CORRECTED:
        raise HostError(f"{path}: its file system is damaged ({said}): e2fsck -f {path}, or move it away and a new one is made")


def _mkfs(path: Path, contents: Path) -> None:
    status, said = _run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "root_owner=0:0", "-d", str(contents), str(path))
    if status:
        raise HostError(f"mkfs.ext4: {said}")


def _run(program: str, *arguments: str) -> tuple[int, str]:
    """Status, and the last line that it said. HostError when it cannot run or does not end."""
    try:
        done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise HostError(f"{program} is missing: apt-get install e2fsprogs") from None
    except subprocess.TimeoutExpired:
        raise HostError(f"{program} does not end") from None
    return done.returncode, ((done.stderr.strip() or done.stdout.strip()).splitlines() or ["failed"])[-1][:200]
