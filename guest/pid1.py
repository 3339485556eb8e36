"""The first process of a room's guest: file systems, kernel modules, a locked kernel, then it is
the room's main process (wgpy.guest.main). Whatever fails is a line on the console and the end of
the guest: there is no shell to fall into. What kills this process ends the guest as well
(`panic=-1` on the command line)."""

import ctypes
import os
import sys
import time

NOSUID, NODEV, NOEXEC, BIND, MOVE = 2, 4, 8, 4096, 8192
MOUNTS = (("proc", "/proc", "proc", NOSUID | NODEV | NOEXEC, ""),
          ("sysfs", "/sys", "sysfs", NOSUID | NODEV | NOEXEC, ""),
          ("securityfs", "/sys/kernel/security", "securityfs", NOSUID | NODEV | NOEXEC, ""),
          ("devtmpfs", "/dev", "devtmpfs", NOSUID | NOEXEC, ""),
          ("tmpfs", "/run", "tmpfs", NOSUID | NODEV | NOEXEC, "mode=755,size=16m"),
          ("tmpfs", "/tmp", "tmpfs", NOSUID | NODEV | NOEXEC, "mode=1777,size=1m"))
# Written in this order; the last forbids modules for as long as this kernel runs.
SYSCTLS = (("kernel/kptr_restrict", "2"), ("kernel/dmesg_restrict", "1"), ("kernel/kexec_load_disabled", "1"),
           ("kernel/unprivileged_bpf_disabled", "1"), ("kernel/perf_event_paranoid", "3"), ("kernel/sysrq", "0"),
           ("vm/overcommit_memory", "0"), ("kernel/modules_disabled", "1"))
LOCKDOWN = "/sys/kernel/security/lockdown"
STATE = ("wgpy-state", "/state")  # the serial number of crypto's disk or red's, and where it is mounted
POWER_OFF = 0x4321FEDC  # reboot(2)
FINIT_MODULE = {"x86_64": 313, "aarch64": 273}[os.uname().machine]
IMAGE = "/etc/wgpy/image"  # a line with the room's name, then its kernel modules in order

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        sys.exit(f"init: {what}: {os.strerror(code)}")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    _checked(_libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()),
             f"mount {target}")


def mount_all() -> None:
    """The kernel's first root cannot be left (pivot_root(2)), as a room does that shuts itself in:
    it becomes the ground of a mount of the same files."""
    _mount("/", "/run", "", BIND)
    os.chdir("/run")
    _mount(".", "/", "", MOVE)
    os.chroot(".")
    for source, target, kind, flags, options in MOUNTS:
        os.makedirs(target, exist_ok=True)
        _mount(source, target, kind, flags, options)


def mount_state() -> None:
    """Where there is such a disk, which has an ext4."""
    serial, place = STATE
    for disk in os.listdir("/sys/block"):
        try:
            found = open(f"/sys/block/{disk}/serial").read().strip()
        except OSError:  # of another kind
            continue
        if found == serial:
            _mount(f"/dev/{disk}", place, "ext4", NOSUID | NODEV | NOEXEC, "errors=remount-ro")
            tell(f"{place} is mounted")


def load(modules: list[str]) -> None:
    for name in modules:
        fd = os.open(f"/usr/lib/modules/{name}.ko", os.O_RDONLY | os.O_CLOEXEC)
        _checked(_libc.syscall(ctypes.c_long(FINIT_MODULE), fd, b"", 0), f"module {name}")
        os.close(fd)


def console(path: str = "/dev/console", patience: float = 5.0) -> None:
    """Where the kernel had none to give to this process, because its driver is one of the modules
    (hvc0 is the only console on seL4). A guest that gets none goes on in silence."""
    if sys.stdout is not None:
        return
    until = time.monotonic() + patience
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
            break
        except OSError:
            if time.monotonic() > until:
                return
            time.sleep(0.05)
    for number in range(3):
        os.dup2(fd, number)
    if fd > 2:
        os.close(fd)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", buffering=1), open(2, "w", buffering=1)


def lock_kernel() -> None:
    """A kernel may be built without what a lock is for; it says so, once for each."""
    for name, value in SYSCTLS:
        try:
            with open(f"/proc/sys/{name}", "w") as f:
                f.write(value)
        except FileNotFoundError:
            print(f"init: this kernel has no {name}, nor what it would lock")


def lock_down() -> None:
    """For as long as this kernel runs: not even this process reads or changes it then."""
    with open(LOCKDOWN, "w") as f:
        f.write("confidentiality")


def devices() -> list[str]:
    """vendor:device, class and driver of everything on the PCI bus."""
    out = []
    for address in sorted(os.listdir("/sys/bus/pci/devices")):
        folder = f"/sys/bus/pci/devices/{address}"
        ids = [open(f"{folder}/{name}").read().strip().removeprefix("0x") for name in ("vendor", "device", "class")]
        driver = os.path.basename(os.readlink(f"{folder}/driver")) if os.path.exists(f"{folder}/driver") else "none"
        out.append(f"{address} {ids[0]}:{ids[1]} {ids[2]} {driver}")
    return out


def main() -> None:
    mount_all()
    os.environ.clear()
    os.environ["PATH"] = "/usr/sbin:/usr/bin"
    os.umask(0o022)
    room, *modules = open(IMAGE).read().split()
    tell(f"{room}: Python runs")
    load(modules)
    console()
    lock_kernel()
    lock_down()
    for line in devices():
        print(f"init: device {line}")
    print("init: modules", *sorted(line.split()[0] for line in open("/proc/modules")))
    tell(f"{room}: kernel is locked")
    if room in ("crypto", "red"):
        mount_state()
    from wgpy.guest import main as guest
    tell(f"{room}: the main process is loaded")
    guest.main()


def tell(what: str) -> None:
    with open("/proc/uptime") as f:
        print(f"init: {what}, {f.read().split()[0]} s after the kernel", flush=True)


if __name__ == "__main__":
    try:
        main()
    except SystemExit as e:
        print(e, flush=True)
    except OSError as e:
        print(f"init: {e}", flush=True)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    _libc.reboot(POWER_OFF)
