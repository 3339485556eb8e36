"""The system calls of isolation that Python 3.11 does not offer; OSError on failure.
unshare(2), setns(2), mount(2), pivot_root(2), prctl(2), capset(2), landlock(7),
memfd_secret(2)."""

import ctypes
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x20000, 0x2000000, 0x4000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x8000000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = 4096, 16384, 1 << 18, 1 << 21
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER = 1, 4, 24, 36
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 38, 47
CAP_SETPCAP, CAP_NET_BIND_SERVICE, CAP_NET_BROADCAST, CAP_NET_ADMIN = 8, 10, 11, 12
_PR_CAP_AMBIENT_CLEAR_ALL = 4
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_pivot_root = {"x86_64": 155, "i686": 217, "i386": 217, "aarch64": 41}
_landlock = {"create": 444, "restrict": 446}
_MEMFD_SECRET = 447


def _call(function: Callable[..., Any], *args: object) -> int:
    ret: int = function(*args)
    if ret < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{function.__name__}: {os.strerror(code)}")
    return ret


def unshare(flags: int) -> None:
    """CLONE_NEW…; OSError."""
    _call(_libc.unshare, flags)


def setns(fd: int, kind: int) -> None:
    """Enters the namespace of a descriptor, of the kind CLONE_NEW…; OSError."""
    _call(_libc.setns, fd, kind)


def mount(source: str, target: str, fstype: str | None, flags: int, data: str | None = None) -> None:
    """As mount(2); None is NULL. OSError."""
    *head, options = (None if text is None else text.encode() for text in (source, target, fstype, data))
    _call(_libc.mount, *head, ctypes.c_ulong(flags), options)


def umount(target: str, flags: int) -> None:
    """As umount2(2), with MNT_…; OSError."""
    _call(_libc.umount2, target.encode(), flags)


def pivot_root(new: str, old: str) -> None:
    """As pivot_root(2), which C libraries do not have. OSError; KeyError on a machine whose
    system call number is not known here."""
    number = _pivot_root[platform.machine()]
    _call(_libc.syscall, ctypes.c_long(number), new.encode(), old.encode())


def prctl(option: int, arg: int = 0, arg3: int = 0) -> int:
    """As prctl(2), whose other arguments are 0; OSError."""
    return _call(_libc.prctl, option, *(ctypes.c_ulong(v) for v in (arg, arg3, 0, 0)))


def lock_memory(future: bool) -> None:
    """Nothing that this process has touched goes to swap, nor what it will map."""
    _call(_libc.mlockall, MCL_CURRENT | MCL_ONFAULT | (MCL_FUTURE if future else 0))


def secret_memory(name: str, size: int) -> int:
    """A descriptor of memory to be mapped, which never goes to swap, and which neither
    read(2) nor an open of /proc/PID/fd gives away; where the kernel has no
    memfd_secret(2), an ordinary memfd."""
    try:
        fd = _call(_libc.syscall, ctypes.c_long(_MEMFD_SECRET), ctypes.c_ulong(os.O_CLOEXEC))
    except OSError:
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
    os.ftruncate(fd, size)
    return fd


def whole_file(path: Path, size: int) -> int:
    """A descriptor of a file of `size` bytes, new or as it is, whose blocks are there from the beginning:
    no later write finds the disk full. OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.ftruncate(fd, size)
        os.posix_fallocate(fd, 0, size)
    except OSError:
        os.close(fd)
        raise
    return fd


def drop_capabilities(keep: int = 0) -> None:
    """Empties the bounding, ambient, permitted, effective and inheritable sets, but for
    those of the set `keep` that are held: they stay bounding, permitted and effective."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then their upper halves
    _call(_libc.capget, header, held)
    kept = keep & (held[1] | held[4] << 32)
    if held[0] >> CAP_SETPCAP & 1:
        for cap in range(64):
            if not keep >> cap & 1:
                try:
                    prctl(PR_CAPBSET_DROP, cap)
                except OSError:  # the kernel knows no more
                    break
    prctl(PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    _call(_libc.capset, header, (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0))


def landlock_everything() -> int:
    """Forbids this process every access to files by path, TCP, and abstract sockets and
    signals out of its domain. Returns the ABI used, 0 where the kernel has none."""
    try:
        abi = _call(_libc.syscall, ctypes.c_long(_landlock["create"]), None, ctypes.c_size_t(0), 1)
    except OSError:
        return 0
    files = (1 << {1: 13, 2: 14}.get(abi, 15 if abi < 5 else 16)) - 1
    attributes = (ctypes.c_uint64 * 3)(files, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    fd = _call(_libc.syscall, ctypes.c_long(_landlock["create"]), attributes, ctypes.c_size_t(size), 0)
    try:
        _call(_libc.syscall, ctypes.c_long(_landlock["restrict"]), fd, 0)
    finally:
        os.close(fd)
    return abi
