"""What three guests need of this host, looked at before anything is changed. Each lack is a HostError
of one line that names the remedy."""

import fcntl
import json
import os
import re
import resource
import shutil
from pathlib import Path
from typing import Any

from wgpy.errors import HostError
from wgpy.node import ip_lines
from wgpy.vms import qemu

HOST = "x86_64"  # images for another can be built and tried, but nothing here looks for its KVM
_KVM_API, _KVM_VM = 0xAE00, 0xAE01  # ioctls of /dev/kvm (linux/kvm.h)
_API_VERSION = 12
_PCI = re.compile(r"(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")


def need_qemu() -> None:
    """The program that runs this machine's guests."""
    machine = os.uname().machine
    if machine != HOST:
        raise HostError(f"guests are run on {HOST} hosts, this is {machine}")
    program = qemu.PROGRAMS[machine]
    if shutil.which(program) is None:
        raise HostError(f"{program} is missing: apt-get install qemu-system-x86")


def accelerator(device: Path = Path("/dev/kvm"), modules: Path = Path("/sys/module")) -> tuple[str, str]:
    """KVM or TCG; and for TCG why, for a person."""
    if not any((modules / name).exists() for name in ("kvm_intel", "kvm_amd")):
        return qemu.TCG, f"this host has no KVM that runs ordinary guests ({device} would need kvm_intel or kvm_amd)"
    try:
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as e:
        return qemu.TCG, f"{device}: {e.strerror}"
    try:
        if fcntl.ioctl(fd, _KVM_API) != _API_VERSION:
            return qemu.TCG, f"{device} is of another version"
        os.close(fcntl.ioctl(fd, _KVM_VM, 0))
        return qemu.KVM, ""
    except OSError as e:
        return qemu.TCG, f"{device} makes no virtual machine: {e.strerror}"
    finally:
        os.close(fd)


def need_memory(guests: int, meminfo: Path = Path("/proc/meminfo")) -> None:
    """For `guests` of them, now."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
    wanted = guests * (qemu.MEMORY + qemu.OWN)
    if found and (free := int(found[1]) >> 10) < wanted:
        raise HostError(f"{guests} guests need {wanted} MiB of memory, {free} MiB are free: end other programs, or add memory")


def need_port(name: str, key: str) -> int:
    """An interface that the site file names with `key`, and that nobody uses; its MTU in bytes."""
    done = ip_lines.run("ip", "-j", "-d", "address", "show", "dev", name)
    if done.returncode:
        raise HostError(f"{key} = {name}: this host has no such interface: ip link shows those it has")
    facts: dict[str, Any] = next((f for f in json.loads(done.stdout) if f.get("ifname") == name), {})
    if "LOOPBACK" in facts.get("flags", ()):
        raise HostError(f"{key} = {name}: a loopback interface joins nothing: ip link shows others")
    if master := facts.get("master"):
        raise HostError(f"{key} = {name}: in use, a port of {master}: ip link set {name} nomaster")
    used = [f"{a['local']}/{a['prefixlen']}" for a in facts.get("addr_info", ()) if a.get("scope") == "global"]
    if used:
        raise HostError(f"{key} = {name}: in use, this host has {used[0]} on it: ip address flush dev {name}")
    return int(facts.get("mtu", 0))


def need_passed(address: str, sys: Path = Path("/sys")) -> tuple[str, Path]:
    """A network card at a PCI address that vfio-pci has: its whole address, and the device of its
    IOMMU group."""
    if not _PCI.fullmatch(address):
        raise HostError(f"--passthrough: {address[:40]!r} is no PCI address, such as 0000:03:00.0")
    address = address if address.count(":") == 2 else f"0000:{address}"
    device = sys / "bus/pci/devices" / address
    if not device.exists():
        raise HostError(f"--passthrough {address}: no such PCI device: lspci -D shows them")
    if not (device / "class").read_text().startswith("0x02"):
        raise HostError(f"--passthrough {address}: no network card")
    if not (device / "iommu_group").exists():
        raise HostError(f"--passthrough {address}: this host has no IOMMU for it: switch it on in the firmware, and intel_iommu=on")
    driver = os.path.basename(os.path.realpath(device / "driver")) if (device / "driver").exists() else "none"
    if driver != "vfio-pci":
        raise HostError(f"--passthrough {address}: driver is {driver}: modprobe vfio-pci; driverctl set-override {address} vfio-pci")
    group = Path("/dev/vfio") / os.path.basename(os.path.realpath(device / "iommu_group"))
    if not group.exists():
        raise HostError(f"--passthrough {address}: {group} is missing: modprobe vfio-pci")
    return address, group


def lift_memory_lock() -> bool:
    """Lets this process and what it starts lock all memory; False when it may not."""
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        return False
    return True
