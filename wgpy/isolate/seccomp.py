"""The system calls that a running room may make. What is not listed gives EPERM; what
only an intruder would try ends the process."""

import errno
import itertools
import mmap
import os
import socket
from collections.abc import Iterable
from typing import Any

import pyseccomp

# Everything that moves packets, sleeps, and keeps CPython and malloc alive.
COMMON = """read write readv writev close poll ppoll futex clock_gettime clock_nanosleep nanosleep
 gettimeofday munmap madvise mremap brk rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack exit
 exit_group getpid gettid sched_yield restart_syscall fstat getrandom set_robust_list rseq
 sched_getaffinity membarrier recvmsg sendmsg""".split()
BLACK = "recvmmsg recvmmsg_time64".split()
RED: list[str] = []
CRYPTO = """epoll_wait epoll_pwait epoll_ctl getsockname lseek pread64 mlock munlock""".split()
ROOMS = {"black": BLACK, "red": RED, "crypto": CRYPTO}
FATAL = """execve execveat ptrace process_vm_readv process_vm_writev mount umount2 pivot_root
 setns unshare bpf keyctl init_module finit_module kexec_load reboot open_by_handle_at
 perf_event_open userfaultfd""".split()

# Only of a descriptor of allow_only's `writable`: what is written anywhere else only grows.
WRITING = ("pwrite64", "fdatasync")

# A thread as libc makes it, which shares all it can; musl adds CLONE_DETACHED.
_THREAD, _DETACHED = 0x3d0f00, 0x400000
_Rule = tuple[Any, ...]  # a name, then conditions, all of which must hold
_EQ, _MASKED = pyseccomp.EQ, pyseccomp.MASKED_EQ


def _by_argument(room: str) -> list[_Rule]:
    """Calls that are allowed for some arguments only. No memory is executable, and after
    the lock none is mapped from a descriptor. No process is made (clone3 hides its flags,
    so libc is made to fall back to clone), and no other gets a signal. fcntl is nobody's:
    F_SETFL would take O_APPEND away from who shares a descriptor, or O_NONBLOCK."""
    arg, anonymous = pyseccomp.Arg, mmap.MAP_ANONYMOUS
    rules: list[_Rule] = [
        ("mmap", arg(2, _MASKED, mmap.PROT_EXEC, 0), arg(3, _MASKED, anonymous, anonymous)),
        ("mmap2", arg(2, _MASKED, mmap.PROT_EXEC, 0), arg(3, _MASKED, anonymous, anonymous)),
        ("mprotect", arg(2, _MASKED, mmap.PROT_EXEC, 0)),
        ("clone", arg(0, _MASKED, 0xffffffff & ~_DETACHED, _THREAD)),
        ("tgkill", arg(0, _EQ, os.getpid())),
    ]
    if room == "crypto":  # its sockets are connected ones
        rules += [("sendto", arg(4, _EQ, 0)), ("recvfrom", arg(4, _EQ, 0)), ("getsockopt", arg(1, _EQ, socket.SOL_SOCKET))]
    return rules


def allow_only(room: str, writable: Iterable[int] = ()) -> None:
    """Applies the room's list to this thread, and to those that it makes, for good.
    `writable`: descriptors of files in whose midst the room writes."""
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for name in COMMON + ROOMS[room]:
        _add(rules, pyseccomp.ALLOW, name)
    for name, *conditions in _by_argument(room):
        _add(rules, pyseccomp.ALLOW, name, *conditions)
    for name, fd in itertools.product(WRITING, writable):
        _add(rules, pyseccomp.ALLOW, name, pyseccomp.Arg(0, _EQ, fd))
    _add(rules, pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    for name in FATAL:
        _add(rules, pyseccomp.KILL_PROCESS, name)
    rules.load()


# A library that is not ours makes no process, no connection and no file, and gets no further into
# the kernel than a program needs to load it.
_FOREIGN = """fork vfork socket socketpair connect bind listen accept accept4 creat openat2
 mknod mknodat mkdir mkdirat unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat truncate
 chmod fchmod fchmodat chown lchown fchown fchownat setxattr lsetxattr kill tkill pidfd_open pidfd_send_signal
 pidfd_getfd io_uring_setup io_uring_enter io_uring_register add_key request_key chroot shmget msgget semget
 mq_open inotify_init inotify_init1 fanotify_init memfd_secret ioperm iopl modify_ldt move_mount fsopen fsmount open_tree
 mount_setattr setuid setgid setresuid setresgid setgroups name_to_handle_at process_madvise""".split()
_CLONE_THREAD = 0x10000


def for_foreign_code() -> None:
    """Before code is loaded that is not ours: of this thread, and of those that it makes, for
    good. Calls that are refused give EPERM; what only an intruder would try ends the process."""
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    refused = pyseccomp.ERRNO(errno.EPERM)
    for name in _FOREIGN:
        _add(rules, refused, name)
    for flag in (os.O_WRONLY, os.O_RDWR, os.O_CREAT):
        _add(rules, refused, "open", pyseccomp.Arg(1, _MASKED, flag, flag))
        _add(rules, refused, "openat", pyseccomp.Arg(2, _MASKED, flag, flag))
    _add(rules, refused, "clone", pyseccomp.Arg(0, _MASKED, _CLONE_THREAD, 0))
    _add(rules, pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    for name in FATAL:
        _add(rules, pyseccomp.KILL_PROCESS, name)
    rules.load()


def _add(rules: Any, action: Any, name: str, *conditions: Any) -> None:
    try:
        rules.add_rule(action, name, *conditions)
    except (ValueError, RuntimeError, OSError):
        if action is not pyseccomp.KILL_PROCESS and name in ("read", "write", "futex"):
            raise  # a name that this architecture lacks may be left out, these may not
