"""The kernel module wgpy_ring: built against Debian's headers without a warning of compiler or
sparse, and in a guest under QEMU's TCG."""

import os
import platform
import re
import select
import shutil
import subprocess
import threading
from contextlib import contextmanager

import pytest
from debian import BuildError, FetchError
from layout import PYTHON
from module_guest import PEER, REGION, Guest
from needs import need, skip_what_make_lacks, skip_without_packages
from ring_module import NATIVE, SOURCE, Kernel

HOST = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
RELEASE = HOST if HOST in PYTHON else "bookworm"  # the programs of a kernel's build run on this machine
ALIASES = {"pci:v00001AF4d00001110sv*sd*bc*sc*i*", "pci:v00001AF4d0000A111sv*sd*bc*sc*i*"}
DOORBELL = 12        # ivshmem's register
CONNECTOR = 1        # driver_data of the kind that seL4's connections are
BELL, PLAIN, TWO_BARS, IO_BAR = 5, 6, 7, 8
DRIVER = "/sys/bus/pci/drivers/wgpy_ring"


def kernel(arch: str) -> Kernel:
    """With its headers and, to be booted here, all of it."""
    need("make", "sparse", "pahole", "dpkg-deb", "apt-get")
    try:
        found = Kernel(RELEASE, arch)
        found.make("check", SOURCE)
        if arch == NATIVE:
            found.image()
            found.unpack("busybox-static")
    except FetchError as e:
        skip_without_packages(str(e))
    except BuildError as e:
        skip_what_make_lacks(str(e))
        raise
    return found


def check(arch: str, folder, change=lambda text: text) -> subprocess.CompletedProcess:
    """`make check` of a copy of the source."""
    built = kernel(arch)
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    source = folder / "wgpy_ring.c"
    source.write_text(change(source.read_text()))
    return subprocess.run(built.make("check", folder), text=True, capture_output=True, timeout=300)


def information(module) -> dict[str, set[str]]:
    """What modinfo would print."""
    fields: dict[str, set[str]] = {}
    for key, value in re.findall(rb"(?<=\0)([a-z]+)=([ -~]*)(?=\0)", b"\0" + module.read_bytes()):
        fields.setdefault(key.decode(), set()).add(value.decode())
    return fields


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_it_builds_without_a_warning(arch, tmp_path):
    done = check(arch, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CHECK " in done.stdout and "warning" not in done.stdout + done.stderr
    said = information(tmp_path / "wgpy_ring.ko")
    assert said["alias"] == ALIASES
    assert said["license"] == {"Dual MIT/GPL"}
    assert said["depends"] == {"uio"}


@pytest.mark.parametrize("old, new", [
    ("void __iomem *registers;", "void *registers;"),          # sparse
    ("static void maps(", "void maps("),                       # W=1
    ("int data = data_bars[kind], err;", "int data = data_bars[kind], err, unused;"),
])
def test_a_warning_is_an_error(old, new, tmp_path):
    done = check(NATIVE, tmp_path, lambda text: text.replace(old, new, 1))
    assert done.returncode and re.search("error|warning", done.stderr + done.stdout)


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    if NATIVE != "amd64":
        pytest.xfail("the guest is a q35 machine")
    need("qemu-system-x86_64")
    folder = tmp_path_factory.mktemp("module")
    done = check(NATIVE, folder)
    assert done.returncode == 0, done.stderr
    return folder / "wgpy_ring.ko"


@contextmanager
def booted(module, folder, **options):
    guest = Guest(kernel("amd64"), module, folder, **options)
    try:
        guest.sh("insmod /wgpy_ring.ko")
        yield guest
        assert not re.search("WARNING|BUG:|Call Trace|refcount|nobody cared", guest.sh("dmesg"))
    finally:
        guest.close()


@pytest.fixture(scope="module")
def guest(module, tmp_path_factory):
    with booted(module, tmp_path_factory.mktemp("guest")) as guest:
        yield guest


@contextmanager
def answering(peer, times: int):
    """The peer rings back each time that it is rung."""
    def answer():
        for _ in range(times):
            if select.select([peer.rung], [], [], 120)[0]:
                os.eventfd_read(peer.rung)
                peer.ring()
    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield
    thread.join(120)
    assert not thread.is_alive()


def maps(guest: Guest, uio: str) -> list[str]:
    said = guest.sh(f"cd /sys/class/uio/{uio}/maps; for m in map*; do echo $m $(cat $m/name $m/size $m/offset); done")
    return said.splitlines()


def asked(guest: Guest, times: int) -> list[int]:
    """Counts that a program of the guest read, ringing the peer before each."""
    with answering(guest.peer, times):
        return list(map(int, guest.sh(f"ring_probe ask /dev/{guest.uio(BELL)} {DOORBELL} 0 {PEER << 16:#x} {times}").split()))


@pytest.mark.slow
def test_the_maps_are_registers_and_region(guest):
    for slot, name in ((BELL, "ivshmem-doorbell"), (PLAIN, "ivshmem-plain")):
        uio = guest.uio(slot)
        assert guest.sh(f"cat /sys/class/uio/{uio}/name") == name
        assert maps(guest, uio) == ["map0 registers 0x0000000000001000 0x0", f"map1 data {REGION:#018x} 0x0"]
        assert guest.sh(f"ring_probe fits /dev/{uio} {REGION} 1") == ""
        for index, size in ((0, 4096), (1, REGION)):
            assert "Invalid argument" in guest.sh(f"ring_probe fits /dev/{uio} {size + 1} {index}", check=False)
    assert sorted(guest.sh("cd /dev; ls -l uio*").split()[::10]) == ["crw-------"] * 2


@pytest.mark.slow
def test_both_sides_see_what_the_other_wrote(guest):
    uio = f"/dev/{guest.uio(BELL)}"
    for offset in (0, REGION - 4):
        guest.sh(f"ring_probe store {uio} {offset} 1 0x12345678")
        assert guest.peer.word(offset) == 0x12345678
        guest.peer.put(offset, 0x9abcdef0)
        assert guest.sh(f"ring_probe load {uio} {offset} 1") == "0x9abcdef0"


@pytest.mark.slow
def test_a_ring_of_the_peer_is_an_event_and_the_guest_can_ring(guest):
    counts = asked(guest, 5)
    assert counts == list(range(counts[0], counts[0] + 5))
    assert int(guest.sh(f"cat /sys/class/uio/{guest.uio(BELL)}/event")) == counts[-1]


@pytest.mark.slow
def test_without_an_interrupt_waiting_is_an_error_and_no_sleep(guest):
    assert "Input/output error" in guest.sh(f"dd if=/dev/{guest.uio(PLAIN)} bs=4 count=1", check=False)


@pytest.mark.slow
def test_a_connection_has_the_name_that_its_registers_say(guest):
    """On a device with the same two BARs; what QEMU has none of is its interrupt. A hostile
    name is cut and cleaned."""
    guest.sh(f"echo 1013 00b8 ffffffff ffffffff 0 0 {CONNECTOR} > {DRIVER}/new_id")
    uio = guest.uio(TWO_BARS)
    assert maps(guest, uio)[0] == "map0 registers 0x0000000000001000 0x0"
    assert maps(guest, uio)[1].split()[:2] == ["map1", "data"]
    names = {b"crypto_black\0rest": "crypto_black", b"\0": "connector", b"a\n\x1b[2J\xff" + b"z" * 60: "a??[2J?" + "z" * 41}
    for name, shown in names.items():
        for n, word in enumerate(re.findall(rb"(?s).{4}", name.ljust(64, b"\0"))):
            guest.sh(f"ring_probe store /dev/{uio} {8 + 4 * n} 0 {int.from_bytes(word, 'little'):#x}")
        guest.sh(f"echo 0000:00:07.0 > {DRIVER}/unbind; echo 0000:00:07.0 > {DRIVER}/bind")
        uio = guest.uio(TWO_BARS)
        assert guest.sh(f"cat /sys/class/uio/{uio}/name") == shown


@pytest.mark.slow
def test_a_device_with_other_bars_is_refused(guest):
    guest.sh(f"echo 1b36 0005 ffffffff ffffffff 0 0 {CONNECTOR} > {DRIVER}/new_id", check=False)
    assert guest.uio(IO_BAR) == ""
    assert "wgpy_ring 0000:00:08.0: BAR 1 is not memory of at least 0x" in guest.sh("dmesg")


@pytest.mark.slow
def test_it_goes_when_nobody_has_it_open_and_comes_back(guest):
    assert "0" != guest.sh(f"exec 3</dev/{guest.uio(BELL)}; rmmod wgpy_ring 2>/dev/null; echo $?")
    guest.sh("rmmod wgpy_ring")
    assert guest.sh("ls /sys/class/uio; ls /dev | grep uio; grep wgpy_ring /proc/iomem /proc/interrupts; true") == ""
    guest.sh("insmod /wgpy_ring.ko")
    assert asked(guest, 2) == [1, 2]


def memory_type(guest: Guest, slot: int) -> str:
    """What the kernel made of a mapping of the region, by its table of memory types."""
    uio = guest.uio(slot)
    place = int(guest.sh(f"cat /sys/class/uio/{uio}/maps/map1/addr"), 16)
    table = guest.sh(f"ring_probe during /dev/{uio} 0 1 'cat /sys/kernel/debug/x86/pat_memtype_list'")
    return re.search(rf"\[mem {place:#018x}-\S+ (\S+)", table)[1]


@pytest.mark.slow
def test_below_4_gib_the_firmware_forbids_caches(guest):
    """SeaBIOS declares the place of devices there uncachable; the mapping must then be
    ordered, which write-combining is not."""
    assert {memory_type(guest, slot) for slot in (BELL, PLAIN)} == {"uncached-minus"}


@pytest.mark.slow
def test_above_4_gib_it_is_cached_and_a_locked_kernel_lets_it_be_used(module, tmp_path):
    """A region that does not fit below sends both there. Lockdown forbids the regions' files in
    sysfs and modules that nobody signed; a device that is bound stays usable."""
    with booted(module, tmp_path, plain=4 << 30) as guest:
        assert {memory_type(guest, slot) for slot in (BELL, PLAIN)} == {"write-back"}
        region = "ring_probe load /sys/bus/pci/devices/0000:00:05.0/resource2 0 0"
        assert "Invalid argument" in guest.sh(region, check=False)  # a driver has it
        guest.sh(f"rmmod wgpy_ring; {region} && insmod /wgpy_ring.ko")
        guest.sh("echo confidentiality > /sys/kernel/security/lockdown")
        assert "Operation not permitted" in guest.sh(region, check=False)
        assert len(asked(guest, 2)) == 2
        guest.sh("rmmod wgpy_ring")
        assert "Operation not permitted" in guest.sh("insmod /wgpy_ring.ko", check=False)
