"""Disposable network namespaces.

Each `Netns` is a network, mount and PID namespace held by one anchor process that waits
for the end of its standard input. The kernel kills everything inside when the anchor
goes, and the anchor goes when its creator does, however that ends: nothing needs to be
found or removed afterwards. `/run/wireguard` is private, so that any number of
namespaces can each have a `wg0`. Needs root.
"""

import ctypes
import os
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from wgpy.errors import HostError

CLONE_NEWNET, CLONE_NEWPID = 0x40000000, 0x20000000
_RTF_LOCAL = 0x80000000  # linux/ipv6_route.h
_libc = ctypes.CDLL(None, use_errno=True)
_SETUP = """
set -e
mount -t sysfs sysfs /sys || true
mkdir -p /run/wireguard
mount -t tmpfs -o mode=0700 tmpfs /run/wireguard
ip link set lo up
for i in all default; do echo 0 > /proc/sys/net/ipv6/conf/$i/accept_dad || true; done
echo ready
exec cat
"""


def need(*tools: str) -> None:
    """HostError that names what is missing of root and `tools`."""
    missing = [t for t in tools if not shutil.which(t)]
    if missing:
        raise HostError(f"the lab needs {', '.join(missing)}: "
                        "apt-get install iproute2 util-linux wireguard-tools iperf3 iputils-ping")
    if os.geteuid() != 0:
        raise HostError("the lab needs root to make network namespaces: run it with sudo")


def _setns(fd: int, kind: int) -> None:
    if _libc.setns(fd, kind):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), "setns")


@contextmanager
def _inside(path: str, own: str, kind: int):
    """Moves the calling thread into a namespace and back; for CLONE_NEWPID this counts
    for its children only."""
    home, away = os.open(own, os.O_RDONLY), os.open(path, os.O_RDONLY)
    try:
        _setns(away, kind)
        try:
            yield
        finally:
            _setns(home, kind)
    finally:
        os.close(home)
        os.close(away)


class Netns:
    """A namespace that lives until close() or the end of the creating process."""

    def __init__(self, name: str):
        self.name = name
        self._processes: list[subprocess.Popen] = []
        self._lock = threading.Lock()
        self._anchor = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
             "sh", "-c", _SETUP],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True)
        if self._anchor.stdout.readline().strip() != "ready":
            self._anchor.kill()
            raise HostError("cannot make a network namespace (root with CAP_SYS_ADMIN is needed): "
                            + self._anchor.communicate()[1].strip())
        self.pid = self._anchor.pid

    def __enter__(self) -> "Netns":
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def close(self) -> None:
        """Kills everything inside; links and addresses go with it. Idempotent."""
        if self._anchor.poll() is None:
            self._anchor.kill()
        for process in self._processes:
            # the dying PID namespace waits until whoever started a process has reaped it
            process.wait()
        self._anchor.communicate()

    def popen(self, *command, **options) -> subprocess.Popen:
        """Starts a command inside; it dies with the namespace. Paths must be absolute:
        the working directory is not kept. The PID is the command's own."""
        argv = ["nsenter", f"--net=/proc/{self.pid}/ns/net", f"--mount=/proc/{self.pid}/ns/mnt",
                "--", *map(str, command)]
        with _inside(f"/proc/{self.pid}/ns/pid_for_children", "/proc/self/ns/pid", CLONE_NEWPID):
            process = subprocess.Popen(argv, **options)
        process.args = [str(word) for word in command]  # what errors name
        with self._lock:
            self._processes = [p for p in self._processes if p.poll() is None] + [process]
        return process

    def run(self, *command, input: str | None = None, timeout: float = 120,
            check: bool = True) -> subprocess.CompletedProcess:
        """Runs a command to its end, as text. CalledProcessError carries stderr in its
        notes; TimeoutExpired after `timeout` seconds."""
        process = self.popen(*command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             stdin=subprocess.DEVNULL if input is None else subprocess.PIPE)
        try:
            out, err = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:  # not read to its end: what it started may hold it for long
                    stream.close()
            raise
        if check and process.returncode:
            error = subprocess.CalledProcessError(process.returncode, command, out, err)
            error.add_note(f"in {self.name}: {err.strip()}")
            raise error
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def ip(self, *arguments) -> str:
        return self.run("ip", *arguments).stdout

    def batch(self, *lines: str) -> None:
        """Several `ip` commands in one process; stops at the first that fails."""
        self.run("ip", "-batch", "-", input="\n".join(lines) + "\n")

    def sysctl(self, **values) -> None:
        """`sysctl(net__ipv4__ip_forward=1)`: two underscores stand for a dot."""
        with self.entered():
            for key, value in values.items():
                Path("/proc/sys", key.replace("__", "/")).write_text(str(value))

    def operstate(self, link: str) -> str:
        return Path(f"/proc/{self.pid}/root/sys/class/net/{link}/operstate").read_text().strip()

    def udp_open(self, port: int) -> bool:
        """Whether a UDP socket, IPv4 or IPv6, is bound to the port."""
        with self.entered():
            tables = [Path(f"/proc/thread-self/net/{name}").read_text() for name in ("udp", "udp6")
                      if Path(f"/proc/thread-self/net/{name}").exists()]
        return any(line.split()[1].endswith(f":{port:04X}")
                   for table in tables for line in table.splitlines()[1:])

    def settle(self) -> "Netns":
        """Returns when the kernel has given every IPv6 address its route, which it does in its own
        time. TimeoutError."""
        def routed() -> bool:
            try:
                addresses, routes = (Path(f"/proc/{self.pid}/net/{name}").read_text().split("\n")[:-1]
                                     for name in ("if_inet6", "ipv6_route"))
            except FileNotFoundError:
                return True  # no IPv6 here
            local = {(r[0], r[9]) for r in map(str.split, routes) if int(r[8], 16) & _RTF_LOCAL}
            return {(a[0], a[5]) for a in map(str.split, addresses)} <= local
        wait_until(routed, 20, f"routes to the IPv6 addresses of {self.name}")
        return self

    def entered(self):
        """Context in which sockets made by the calling thread belong to this namespace."""
        return _inside(f"/proc/{self.pid}/ns/net", f"/proc/self/task/{threading.get_native_id()}"
                       "/ns/net", CLONE_NEWNET)

    def start(self, target, *arguments) -> threading.Thread:
        """A daemon thread whose sockets belong to this namespace."""
        def body():
            with self.entered():
                target(*arguments)
        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        return thread


def join(a: Netns, b: Netns, *, names: tuple[str, str] = ("eth0", "eth0"), mtu: int = 1500,
         a_addresses: tuple[str, ...] = (), b_addresses: tuple[str, ...] = ()) -> None:
    """A veth between two namespaces, up, with addresses in CIDR notation at each end."""
    subprocess.run(  # outside a's PID namespace, where b's PID has its meaning
        ["nsenter", f"--net=/proc/{a.pid}/ns/net", "ip", "link", "add", names[0], "mtu", str(mtu),
         "type", "veth", "peer", "name", names[1], "mtu", str(mtu), "netns", str(b.pid)],
        check=True)
    for ns, name, addresses in ((a, names[0], a_addresses), (b, names[1], b_addresses)):
        ns.batch(*(f"address add {x} dev {name}{' nodad' if ':' in x else ''}"
                   for x in addresses), f"link set {name} up")
    for ns, name in ((a, names[0]), (b, names[1])):
        ns.ip("link", "show", name)  # has the kernel deliver a pending carrier event now
    # IPv6 multicast, hence neighbour discovery, works only when the carrier event is through
    wait_until(lambda: all(ns.operstate(n) == "up" for ns, n in ((a, names[0]), (b, names[1]))),
               20, "carrier on the veth", 0.005)


def wait_until(condition, timeout: float, what: str, interval: float = 0.02):
    """The first true value of `condition()`; TimeoutError naming `what` after `timeout`
    seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(interval)
    return value


@contextmanager
def meanwhile(work):
    """Runs `work(over)` in a thread while the block lasts. At its end the event `over` is set, and the
    thread is waited for."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
