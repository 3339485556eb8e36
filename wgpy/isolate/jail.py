"""Shuts a room's process in, step by step; what each step takes away is in
docs/threat-model.md. Call it as root with one thread and everything imported: nothing
can be opened afterwards."""

import errno
import os
import resource
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from wgpy.errors import HostError
from wgpy.isolate import kernel, seccomp

PROCESSES = 64
NOBODY = 65534
# what libraries of the system consist of, and read when they are loaded
_FOR_LIBRARIES = ("/usr", "/lib", "/lib32", "/lib64", "/etc/ssl", "/etc/ld.so.cache", "/etc/gcrypt", "/etc/gnutls")
_HINTS = {
    errno.EMFILE: "the limit on open files, ulimit -n",
    errno.ENFILE: "the host's limit on open files, sysctl fs.file-max",
    errno.EAGAIN: "the limit on processes, ulimit -u, or the host's",
    errno.ENOSPC: "the host allows no more namespaces, sysctl user.max_user_namespaces and its like",
    errno.ENOSYS: "this kernel does not have it",
}


@contextmanager
def step(what: str) -> Iterator[None]:
    """HostError that names the step and what may have refused it."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as e:
        code = getattr(e, "errno", None)
        if isinstance(e, RuntimeError):  # a thread
            code = errno.EAGAIN
        reason = os.strerror(code) if code else str(e)
        raise HostError(f"{what}: {reason}" + (f" ({_HINTS[code]})" if code in _HINTS else "")) from None


def enter_network(netns: int | None) -> None:
    """`netns`: the network namespace to live in, closed here; None: a new one without
    any interface that is up. It belongs to the host's user namespace, so that no room
    has a say over interfaces, routes or firewalls."""
    with step("a network namespace"):
        if netns is None:
            kernel.unshare(kernel.CLONE_NEWNET)
        else:
            kernel.setns(netns, kernel.CLONE_NEWNET)
            os.close(netns)


def enter(room: str, uid: int, as_root: Callable[[], None], library: int | None = None) -> None:
    """Returns in the jailed process, pid 1 of its own pid namespace and `uid` outside of
    it, having called `as_root` in it while it had root's rights. The calling process stays
    behind as its waiting parent and ends with its status. HostError names the step that
    was refused. `library`: a descriptor; the root directory then holds what dlopen(3) needs to
    load it as /proc/self/fd/N, and nothing else of the host's files."""
    with step("limits of the process"):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
    with step("a pid namespace"):
        kernel.unshare(kernel.CLONE_NEWPID)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    with step("the process of the room"):
        child = os.fork()
    if child:
        _wait_for(child)
    as_root()
    if room == "crypto":
        with step("locked memory"):
            lock_memory()
    with step("a user namespace"):
        _own_user_namespace(uid)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    with step("mount, IPC, UTS and cgroup namespaces"):
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP)
    with step("an empty root directory"):
        _new_root(library)


def lock(room: str, writable: Iterable[int] = ()) -> None:
    """The last step, when the room has all it needs: no capabilities, no files, and
    only the system calls of its list, which write in the midst of `writable` only.
    Irrevocable, and only for threads that are made afterwards: HostError when there are
    others already."""
    if len(threading.enumerate()) > 1:
        raise HostError("a room must not have threads before it is locked")
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    with step("giving up capabilities"):
        kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    with step("Landlock"):
        kernel.landlock_everything()
    with step("the filter of system calls"):
        seccomp.allow_only(room, writable)


def become_nobody() -> None:
    """What root has to lose, if it is root."""
    if os.geteuid() == 0:
        with step("becoming nobody"):
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)


def before_foreign_code() -> None:
    """Before a library is loaded that is not ours: no capabilities, no connection, no other process
    or program, no file that could be written. Irrevocable; HostError."""
    with step("giving up capabilities"):
        kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    with step("the filter of system calls"):
        seccomp.for_foreign_code()


def lock_memory() -> None:
    """No key goes to swap: all memory, and what comes later too where the limit on
    locked memory can be lifted; a room without that right would run out of memory."""
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        kernel.lock_memory(future=True)
    except (ValueError, OSError):
        kernel.lock_memory(future=False)


def _own_user_namespace(uid: int) -> None:
    """uid 0 inside is `uid` outside: nobody. The identity is given up first, so that
    even the mapping is written without privilege; that needs a dumpable process for a
    moment, since /proc/self belongs to root otherwise."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    kernel.unshare(kernel.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {uid} 1")):
        with open(f"/proc/self/{name}", "w") as f:
            f.write(text)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def _new_root(library: int | None) -> None:
    """A root directory with nothing in it, or with what loads a library, and no way to write to it."""
    flags, size = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC, 4096
    if library is not None:
        flags, size = flags & ~kernel.MS_NOEXEC, size + os.fstat(library).st_size
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    root = tempfile.gettempdir()
    kernel.mount("none", root, "tmpfs", flags, f"size={size},mode=555")
    if library is not None:
        for path in _FOR_LIBRARIES:
            _lend(path, root + path)
        os.makedirs(f"{root}/proc/self/fd")
        with open(f"{root}/proc/self/fd/{library}", "xb") as copy:
            copy.write(os.pread(library, size, 0))
    os.chdir(root)
    kernel.pivot_root(".", ".")
    kernel.umount(".", kernel.MNT_DETACH)
    os.chdir("/")
    kernel.mount("none", "/", None, kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | flags)


def _lend(path: str, place: str) -> None:
    """The host's file or directory, to be read only."""
    if os.path.islink(path):
        os.symlink(os.readlink(path), place)
        return
    if os.path.isdir(path):
        os.makedirs(place)
    elif os.path.isfile(path):
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.close(os.open(place, os.O_CREAT | os.O_EXCL, 0o600))
    else:
        return
    kernel.mount(path, place, None, kernel.MS_BIND | kernel.MS_REC)
    kept = os.statvfs(path).f_flag  # what the host forbids there cannot be taken back
    locked = kept & (os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME) | (kernel.MS_RELATIME if kept & os.ST_RELATIME else 0)
    kernel.mount("none", place, None, kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV | locked)


def _wait_for(child: int) -> None:
    """Keeps nothing open and ends as the room ends."""
    os.closerange(3, 65536)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.kill(child, signal.SIGKILL))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)
