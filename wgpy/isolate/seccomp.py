"""The system calls that a running room may make. What is not listed gives EPERM; what
only an intruder would try ends the process."""

import errno
import itertools
import mmap
import os
from collections.abc import Iterable

import pyseccomp

# Everything that moves packets, sleeps, and keeps CPython and malloc alive.
COMMON = """read write readv writev close poll ppoll futex clock_gettime clock_nanosleep nanosleep
 gettimeofday munmap madvise mremap brk rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack exit
 exit_group getpid gettid sched_yield restart_syscall fstat getrandom set_robust_list rseq
 sched_getaffinity membarrier recvmsg sendmsg""".split()
BLACK: list[str] = []
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
_SOL_SOCKET = 1
_EQ, _MASKED = pyseccomp.EQ, pyseccomp.MASKED_EQ


def _by_argument(room: str) -> list[tuple]:
    """Calls that are allowed for some arguments only. No memory is executable, and after
    the lock none is mapped from a descriptor. No process is made (clone3 hides its flags,
    so libc is made to fall back to clone), and no other gets a signal. fcntl is nobody's:
    F_SETFL would take O_APPEND away from who shares a descriptor, or O_NONBLOCK."""
    arg, anonymous = pyseccomp.Arg, mmap.MAP_ANONYMOUS
    rules: list[tuple] = [
        ("mmap", arg(2, _MASKED, mmap.PROT_EXEC, 0), arg(3, _MASKED, anonymous, anonymous)),
        ("mmap2", arg(2, _MASKED, mmap.PROT_EXEC, 0), arg(3, _MASKED, anonymous, anonymous)),
        ("mprotect", arg(2, _MASKED, mmap.PROT_EXEC, 0)),
        ("clone", arg(0, _MASKED, 0xffffffff & ~_DETACHED, _THREAD)),
        ("tgkill", arg(0, _EQ, os.getpid())),
    ]
    if room == "crypto":  # its sockets are connected ones
        rules += [("sendto", arg(4, _EQ, 0)), ("recvfrom", arg(4, _EQ, 0)), ("getsockopt", arg(1, _EQ, _SOL_SOCKET))]
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


def _add(rules, action, name: str, *conditions) -> None:
    try:
        rules.add_rule(action, name, *conditions)
    except (ValueError, RuntimeError, OSError):
        if action is not pyseccomp.KILL_PROCESS and name in ("read", "write", "futex"):
            raise  # a name that this architecture lacks may be left out, these may not
