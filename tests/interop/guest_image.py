"""Kernel and initial RAM disks of test machines, from the distribution's own packages,
unpacked and kept in `.cache/kernel-peer` of the checkout; and that of the kernel-WireGuard
peer."""

import fcntl
import gzip
import hashlib
import lzma
import platform
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

from wgpy.errors import HostError

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "kernel-peer"
METAPACKAGES = ("linux-image-cloud-amd64", "linux-image-virtual")  # Debian, Ubuntu
MODULES = ("virtio_pci", "virtio_net", "virtio_rng", "wireguard", "sch_netem")
PROGRAMS = ("wg", "iperf3", "ip", "ping")

# Runs what comes over the second serial port, until that ends.
COMMANDS = r"""exec < /dev/ttyS1 > /dev/ttyS1
stty raw -echo
echo ready
while read -r command; do
  echo "$command" | base64 -d > /tmp/command
  sh /tmp/command > /tmp/out 2> /tmp/err < /dev/null
  echo "$? $(base64 -w0 /tmp/out)= $(base64 -w0 /tmp/err)="
done
poweroff -f
"""

INIT = r"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /var
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
ln -s /run /var/run
ln -s /proc/self/fd/0 /dev/stdin
for m in $(cat /modules/order); do insmod /modules/$m || echo "insmod $m failed"; done
sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
ip link set lo up
ip link set eth0 mtu 9000 up
dd if=/dev/urandom of=/www bs=1000 count=200 2>/dev/null; mkdir /srv; mv /www /srv/file
httpd -p 80 -h /srv
while :; do iperf3 -s -1 >/dev/null 2>&1; done & # a second test of iperf3 3.18 has the family of the first
""" + COMMANDS


def image() -> tuple[Path, Path]:
    """(kernel, initial RAM disk), built once. HostError says what is missing."""
    root, kernel = unpacked()
    contents = hashlib.sha256(repr((kernel.name, INIT, MODULES, PROGRAMS)).encode()).hexdigest()
    ramdisk = CACHE / f"initrd-{contents[:12]}.gz"
    with locked():
        if not ramdisk.exists():
            built = gzip.compress(cpio(_files(root)), 1)
            partial = ramdisk.with_suffix(".partial")
            partial.write_bytes(built)
            partial.rename(ramdisk)
    return kernel, ramdisk


def unpacked() -> tuple[Path, Path]:
    """(folder of the unpacked packages, kernel in it). HostError says what is missing."""
    if platform.machine() != "x86_64":
        raise HostError(f"the virtual machine needs an x86-64 host, not {platform.machine()}")
    root = CACHE / "root"
    with locked():
        if not (root / "complete").exists():
            shutil.rmtree(root, ignore_errors=True)
            for package in (*_kernel_packages(), "busybox-static"):
                unpack(package, root)
            (root / "complete").touch()
    kernel = next(iter(root.glob("boot/vmlinuz-*")), None)
    if kernel is None:
        raise HostError(f"no kernel in the packages unpacked in {root}")
    return root, kernel


@contextmanager
def locked():
    """Two machines may start at once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _command(*argv: str, cwd: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=cwd, text=True, capture_output=True)
    if done.returncode:
        raise HostError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _kernel_packages() -> list[str]:
    """Image and module packages that the distribution's small kernel depends on."""
    for attempt in range(2):
        for meta in METAPACKAGES:
            found, queue = set(), [meta]
            while queue:
                text = subprocess.run(["apt-cache", "depends", queue.pop()], text=True,
                                      capture_output=True).stdout
                fresh = set(re.findall(r"Depends: (linux-(?:image|modules)-\d\S+)", text)) - found
                found |= fresh
                queue += fresh
            if found:
                return sorted(found)
        if not attempt:
            _command("apt-get", "update", "-q")
    raise HostError(f"apt knows none of {', '.join(METAPACKAGES)}: the kernel-WireGuard peer "
                    "needs Debian or Ubuntu package sources")


def unpack(package: str, root: Path) -> None:
    """Fetches a package and unpacks it below `root`, while `locked`."""
    for old in CACHE.glob("*.deb"):
        old.unlink()
    _command("apt-get", "download", package, cwd=CACHE)
    for archive in CACHE.glob("*.deb"):
        _command("dpkg", "-x", str(archive), str(root))
        archive.unlink()


def busybox(root: Path) -> bytes:
    """Of the folder that `unpacked` gives."""
    return next(p for p in (root / "bin/busybox", root / "usr/bin/busybox") if p.exists()).read_bytes()


def libraries(path: str | Path) -> dict[str, bytes]:
    """The shared libraries and the loader of a program, by their names in a RAM disk."""
    return {name.lstrip("/"): Path(name).read_bytes()
            for name in re.findall(r"(/\S+) \(0x", _command("ldd", str(path)))}


def _files(root: Path) -> dict[str, bytes]:
    files = {"init": INIT.encode(), "bin/busybox": busybox(root)}
    for name in PROGRAMS:
        path = shutil.which(name)
        if not path:
            raise HostError(f"{name} is not installed: apt-get install wireguard-tools iperf3 iproute2 "
                            "iputils-ping")
        files[f"bin/{name}"] = Path(path).read_bytes()
        files |= libraries(path)
    modules = kernel_modules(root, MODULES)
    if "wireguard" not in modules:
        raise HostError(f"no wireguard module in the packages unpacked in {root}")
    files |= {f"modules/{name}.ko": data for name, data in modules.items()}
    files["modules/order"] = "".join(f"{name}.ko\n" for name in modules).encode()
    return files


def kernel_modules(root: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """These modules and what they depend on, in loading order; built-in ones are left out."""
    paths = {p.name.partition(".ko")[0].replace("-", "_"): p
             for p in root.glob("**/lib/modules/**/*.ko*")}
    ordered: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in ordered or name not in paths:
            return
        data = _decompress(paths[name])
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in depends[1].decode().split(",") if depends else []:
            add(other.replace("-", "_"))
        ordered[name] = data

    for name in names:
        add(name)
    return ordered


def _decompress(path: Path) -> bytes:
    if path.suffix == ".zst":  # Ubuntu's
        if not shutil.which("zstd"):
            raise HostError(f"{path.name} is compressed: apt-get install zstd")
        return subprocess.run(["zstd", "-dc", str(path)], check=True, capture_output=True).stdout
    return {".xz": lzma.decompress, ".gz": gzip.decompress}.get(path.suffix, bytes)(path.read_bytes())


def cpio(files: dict[str, bytes]) -> bytes:
    """The kernel's initramfs format, "newc" (Documentation/driver-api/early-userspace)."""
    out, entries = bytearray(), {}
    for name, data in files.items():
        for parent in reversed(Path(name).parents):
            if str(parent) != ".":
                entries[str(parent)] = (0o040755, b"")
        entries[name] = (0o100755, data)
    entries["TRAILER!!!"] = (0, b"")
    for number, (name, (mode, data)) in enumerate(entries.items(), 1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)
