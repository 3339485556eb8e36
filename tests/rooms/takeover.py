"""What an intruder can do who owns a room altogether: this program enters all namespaces
of the room's process, becomes uid 0 of its user namespace with all capabilities there,
which is more than the room itself has, and tries. Prints {attempt: outcome} as JSON.

usage: takeover.py ROOM_PID VICTIM_PID,... ADDRESS...
Victims are named from outside the room, so that nothing depends on their being unseen."""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import socket
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
KINDS = {"user": 0x10000000, "mnt": 0x20000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x8000000,
         "uts": 0x4000000, "cgroup": 0x2000000}
SYS_PTRACE, SYS_READV, SYS_FCNTL, SYS_PIDFD_GETFD = 101, 310, 72, 438
PTRACE_ATTACH, F_ADD_SEALS, RTM_NEWLINK, IFF_UP, NFT_DELTABLE = 16, 1033, 16, 1, 0xA02


def call(function, *arguments) -> str:
    ctypes.set_errno(0)
    ret = function(*arguments)
    return "done" if ret >= 0 else errno.errorcode.get(ctypes.get_errno(), "?")


def attempt(action) -> str:
    try:
        got = action()
        return got if isinstance(got, str) else "done" if got is None else json.dumps(got)
    except OSError as e:
        return errno.errorcode.get(e.errno, type(e).__name__)


def syscall(number, *arguments) -> str:
    return call(libc.syscall, ctypes.c_long(number), *(
        ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))


def enter(pid: int, leave_out: tuple = ()) -> None:
    fds = {kind: os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in KINDS if kind not in leave_out}
    own_user = fds.pop("user")
    for kind, fd in [*fds.items(), ("user", own_user)]:
        assert libc.setns(fd, KINDS[kind]) == 0, (kind, os.strerror(ctypes.get_errno()))
        os.close(fd)
    os.setgroups([]) if "user" in leave_out else None
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    assert os.getuid() == 0


def memory(victim: int, victim_dir: int, pidfd: int) -> dict:
    """What would show or change another process."""
    buffer = ctypes.create_string_buffer(16)
    local = struct.pack("PN", ctypes.addressof(buffer), 16)
    remote = struct.pack("PN", 0x10000, 16)
    attempts = {
        "ptrace": lambda: syscall(SYS_PTRACE, PTRACE_ATTACH, victim, 0, 0),
        "process_vm_readv": lambda: syscall(SYS_READV, victim, local, 1, remote, 1, 0),
        "/proc/PID/mem": lambda: os.close(os.open("mem", os.O_RDONLY, dir_fd=victim_dir)),
        "/proc/PID/maps": lambda: os.close(os.open("maps", os.O_RDONLY, dir_fd=victim_dir)),
        "/proc/PID/environ": lambda: os.close(os.open("environ", os.O_RDONLY, dir_fd=victim_dir)),
        "/proc/PID/fd": lambda: str(len(os.listdir(os.open("fd", os.O_RDONLY | os.O_DIRECTORY, dir_fd=victim_dir)))),
        "/proc/PID/root": lambda: os.close(os.open("root", os.O_RDONLY, dir_fd=victim_dir)),
        "pidfd_getfd": lambda: syscall(SYS_PIDFD_GETFD, pidfd, 3, 0),
        "signal": lambda: os.kill(victim, 0),
        "setns": lambda: call(libc.setns, pidfd, KINDS["user"]),
    }
    return {f"{victim}: {name}": action for name, action in attempts.items()}


def kernel(heard: list[int]) -> dict:
    """`heard`: duplicates of the room's own netlink sockets, which root opened."""
    def netlink(protocol, kind, payload):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as s:
            s.settimeout(2)
            s.send(struct.pack("=IHHII", 16 + len(payload), kind, 5, 1, 0) + payload)
            code = -struct.unpack_from("=i", s.recv(4096), 16)[0]
            return errno.errorcode[code] if code else "done"

    def links():
        return sorted(name for _, name in socket.if_nameindex() if flags(name) & IFF_UP)

    def flags(name):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            return struct.unpack_from("=H", fcntl.ioctl(s, 0x8913, name.encode().ljust(40, b"\0")), 16)[0]

    def up(name):
        index = socket.if_nametoindex(name)
        return netlink(0, RTM_NEWLINK, struct.pack("=BxHiII", 0, 0, index, IFF_UP, IFF_UP))

    def dummy():
        kind = b"dummy\0\0\0"
        info = struct.pack("=HH", 4 + 9, 1) + kind + struct.pack("=I", 0)[:4]
        return struct.pack("=BxHiII", 0, 0, 0, 0, 0) + struct.pack("=HH", 4 + len(info), 18) + info

    def make_dummy():
        return netlink(0, RTM_NEWLINK, dummy())

    def make_where_it_hears():
        """The room reads the answers; so what was made is looked for."""
        before = socket.if_nameindex()
        for fd in heard:
            with socket.socket(fileno=os.dup(fd)) as s:
                s.send(struct.pack("=IHHII", 16 + len(dummy()), RTM_NEWLINK, 0x605, 1, 0) + dummy())
        return f"{len(heard)} sockets, {len(socket.if_nameindex()) - len(before)} links made"

    def flush_firewall():
        table = b"wgpy_black\0\0"
        return netlink(12, NFT_DELTABLE, struct.pack("=BBH", 1, 0, 0) + struct.pack("=HH", 4 + 11, 1) + table)

    return {
        "links up": lambda: links(),
        "raise every link": lambda: sorted({attempt(lambda n=n: up(n)) for _, n in socket.if_nameindex()}),
        "make a link": make_dummy,
        "make a link where the room hears": make_where_it_hears,
        "packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3).close(),
        "raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close(),
        "delete firewall": flush_firewall,
        "mknod": lambda: os.mknod("/x", 0o600 | 0o060000, os.makedev(8, 0)),
        "write a file": lambda: os.close(os.open("/x", os.O_CREAT | os.O_WRONLY)),
        "files": lambda: os.listdir("/"),
        "mount proc": lambda: call(libc.mount, b"proc", b"/", b"proc", ctypes.c_ulong(0), None),
        "mount tmpfs and proc": mount_and_look,
    }


def mount_and_look() -> str:
    got = call(libc.mount, b"t", b"/", b"tmpfs", ctypes.c_ulong(0), None)
    os.chdir("/..")  # onto what was mounted over the root
    if got == "done":
        os.makedirs("p", exist_ok=True)
        got = call(libc.mount, b"proc", b"p", b"proc", ctypes.c_ulong(0), None)
        if got == "done":
            return json.dumps(sorted(int(n) for n in os.listdir("p") if n.isdigit()))
    return got


def rings(room_fds: dict[int, tuple[str, bool]]) -> dict:
    """Attempts to write what the room was given only to read: `room_fds` are duplicates
    of its own descriptors."""
    out = {}
    for fd, (name, writable) in room_fds.items():
        def map_it(fd=fd, protection=mmap.PROT_READ | mmap.PROT_WRITE):
            mmap.mmap(fd, 4096, mmap.MAP_SHARED, protection).close()

        def raise_it(fd=fd):
            libc.mmap.restype = ctypes.c_void_p
            address = libc.mmap(None, ctypes.c_size_t(4096), 1, 1, fd, ctypes.c_long(0))
            return call(libc.mprotect, ctypes.c_void_p(address), ctypes.c_size_t(4096), 3)
        kind = "own" if writable else "theirs"
        out[f"{name} {kind}: map writable"] = map_it
        if not writable:
            out[f"{name} {kind}: mprotect"] = raise_it
            out[f"{name} {kind}: write"] = lambda fd=fd: os.pwrite(fd, b"x", 0) and None
            out[f"{name} {kind}: chmod"] = lambda fd=fd: os.fchmod(fd, 0o666)
        out[f"{name} {kind}: shrink"] = lambda fd=fd: os.ftruncate(fd, 0)
        out[f"{name} {kind}: more seals"] = lambda fd=fd: syscall(SYS_FCNTL, fd, F_ADD_SEALS, 8)
    return out


def reach(addresses: list[str]) -> dict:
    def tcp(host, port):
        with socket.socket() as s:
            s.settimeout(0.5)
            s.connect((host, port))

    def udp(host):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.3)
            s.sendto(b"PROTECTED-CLEARTEXT-MARKER from a taken room", (host, 4444))
            s.recv(16)
    out = {}
    for address in addresses:
        out[f"tcp {address}"] = lambda a=address: tcp(a, 8080)
        out[f"udp {address}"] = lambda a=address: udp(a)
    return out


def main() -> None:
    room, victims, *addresses = sys.argv[1:]
    room = int(room)
    seen = [(int(v), os.open(f"/proc/{v}", os.O_RDONLY | os.O_DIRECTORY), os.pidfd_open(int(v)))
            for v in victims.split(",")]
    room_pidfd = os.pidfd_open(room)
    room_fds, heard = {}, []
    for name in os.listdir(f"/proc/{room}/fd"):
        target = os.readlink(f"/proc/{room}/fd/{name}")
        if target.startswith("/memfd:wgpy-"):
            fd = libc.syscall(ctypes.c_long(SYS_PIDFD_GETFD), room_pidfd, int(name), 0)
            flags = int(open(f"/proc/{room}/fdinfo/{name}").read().split("flags:")[1].split()[0], 8)
            room_fds[fd] = target[12:].split(" ")[0], flags & 3 == os.O_RDWR
        elif target.startswith("socket:"):
            fd = libc.syscall(ctypes.c_long(SYS_PIDFD_GETFD), room_pidfd, int(name), 0)
            with socket.socket(fileno=os.dup(fd)) as s:
                heard += [fd] * (s.family == socket.AF_NETLINK)
    reader, writer = os.pipe()
    results = {}
    for leave_out, makes in ((("pid",), lambda: {k: v for one in seen for k, v in memory(*one).items()}),
                             ((), lambda: {"numbers seen": lambda: [n for n in range(1, 4000) if alive(n)]}),
                             ((), lambda: kernel(heard)), ((), lambda: rings(room_fds)), ((), lambda: reach(addresses))):
        if (child := os.fork()) == 0:
            enter(room, leave_out)
            if (grandchild := os.fork()) == 0:  # a pid namespace is for children
                os.write(writer, json.dumps({k: attempt(v) for k, v in makes().items()}).encode() + b"\n")
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
        assert os.waitpid(child, 0)[1] == 0
        results |= json.loads(os.read(reader, 65536))
    print(json.dumps(results))


def alive(number: int) -> bool:
    try:
        os.kill(number, 0)
        return True
    except ProcessLookupError:
        return False
    except PermissionError:
        return True


if __name__ == "__main__":
    main()
