"""The system calls that a running room may make. What is not listed gives EPERM; what
only an intruder would try ends the process."""

import errno
import mmap

import pyseccomp

# Everything that moves packets, sleeps, and keeps CPython and malloc alive.
COMMON = """read write readv writev close poll ppoll futex clock_gettime clock_nanosleep nanosleep
 gettimeofday munmap madvise mremap brk rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack exit
 exit_group getpid gettid sched_yield restart_syscall fstat getrandom set_robust_list rseq
 sched_getaffinity membarrier tgkill recvmsg sendmsg""".split()
BLACK: list[str] = []
RED: list[str] = []
CRYPTO = """epoll_wait epoll_pwait epoll_ctl recvfrom sendto shutdown getsockopt getsockname fcntl
 fstat lseek pread64 pwrite64 ftruncate fdatasync fsync mlock munlock""".split()
ROOMS = {"black": BLACK, "red": RED, "crypto": CRYPTO}
FATAL = """execve execveat ptrace process_vm_readv process_vm_writev mount umount2 pivot_root
 setns unshare bpf keyctl init_module finit_module kexec_load reboot open_by_handle_at
 perf_event_open userfaultfd""".split()

_CLONE_THREAD = 0x10000


def allow_only(room: str) -> None:
    """Applies the room's list to this thread, and to those that it makes, for good."""
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for name in COMMON + ROOMS[room]:
        _add(rules, pyseccomp.ALLOW, name)
    # memory that is never executable; threads, but no processes (clone3 hides its
    # flags, so libc is made to fall back to clone)
    for name in ("mmap", "mmap2", "mprotect"):
        _add(rules, pyseccomp.ALLOW, name, pyseccomp.Arg(2, pyseccomp.MASKED_EQ, mmap.PROT_EXEC, 0))
    _add(rules, pyseccomp.ALLOW, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _CLONE_THREAD, _CLONE_THREAD))
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
