"""`wgpy doctor`: what this host offers, tried for real, with a remedy for each lack."""

import hashlib
import os
import platform
import resource
import shutil
import socket
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from wgpy.black.udp import SO_RCVBUFFORCE, UDP_GRO
from wgpy.errors import HostError
from wgpy.isolate.library import Library

GOOD, SLOW, BAD = "ok", "slower", "missing"
_CAPABILITIES = {"net_admin": 12, "ipc_lock": 14}
_VECTORS = ("ssse3", "avx2", "avx512f", "avx512ifma", "asimd")
_UDP_SEGMENT = 103
SUITES = Path("/usr/lib/wgpy/suites")


class Finding(NamedTuple):
    """One line of `wgpy doctor`; GOOD ones need no remedy."""
    name: str
    state: str  # GOOD, SLOW or BAD
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Every check in turn; one that fails by itself is a finding, too."""
    out: list[Finding] = []
    for check in (_capabilities, _tun, _udp, _ipv6, _cpu, _aead, _suites, _limits, _tools, _virtual):
        try:
            out += check()
        except (OSError, HostError, ImportError) as e:
            out.append(Finding(check.__name__.strip("_"), BAD, str(e), "see the message"))
    return out


def _capabilities() -> list[Finding]:
    with open("/proc/self/status", encoding="ascii") as f:
        held = next(int(line.split()[1], 16) for line in f if line.startswith("CapEff"))
    return [_either(f"CAP_{name.upper()}", bool(held >> bit & 1), "held", "not held",
                    "run as root", BAD if name == "net_admin" else SLOW)
            for name, bit in _CAPABILITIES.items()]


def _either(name: str, good: bool, yes: str, no: str, remedy: str, otherwise: str = BAD) -> Finding:
    return Finding(name, GOOD, yes) if good else Finding(name, otherwise, no, remedy)


def _tun() -> list[Finding]:
    if not os.path.exists("/dev/net/tun"):
        return [Finding("/dev/net/tun", BAD, "missing", "modprobe tun; in a container pass the device in")]
    from wgpy.red import tun
    try:
        probe = tun.create(f"wgdoc{os.getpid() % 10**7}")
    except HostError as e:
        return [Finding("/dev/net/tun", BAD, str(e), "run as root with the tun module loaded")]
    try:
        return [Finding("/dev/net/tun", GOOD, "an interface can be created"),
                _either("TUN TCP offload", probe.merge_tcp, "TSO4, TSO6", "refused", "use Linux 4.19 or newer", SLOW),
                _either("TUN UDP offload", probe.merge_udp, "USO4, USO6", "refused", "use Linux 6.2 or newer", SLOW)]
    finally:
        probe.close()


def _udp() -> list[Finding]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b:
        b.bind(("127.0.0.1", 0))
        b.settimeout(1)
        segment = _tried(lambda: a.sendmsg([bytes(400)], [(socket.IPPROTO_UDP, _UDP_SEGMENT, struct.pack("=H", 100))],
                                           0, b.getsockname()) and b.recv(500) == bytes(100))
        gro = _tried(lambda: b.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1) is None)
        mark = _tried(lambda: a.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1) is None)
        _tried(lambda: a.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 7 << 20))
        _tried(lambda: a.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 7 << 20)
               if a.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < 14 << 20 else None)
        size = a.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
    return [_either("UDP segmentation (GSO)", segment, "works", "refused", "use Linux 4.18 or newer", SLOW),
            _either("UDP coalescing (GRO)", gro, "works", "refused", "use Linux 5.0 or newer", SLOW),
            _either("packet marks", mark, "SO_MARK works", "SO_MARK refused", "run as root; needed for default routes"),
            _either("socket buffers", size >= 7 << 20, f"{size >> 20} MiB", f"{size >> 10} KiB",
                    "run as root, or sysctl net.core.rmem_max=7340032 net.core.wmem_max=7340032", SLOW)]


def _tried(attempt: Callable[[], object]) -> bool:
    try:
        return bool(attempt())
    except OSError:
        return False


def _ipv6() -> list[Finding]:
    def bind() -> bool:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            s.bind(("::", 0))  # this works where no interface may have an address
        with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", encoding="ascii") as f:
            return f.read().strip() == "0"
    return [_either("IPv6", _tried(bind), "works", "not available to new interfaces",
                    "sysctl net.ipv6.conf.all.disable_ipv6=0 (IPv4 works without)", SLOW)]


def _cpu() -> list[Finding]:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
        flags = next((line.split(":")[1].split() for line in f if line.startswith(("flags", "Features"))), [])
    has = [v for v in _VECTORS if v in flags]
    return [Finding("CPU", GOOD if has else SLOW,
                    f"{platform.machine()}, {len(os.sched_getaffinity(0))} core(s), {' '.join(has) or 'no vectors'}",
                    "" if has else "the portable backend is used")]


def _aead() -> list[Finding]:
    from wgpy._fast.plane import aead_backends
    out = []
    for name, supported, error, ns in aead_backends():
        if not supported:
            out.append(Finding(f"AEAD {name}", SLOW, "not for this CPU", "another backend is used"))
        elif error:
            out.append(Finding(f"AEAD {name}", BAD, f"self-test failed: {error}", "it is not used; report this"))
        else:
            assert ns is not None  # what passed was measured
            out.append(Finding(f"AEAD {name}", GOOD, f"self-test passed, {ns:.0f} ns for 1420 bytes "
                               f"({1420 * 8 / ns:.1f} Gbit/s a core)"))
    return out


def _suites() -> list[Finding]:
    """WireGuard's, and the libraries where packages put them."""
    from wgpy import suite
    out = [Finding(f"suite {suite.get().name}", GOOD, "self-test passed")]
    for path in sorted(SUITES.glob("*.so")) if SUITES.is_dir() else []:
        try:
            library = Library(str(path), hashlib.sha256(path.read_bytes()).hexdigest())
            library.close()
            out.append(Finding(f"suite {library.facts.name}", GOOD, f"self-test passed: {path}, public keys of {library.facts.public_size} "
                               f"bytes, {library.facts.lengths.overhead} bytes added to a packet, sha256 {library.sha256}"))
        except HostError as e:
            out.append(Finding(f"suite {path.stem}", BAD, str(e), "it is not used; ask who made it"))
    return out


def _limits() -> list[Finding]:
    files, locked, processes = (resource.getrlimit(r)[0] for r in (
        resource.RLIMIT_NOFILE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_NPROC))
    unlimited = resource.RLIM_INFINITY
    return [_either("open files", files == unlimited or files >= 256, "unlimited" if files == unlimited else str(files),
                    str(files), "ulimit -n 1024"),
            *(_either(f"{kind} namespaces", _tried(partial(_namespaces, kind)), "allowed", "refused",
                      f"sysctl user.max_{kind}_namespaces=1000 (for an encryptor)", SLOW)
              for kind in ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup")),
            _either("processes", processes == unlimited or processes >= 64, "enough", str(processes), "ulimit -u 1000", SLOW),
            _either("locked memory", locked == unlimited or locked >= 1 << 20,
                    "unlimited" if locked == unlimited else f"{locked >> 10} KiB", f"{locked >> 10} KiB",
                    "ulimit -l 8192", SLOW)]


def _namespaces(kind: str) -> int:
    with open(f"/proc/sys/user/max_{kind}_namespaces", encoding="ascii") as f:
        return int(f.read())


def _tools() -> list[Finding]:
    wanted = (("wg", "apt-get install wireguard-tools (only to use wg and wg-quick beside wgpy)"),
              ("nft", "apt-get install nftables (for a default route through the tunnel)"),
              ("resolvconf", "apt-get install openresolv (for DNS in files)"))
    from wgpy.node.credentials import tpm2
    lacking = tpm2()
    return [*(_either(name, bool(found := shutil.which(name)), str(found), "not installed", remedy, SLOW)
              for name, remedy in wanted),
            _either("TPM2", not lacking, "can seal the key store's credential", lacking,
                    "a passphrase or a credential file opens the key store", SLOW)]


def _virtual() -> list[Finding]:
    """For `wgpy vms` alone."""
    from wgpy.vms import host, qemu
    program = qemu.PROGRAMS.get(os.uname().machine)
    found = program and shutil.which(program)
    kind, why = host.accelerator()
    return [_either("QEMU", bool(found), str(found), "not installed",
                    "apt-get install qemu-system-x86 (only for an encryptor of virtual machines)", SLOW),
            _either("KVM", kind == qemu.KVM, "makes virtual machines", why, "virtual machines are emulated, slowly", SLOW)]
