"""Each image boots on a kernel of its own, under QEMU's TCG, locks it and is its room's main process
(A4, A5); test_three.py has all three together."""

import re
import stat

import pytest
from machine import boot
from site_files import LIMA, site_of

from wgpy.firewall.rules import black_rules, red_rules

PROGRAM, FILE = stat.S_IFREG | 0o755, stat.S_IFREG | 0o644
RINGS = {"black": 1, "crypto": 2, "red": 1}
BRIDGES = {"amd64": ["8086:29c0", "8086:2918"], "arm64": ["1b36:0008"]}  # which a q35, a virt cannot be without
RING, CONSOLE, ENTROPY, NETWORK = "1af4:1110", "1af4:1003", "1af4:1005", "1af4:1000"
DRIVERS = {RING: "wgpy_ring", CONSOLE: "virtio-pci", ENTROPY: "virtio-pci", NETWORK: "virtio-pci"}

# In place of the room's main process, after /init has done its part: what root can still do to this kernel.
INTRUDER = r"""
import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
def told(what, refused):
    print("intruder:", what, os.strerror(refused) if refused else "done", flush=True)
fd = os.open("/usr/lib/modules/virtio_rng.ko", os.O_RDONLY)
told("module", libc.syscall(313, fd, b"", 0) and ctypes.get_errno())
for what in ("modules_disabled", "kexec_load_disabled"):
    try:
        os.write(os.open("/proc/sys/kernel/" + what, os.O_WRONLY), b"0")
        told(what, 0)
    except OSError as e:
        told(what, e.errno)
def told_of(what, do):
    try:
        do()
        told(what, 0)
    except OSError as e:
        told(what, e.errno)
told_of("lockdown", lambda: os.write(os.open("/sys/kernel/security/lockdown", os.O_WRONLY), b"none"))
ring = next(d.path for d in os.scandir("/sys/bus/pci/devices") if os.path.exists(d.path + "/uio"))
def mapped(path, **more):
    return mmap.mmap(os.open(path, os.O_RDWR), 4096, **more)
told_of("sysfs", lambda: mapped(ring + "/resource2"))
told_of("uio", lambda: mapped("/dev/" + os.listdir(ring + "/uio")[0], offset=4096))
told("addresses", 0 if any(int(line.split()[0], 16) for line in open("/proc/kallsyms")) else 1)
"""

# Likewise: the room's firewall on a kernel that takes no more modules.
FIREWALL = """
import os
for number in (0, 1):  # the second time it finds what it made
    print("firewall: nft", os.spawnv(os.P_WAIT, "/usr/sbin/nft", ["nft", "-f", "/etc/wgpy/rules"]), flush=True)
os.spawnv(os.P_WAIT, "/usr/sbin/nft", ["nft", "-j", "list", "counters"])
print("firewall: ip", os.spawnv(os.P_WAIT, "/usr/bin/ip", ["ip", "link", "add", "name", "x", "type", "veth"]), flush=True)
"""
CLEAR = """[bypass]
networks = ["203.0.113.0/24"]
"""


def instead(script: str) -> dict[str, tuple[int, bytes]]:
    """Files that let an image run `script` where it would be its room."""
    return {"usr/lib/python3.11/wgpy/guest/main.py": (FILE, (script + "\nmain = int\n").encode())}


def devices(console: str) -> list[tuple[str, str]]:
    """(vendor:device, driver)"""
    return re.findall(r"^init: device \S+ (\S+) \S+ (\S+)$", console, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("room", RINGS)
@pytest.mark.parametrize("arch", BRIDGES)
def test_it_boots_locks_its_kernel_and_says_that_no_node_was_given_to_it(built_for, arch, room, tmp_path):
    built = built_for(arch)
    status, console = boot(built, room, tmp_path, RINGS[room], network=room != "crypto")
    print(console)
    said = re.findall(rf"^init: {room}: (.*), [\d.]+ s after the kernel$", console, re.MULTILINE)
    assert said == ["Python runs", "kernel is locked", "the main process is loaded"] and status == 0
    assert "guest: /etc/wgpy/room.toml: this guest was given no room file; docs/room-file.md says what it holds" in console
    assert "Power down" in console and "panic" not in console and "Traceback" not in console
    found = devices(console)
    wanted = [*BRIDGES[arch], CONSOLE, ENTROPY] + [RING] * RINGS[room] + [NETWORK] * (room != "crypto")
    assert sorted(d for d, _ in found) == sorted(wanted)
    assert dict(found) == {d: DRIVERS.get(d, "none") for d in wanted}
    loaded = set(re.search(r"^init: modules (.*)$", console, re.MULTILINE)[1].split())
    assert loaded == {n.rpartition("/")[2].removesuffix(".ko") for n in built.files(room) if n.endswith(".ko")}


@pytest.mark.slow
def test_root_in_a_guest_can_load_no_module_nor_unlock_the_kernel(built, tmp_path):
    _, console = boot(built, "black", tmp_path, 1, network=False, files=instead(INTRUDER))
    said = dict(re.findall(r"^intruder: (\S+) (.*)$", console, re.MULTILINE))
    print(console)
    assert said == {"module": "Operation not permitted", "modules_disabled": "Invalid argument",
                    "kexec_load_disabled": "Invalid argument", "lockdown": "Operation not permitted",
                    "sysfs": "Operation not permitted", "uio": "done", "addresses": "Operation not permitted"}


@pytest.mark.slow
@pytest.mark.parametrize("arch, room, rules", [("amd64", "black", black_rules), ("amd64", "red", red_rules), ("arm64", "red", red_rules)])
def test_the_kernel_modules_are_enough_for_the_firewall(built_for, arch, room, rules, tmp_path):
    built = built_for(arch)
    text = rules(site_of(LIMA + CLEAR))
    files = instead(FIREWALL) | {"etc/wgpy/rules": (FILE, text.encode())}
    _, console = boot(built, room, tmp_path, 1, network=True, files=files)
    print(console)
    assert re.findall(r"^firewall: nft (.*)$", console, re.MULTILINE) == ["0", "0"]
    assert f'"table": "wgpy_{room}"' in console
    assert re.findall(r"^firewall: ip (.*)$", console, re.MULTILINE) == ["2"]  # no veth in this kernel, nor another one


@pytest.mark.slow
@pytest.mark.parametrize("what, files", [
    (r"init: .*No such file.*nothing\.ko'", {"etc/wgpy/image": (FILE, b"black\nnothing\n")}),
    (r"guest: /etc/wgpy/room\.toml: room: is another room than this guest's image has",
     {"etc/wgpy/room.toml": (FILE, b'room = "red"\nsite = "/x"\n[rings]\ncrypto = "fd:7"\n')}),
    (r"guest: region uio:0000:00:1f\.0: 8086:2918 is neither ivshmem nor a connection",
     {"etc/wgpy/room.toml": (FILE, b'room = "black"\nsite = "/etc/wgpy/site.toml"\n[rings]\ncrypto = "uio:0000:00:1f.0"\n'),
      "etc/wgpy/site.toml": (FILE, LIMA.encode())})])
def test_whatever_is_wrong_is_a_line_and_the_end_of_the_guest(built, what, files, tmp_path):
    status, console = boot(built, "black", tmp_path, 1, network=False, files=files)
    print(console)
    assert status == 0 and "Power down" in console and "Traceback" not in console
    assert re.search(f"^{what}$", console, re.MULTILINE)


@pytest.mark.slow
def test_a_first_process_that_is_killed_ends_the_guest(built, tmp_path):
    status, console = boot(built, "black", tmp_path, 1, network=False, files=instead("import ctypes; ctypes.string_at(0)"))
    assert status == 0 and "Kernel panic - not syncing: Attempted to kill init!" in console
