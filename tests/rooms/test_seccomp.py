"""The system calls of a locked room: everything that is not needed is refused, and what
only an intruder tries ends the process (F2)."""

import ctypes
import errno
import os
import signal
import socket

import pyseccomp
import pytest

from wgpy.isolate import seccomp

ROOMS = ("black", "crypto", "red")
HIGHEST = 470
UPROBES = {335, 336}  # the kernel's own trampolines: SIGILL from anywhere else, and no filter sees them
# may not be missing among the refused, whatever the lists say
DANGEROUS = """socket socketpair connect bind listen accept open openat openat2 creat openat mkdir mkdirat
 rmdir unlink unlinkat rename renameat2 link symlink mknod mknodat chmod fchmod chown fchown truncate
 mount umount2 pivot_root chroot move_mount fsopen fsmount open_tree mount_setattr setns unshare execve
 execveat fork vfork ptrace process_vm_readv process_vm_writev kill tkill pidfd_open pidfd_getfd
 pidfd_send_signal process_madvise kcmp bpf perf_event_open userfaultfd io_uring_setup io_uring_enter
 add_key request_key keyctl init_module finit_module delete_module kexec_load kexec_file_load reboot
 swapon swapoff settimeofday clock_settime setuid setgid setresuid setresgid setgroups capset prctl
 arch_prctl seccomp personality ioperm iopl modify_ldt memfd_create memfd_secret shmget shmat msgget
 semget mq_open inotify_init1 fanotify_init name_to_handle_at open_by_handle_at sethostname
 setdomainname quotactl acct splice tee vmsplice sendfile copy_file_range ioctl setsockopt timer_create
 pkey_mprotect clone3 fcntl ftruncate fallocate pwrite64 pwritev pwritev2 fsync sync dup dup2 dup3 shutdown
 landlock_create_ruleset setrlimit prlimit64 nfsservctl lookup_dcookie""".split()


def number_of(name):
    return pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)


def name_of(number):
    try:
        return pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, number).decode()
    except ValueError:  # newer than the library, or none
        return str(number)


def locked(room, action, writable=()):
    """What `action()` returns in a process behind the room's filter; a signal's number,
    negative, if that ends it."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        signal.alarm(120)
        kernel_says = ctypes.CDLL(None, use_errno=True).syscall
        import wgpy.isolate.kernel as kernel
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        seccomp.allow_only(room, writable)
        os.write(writer, repr(action(kernel_says)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code else eval(said.decode())


def outcome(call, number, *arguments):
    ctypes.set_errno(0)
    ret = call(ctypes.c_long(number), *(arguments or [ctypes.c_long(-1)] * 6))
    return ctypes.get_errno() if ret == -1 else 0


@pytest.mark.parametrize("room", ROOMS)
def test_every_call_that_is_not_listed_is_refused(room):
    allowed = set(seccomp.COMMON + seccomp.ROOMS[room]) | {"mmap", "mprotect", "clone", "tgkill"}
    allowed |= {"sendto", "recvfrom", "getsockopt"} if room == "crypto" else set()
    fatal = set(seccomp.FATAL)
    others = [n for n in range(HIGHEST) if n not in UPROBES and name_of(n) not in allowed | fatal]
    assert len(others) > 350
    codes = locked(room, lambda call: {n: outcome(call, n) for n in others})
    wrong = {name_of(n): code for n, code in codes.items()
             if code != (errno.ENOSYS if name_of(n) == "clone3" else errno.EPERM)}
    assert not wrong


@pytest.mark.parametrize("room", ROOMS)
def test_no_dangerous_call_is_listed(room):
    allowed = set(seccomp.COMMON + seccomp.ROOMS[room])
    assert not allowed & set(DANGEROUS)


@pytest.mark.parametrize("name", seccomp.FATAL)
def test_what_only_an_intruder_tries_ends_the_room(name):
    assert locked("black", lambda call: outcome(call, number_of(name))) == -signal.SIGSYS


@pytest.mark.parametrize("room", ROOMS)
def test_no_process_and_no_executable_memory(room):
    vm = 0x100
    nr = {name: number_of(name) for name in ("clone", "mmap", "mprotect")}

    def attempts(call):
        page = call(ctypes.c_long(nr["mmap"]), None, 4096, 3, 0x22, -1, 0)
        return [outcome(call, nr["clone"], ctypes.c_long(signal.SIGCHLD), None, None, None, None),
                outcome(call, nr["clone"], ctypes.c_long(vm | signal.SIGCHLD), None, None, None, None),
                outcome(call, nr["clone"], ctypes.c_long(0x10f00), None, None, None, None),
                outcome(call, nr["clone"], ctypes.c_long(0x403d0f00), None, None, None, None),
                outcome(call, nr["mmap"], None, 4096, 7, 0x22, -1, 0),
                outcome(call, nr["mmap"], None, 4096, 5, 0x22, -1, 0),
                outcome(call, nr["mprotect"], ctypes.c_long(page), 4096, 5)]
    assert locked(room, attempts) == [errno.EPERM] * 7


@pytest.mark.parametrize("room", ROOMS)
def test_threads_may_be_made(room):
    import threading

    def action(_call):
        seen = []
        worker = threading.Thread(target=lambda: seen.append(os.getpid() > 0))
        worker.start()
        worker.join()
        return seen
    assert locked(room, action) == [True]


LONG = ctypes.c_long


def calls(call, *attempts):
    return [outcome(call, number_of(name), *(LONG(a) if isinstance(a, int) else a for a in arguments))
            for name, *arguments in attempts]


@pytest.mark.parametrize("room", ROOMS)
def test_a_file_that_only_grows_cannot_be_written_in_its_midst(room, tmp_path):
    """F_SETFL would clear O_APPEND for everybody who shares the descriptor."""
    path = tmp_path / "grows"
    path.write_text("what was")
    fd = os.open(path, os.O_RDWR | os.O_APPEND)
    got = locked(room, lambda call: calls(
        call, ("fcntl", fd, 4, 0), ("fcntl", fd, 3, 0), ("pwrite64", fd, b"x", 1, 0), ("pwritev", fd, b"x", 1, 0),
        ("ftruncate", fd, 0), ("fallocate", fd, 0, 0, 1), ("dup", fd), ("dup2", fd, 77), ("fdatasync", fd)))
    assert got == [errno.EPERM] * 9 and path.read_text() == "what was"


def test_only_the_key_store_is_written_in_its_midst(tmp_path):
    (tmp_path / "keys").write_text("key")
    (tmp_path / "other").write_text("other")
    keys, other = (os.open(tmp_path / name, os.O_RDWR) for name in ("keys", "other"))
    got = locked("crypto", lambda call: calls(
        call, ("pwrite64", keys, b"K", 1, 0), ("fdatasync", keys), ("pwrite64", other, b"x", 1, 0), ("fdatasync", other)),
        writable=(keys,))
    assert got == [0, 0, errno.EPERM, errno.EPERM]
    assert (tmp_path / "keys").read_text() == "Key" and (tmp_path / "other").read_text() == "other"


@pytest.mark.parametrize("room", ROOMS)
def test_no_descriptor_is_mapped_and_no_other_process_is_signalled(room, tmp_path):
    (tmp_path / "file").write_text("x" * 4096)
    fd, parent = os.open(tmp_path / "file", os.O_RDWR), os.getpid()

    def attempts(call):
        return calls(call, ("mmap", 0, 4096, 1, 1, fd, 0), ("mmap", 0, 4096, 3, 2, fd, 0), ("mmap", 0, 4096, 3, 0x22, -1, 0),
                     ("tgkill", parent, parent, 0), ("tgkill", os.getpid(), os.getpid(), 0))
    assert locked(room, attempts) == [errno.EPERM, errno.EPERM, 0, errno.EPERM, 0]


def test_crypto_names_no_address_and_reads_only_a_sockets_own_options():
    a, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    fd, buffer, size = a.fileno(), ctypes.create_string_buffer(16), ctypes.byref(ctypes.c_int(16))
    got = locked("crypto", lambda call: calls(
        call, ("sendto", fd, b"x", 1, 0, b"\1\0/x\0", 5), ("recvfrom", fd, buffer, 1, 64, buffer, size),
        ("getsockopt", fd, 0, 80, buffer, size), ("sendto", fd, b"x", 1, 0, None, 0), ("getsockopt", fd, 1, 3, buffer, size)))
    assert got == [errno.EPERM, errno.EPERM, errno.EPERM, 0, 0]
