"""QEMU's command line for the guest of one room. Every device of a guest is named here, with its
place on the PCI bus, which the guest's room file and the tests rely on.

A QEMU gets all that it opens as descriptors: it needs no right to a file of this host.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

# By machine; images are built for these.
PROGRAMS = {"x86_64": "qemu-system-x86_64", "aarch64": "qemu-system-aarch64"}
_BOARDS = {"x86_64": "q35,sata=off,smbus=off,vmport=off", "aarch64": "virt,gic-version=max"}
_PROCESSORS = {"x86_64": "max", "aarch64": "cortex-a72"}  # TCG's; arm's "max" signs pointers, at a high price
KVM, TCG = "kvm", "tcg"
MEMORY = 256  # MiB
TRANSLATED = 64  # MiB that TCG keeps of translated code; by default it is an eighth of the host's memory
OWN = 96  # MiB that a QEMU takes besides, about

# Slots on bus 0; a q35 has its own devices in 0 and 31, a virt in 0.
ENTROPY, PORTS, DISK = 2, 3, 4
RINGS = {"black": {"crypto": 5}, "crypto": {"black": 5, "red": 6}, "red": {"crypto": 5}}  # by neighbour
OUTSIDE, CLEAR = 8, 9  # network cards: WAN or LAN, and in small mode the link between black and red
DISK_SERIAL = "wgpy-state"
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


def address(slot: int) -> str:
    """As Linux names the device."""
    return f"0000:00:{slot:02x}.0"


def opened(fd: int) -> str:
    """A path under which QEMU opens what it was given as a descriptor."""
    return f"/proc/self/fd/{fd}"


@dataclass(frozen=True)
class Machine:
    """`kernel` and `ramdisk`: paths as QEMU sees them. `locked`: none of its memory goes to the
    host's swap. `devices`: arguments, made by the functions below. `machine`: the guest's
    processor, as uname(2) names it."""
    kernel: str
    ramdisk: str
    command_line: str
    accelerator: str = TCG
    processors: int = 1
    locked: bool = False
    devices: tuple[str, ...] = ()
    machine: str = os.uname().machine

    def command(self) -> list[str]:
        """Program and arguments."""
        fast = self.accelerator == KVM
        return [PROGRAMS[self.machine], "-M", f"{_BOARDS[self.machine]},usb=off,dump-guest-core=off,mem-merge=off",
                "-accel", KVM if fast else f"{TCG},tb-size={TRANSLATED}", "-cpu", "host" if fast else _PROCESSORS[self.machine],
                "-smp", str(self.processors), "-m", str(MEMORY), *(("-overcommit", "mem-lock=on") if self.locked else ()),
                "-sandbox", _SANDBOX, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-kernel", self.kernel, "-initrd", self.ramdisk, "-append", self.command_line, *self.devices]


def entropy() -> list[str]:
    """QEMU's own generator."""
    return ["-device", f"virtio-rng-pci,addr={ENTROPY:x}"]


def log(fd: int) -> list[str]:
    """The first serial port; `fd` is a connected socket."""
    return ["-chardev", f"socket,id=log,fd={fd}", "-serial", "chardev:log"]


def console(fd: int | None) -> list[str]:
    """A port for a terminal, /dev/hvc0 in the guest; `fd` listens. Without one the guest has a bus
    for ports and no port."""
    bus = ["-device", f"virtio-serial-pci,max_ports=1,addr={PORTS:x}"]
    if fd is None:
        return bus
    return ["-chardev", f"socket,id=console,fd={fd},server=on,wait=off", *bus, "-device", "virtconsole,chardev=console"]


def ring(slot: int, fd: int) -> list[str]:
    """Memory shared with a neighbour; `fd` is the socket in which regions.Region said what there is."""
    return ["-chardev", f"socket,id=ring{slot},fd={fd}",
            "-device", f"ivshmem-doorbell,chardev=ring{slot},vectors=1,addr={slot:x}"]


def network(slot: int, fd: int, mac: str) -> list[str]:
    """A network card; `fd` is a tap's."""
    return ["-netdev", f"tap,id=net{slot},fd={fd}", "-device", f"virtio-net-pci,netdev=net{slot},mac={mac},romfile=,addr={slot:x}"]


def passed_through(slot: int, host: str) -> list[str]:
    """The host's network card at PCI address `host`, itself."""
    return ["-device", f"vfio-pci,host={host},romfile=,addr={slot:x}"]


def disk(fd: int) -> list[str]:
    """A disk; `fd` is its file's."""
    return ["-add-fd", f"fd={fd},set=1", "-blockdev", "driver=raw,node-name=state,file.driver=file,file.filename=/dev/fdset/1",
            "-device", f"virtio-blk-pci,drive=state,serial={DISK_SERIAL},addr={DISK:x}"]


def joined(parts: Iterable[list[str]]) -> tuple[str, ...]:
    """The arguments of several devices."""
    return tuple(word for part in parts for word in part)
