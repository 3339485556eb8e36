"""What QEMU is told, what is put into an image, and what a host lacks (A4, A6): no guest is started."""

import dataclasses
import io
import json
import os
import re
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from rich.console import Console
from site_files import LIMA, edited, site_of

from wgpy.admin.top import Frame
from wgpy.cli import vms
from wgpy.cli.commands import cli
from wgpy.errors import HostError
from wgpy.guest import roomfile
from wgpy.lab.netns import Netns
from wgpy.vms import disk, host, images, life, newc, qemu
from wgpy.vms.images import Images, room_file
from wgpy.vms.regions import CRYPTO, NEIGHBOUR, Region

LARGE = edited(LIMA, ('"small"', '"large"'))


# images

@pytest.fixture
def folder(tmp_path) -> Path:
    """As `make guests` leaves it, with empty images."""
    about = {"architecture": "amd64", "kernel": "6.1", **images.this_wgpy()}
    for room in images.ROOMS:
        (tmp_path / f"{room}.manifest.json").write_text(json.dumps({"room": room, **about}))
        (tmp_path / f"{room}.cpio.zst").write_bytes(b"packed" + room.encode())
    (tmp_path / "vmlinuz").write_bytes(b"kernel")
    (tmp_path / "command-line").write_text("console=ttyS0 quiet\n")
    return tmp_path


def change(folder: Path, room: str, facts: dict) -> None:
    path = folder / f"{room}.manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


@pytest.mark.parametrize("text", [LIMA, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("room", images.ROOMS)
def test_the_room_file_is_one_that_the_guest_reads(room, text, tmp_path):
    (tmp_path / "room.toml").write_text(room_file(room, site_of(text)))
    read = roomfile.load(tmp_path / "room.toml")
    assert read.room == room and str(read.site) == "/etc/wgpy/site.toml"
    assert read.rings == {other: f"uio:0000:00:0{slot}.0" for other, slot in qemu.RINGS[room].items()}
    assert read.links == ({} if room == "crypto" else {"wan" if room == "black" else "lan": "eth0"}
                          | ({"clear": "eth1"} if text == LIMA else {}))
    assert read.keys == ({"store": "/state/keys.sealed"} if room == "crypto" else {})
    assert (read.console, read.state) == ((Path("/dev/hvc0"), Path("/state")) if room == "crypto" else (None, None))


def test_what_is_appended_takes_the_place_of_the_images_own(folder):
    disk_image = Images(folder).ramdisk("crypto", site_of(LIMA), b"[node]\n")
    assert disk_image.startswith(b"packedcrypto")
    added = newc.entries(disk_image[len(b"packedcrypto") + -len(b"packedcrypto") % 4:])
    assert added["etc/wgpy/site.toml"].data == b"[node]\n" and added["etc/wgpy/room.toml"].data.startswith(b'room = "crypto"')
    assert {e.mode & 0o777 for name, e in added.items() if name.endswith(".toml")} == {0o600}


@pytest.mark.parametrize("facts, said", [
    ({"wgpy": "0.0.9"}, r"images of wgpy 0\.0\.9 \(ring 3, lane 1\), this is wgpy .*: make guests"),
    ({"ring": 2}, r"images of wgpy .* \(ring 2, lane 1\), this is wgpy .* \(ring 3, .*: make guests"),
    ({"lane": None}, "make guests"),
    ({"room": "red"}, "no manifest of crypto's image: make guests"),
    ({"kernel": "6.2"}, "images of different builds: make guests"),
])
def test_images_of_another_wgpy_or_build_are_refused(folder, facts, said):
    Images(folder)
    change(folder, "crypto", facts)
    with pytest.raises(HostError, match=said):
        Images(folder)


@pytest.mark.parametrize("name", ["vmlinuz", "command-line", "red.manifest.json"])
def test_images_that_are_not_there_are_named_with_the_remedy(folder, name):
    (folder / name).unlink()
    with pytest.raises(HostError, match=rf"{name}: no such file: make guests builds the images, --images DIR says"):
        Images(folder)


def test_images_of_another_machine_are_refused(folder):
    for room in images.ROOMS:
        change(folder, room, {"architecture": "arm64"})
    with pytest.raises(HostError, match="images for arm64, not for amd64"):
        Images(folder)


# QEMU

def test_nothing_is_on_a_guest_but_what_is_named():
    command = qemu.Machine("/k", "/r", "quiet", devices=qemu.joined([qemu.entropy()])).command()
    text = " ".join(command)
    assert "-nodefaults -no-user-config" in text and "-sandbox on," in text and "-no-reboot" in text
    assert "spawn=deny" in text and "elevateprivileges=deny" in text
    assert "-accel tcg" in text and "kvm" not in text and "mem-lock" not in text
    fast = " ".join(qemu.Machine("/k", "/r", "quiet", qemu.KVM, locked=True).command())
    assert "-accel kvm -cpu host" in fast and "-overcommit mem-lock=on" in fast
    assert not {"-netdev", "-nic", "-net", "-drive", "-hda", "-usb", "-vga", "-monitor", "-qmp", "-mon"} & {*command}


def test_devices_have_the_slots_that_the_guests_expect():
    made = qemu.joined([qemu.console(3), qemu.disk(4), *(qemu.ring(slot, slot) for slot in qemu.RINGS["crypto"].values()),
                        qemu.network(qemu.OUTSIDE, 8, "02:00:00:00:00:01"), qemu.passed_through(qemu.CLEAR, "0000:03:00.0")])
    placed = {word.split(",")[0]: word.rpartition("addr=")[2] for word in made if "addr=" in word}
    assert placed == {"virtio-serial-pci": "3", "virtio-blk-pci": "4", "ivshmem-doorbell": "6", "virtio-net-pci": "8", "vfio-pci": "9"}
    assert qemu.address(qemu.OUTSIDE) == "0000:00:08.0" and "serial=wgpy-state" in " ".join(made)


def test_a_region_says_to_each_side_what_the_server_would():
    """QEMU's docs/specs/ivshmem-spec: version, own id, memory, then eventfds of peers, the own ones last."""
    region = Region("black")
    try:
        seen = {}
        for side in (CRYPTO, NEIGHBOUR):
            with socket.socket(fileno=region.plug(side)) as s:
                said = [socket.recv_fds(s, 8, 1)[:2] for _ in range(5)]
            numbers = [int.from_bytes(data, "little", signed=True) for data, _ in said]
            assert numbers == [0, side, -1, 1 - side, side]
            fds = [list(got) for _, got in said]
            assert [len(got) for got in fds] == [0, 0, 1, 1, 1]
            memory, other, own = (got[0] for got in fds[2:])
            seen[side] = (os.fstat(memory).st_ino, own, other)
            with pytest.raises(PermissionError):
                os.ftruncate(memory, 4096)
            os.close(memory)
        assert seen[CRYPTO][0] == seen[NEIGHBOUR][0]
        os.eventfd_write(seen[CRYPTO][2], 1)  # crypto rings its neighbour
        assert os.eventfd_read(seen[NEIGHBOUR][1]) == 1
    finally:
        region.close()


# the disk

def test_the_disk_is_made_once_with_the_key_store_and_is_roots_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("WGPY_STATE_DIR", str(tmp_path))
    with pytest.raises(HostError, match="lima has no keys yet: wgpy keys seal FILE"):
        disk.open_disk(site_of(LIMA))
    (tmp_path / "lima").mkdir()
    (tmp_path / "lima/keys.sealed").write_bytes(b"SEALED-KEY-STORE" * 256)
    fd = disk.open_disk(site_of(LIMA))
    made = tmp_path / "lima/crypto.ext4"
    assert made.stat().st_mode & 0o777 == 0o600 and b"SEALED-KEY-STORE" in made.read_bytes()
    assert sorted(p.name for p in (tmp_path / "lima").iterdir()) == ["crypto.ext4", "keys.sealed"]
    with pytest.raises(HostError, match="in use by another process"):
        disk.open_disk(site_of(LIMA))
    os.close(fd)
    (tmp_path / "lima/keys.sealed").write_bytes(b"ANOTHER-KEY-STORE" * 256)
    os.close(disk.open_disk(site_of(LIMA)))
    assert b"SEALED-KEY-STORE" in made.read_bytes() and b"ANOTHER-KEY-STORE" not in made.read_bytes()


def test_a_damaged_disk_is_mended_or_named_before_a_guest_has_it(tmp_path, monkeypatch):
    monkeypatch.setenv("WGPY_STATE_DIR", str(tmp_path))
    (tmp_path / "lima").mkdir()
    (tmp_path / "lima/keys.sealed").write_bytes(b"SEALED-KEY-STORE" * 256)
    os.close(disk.open_disk(site_of(LIMA)))
    made = tmp_path / "lima/crypto.ext4"
    subprocess.run(["debugfs", "-w", "-R", "set_super_value state 2", made], check=True, capture_output=True)  # as after an error
    os.close(disk.open_disk(site_of(LIMA)))
    state = subprocess.run(["debugfs", "-R", "show_super_stats -h", made], check=True, capture_output=True, text=True).stdout
    assert re.search(r"^Filesystem state:\s+clean$", state, re.MULTILINE)
    with made.open("r+b") as file:
        file.write(bytes(1 << 20))
    with pytest.raises(HostError, match=r"crypto\.ext4: its file system is damaged \(.*\): e2fsck -f "):
        disk.open_disk(site_of(LIMA))


def test_a_disk_that_cannot_be_made_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("WGPY_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "lima").mkdir()
    (tmp_path / "lima/keys.sealed").write_bytes(b"SEALED")
    with pytest.raises(HostError, match="mkfs.ext4 is missing: apt-get install e2fsprogs"):
        disk.open_disk(site_of(LIMA))
    assert [p.name for p in (tmp_path / "lima").iterdir()] == ["keys.sealed"]


# what is shown

GUEST = {"state": "ready", "pid": 7, "uid": 2000, "restarts": 1, "boot_seconds": 23.4, "memory_mib": 256, "regions": {"crypto": 8 << 20},
         "said": ""}
FOUND = {"node": "lima", "mode": "small", "pid": 5, "up": True, "accelerator": "tcg", "kernel": "6.1",
         "guests": {"black": GUEST, "crypto": GUEST | {"restarts": 0, "regions": {"black": 8 << 20, "red": 8 << 20}}, "red": GUEST}}
ANSWER = {"node": "lima", "mode": "small", "pid": 1, "up": True, "missing": [], "not_configured": [], "time": 5.0,
          "alarms": {"flood": {"active": True, "count": 2}, "under_load": {"active": False, "count": 0}},
          "rooms": {"crypto": {"state": "ready", "pid": 9, "restarts": 0, "status": {
              "engine": {"aead": "avx2"}, "ports": {"to_black": {"packets_out": 12}},
              "lanes": {"black": {"up": True, "counters": [10, 20, 1000, 2000, 3]}, "red": {"up": False, "counters": []}}, "peers": [
              {"name": "cusco", "public_key": "x", "sessions": 1, "handshake": 3, "rx_bytes": 5}]}}}}


def test_status_tells_of_guests_and_of_crypto():
    told = list(vms.lines(FOUND | {"crypto": ANSWER}))
    assert told[0] == "lima: up, small, TCG, kernel 6.1, supervisor 5"
    assert told[2] == ("  crypto: ready, ready after 23.4 s, process 7 of user 2000, restarts 0, 256 MiB, "
                       "shares 8 MiB with black, 8 MiB with red")
    assert told[4] == "at crypto's console:" and "1 of 1 sites" in told[5] and told[6] == "    flood: 2 times, now"
    told = list(vms.lines(FOUND | {"crypto": {"error": "nobody answers"}}))
    assert told[-1] == "  crypto's console: nobody answers"


def test_top_joins_what_crypto_says_with_what_runs():
    document = vms.joined(FOUND, ANSWER)
    assert {room: f["restarts"] for room, f in document["rooms"].items()} == {"black": 1, "crypto": 0, "red": 1}
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(Frame(document, vms.joined(FOUND, ANSWER), 2.0, now=10.0).render())
    shown = console.export_text()
    assert "aead avx2" in shown and "cusco" in shown and "FLOOD" in shown
    assert re.search(r"crypto → black +\S+ +\S+ +\S+ +10 +2 ", shown) and re.search(r"black +all reasons +3 ", shown)


# what the host lacks

def test_without_qemu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="qemu-system-x86_64 is missing: apt-get install qemu-system-x86"):
        host.need_qemu()


def test_on_another_host_than_x86(monkeypatch):
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="aarch64"))
    with pytest.raises(HostError, match="guests are run on x86_64 hosts, this is aarch64"):
        host.need_qemu()


def test_a_suite_of_ones_own_is_not_for_guests(monkeypatch):
    monkeypatch.setattr(host, "need_qemu", lambda: None)
    with pytest.raises(HostError, match=r"\[suite\]: guests have WireGuard's suite only: wgpy node up"):
        life.check(dataclasses.replace(site_of(LIMA), suite=object()), {})


def test_without_kvm_a_person_is_told_why(tmp_path):
    assert host.accelerator(tmp_path / "kvm", tmp_path)[0] == qemu.TCG
    (tmp_path / "kvm_amd").mkdir()
    assert host.accelerator(tmp_path / "kvm", tmp_path) == (qemu.TCG, f"{tmp_path}/kvm: No such file or directory")
    (tmp_path / "kvm").touch()
    kind, why = host.accelerator(tmp_path / "kvm", tmp_path)
    assert kind == qemu.TCG and "makes no virtual machine" in why


def test_too_little_memory(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:  900000 kB\nMemAvailable:  512000 kB\n")
    with pytest.raises(HostError, match="3 guests need 1056 MiB of memory, 500 MiB are free: "):
        host.need_memory(3, tmp_path / "meminfo")
    host.need_memory(1, tmp_path / "meminfo")


@pytest.mark.netns
def test_a_port_that_is_missing_or_in_use():
    with Netns("box") as box, box.entered():
        for line in ("link add wan0 type veth peer name x", "address add 192.0.2.1/24 dev wan0", "link add y type veth peer name z",
                     "link add name b type bridge", "link set y master b"):
            subprocess.run(["ip", *line.split()], check=True)
        for name, said in (("wan9", "this host has no such interface: ip link"), ("lo", "a loopback interface"),
                           ("wan0", "in use, this host has 192.0.2.1/24 on it: ip address flush dev wan0"),
                           ("y", "in use, a port of b: ip link set y nomaster")):
            with pytest.raises(HostError, match=f"wan.interface = {name}: {said}"):
                host.need_port(name, "wan.interface")
        assert host.need_port("z", "wan.interface") == 1500


def test_a_card_that_cannot_be_passed_through(tmp_path):
    card = tmp_path / "bus/pci/devices/0000:03:00.0"
    for address, said in (("eth0", "'eth0' is no PCI address"), ("03:00.1", "0000:03:00.1: no such PCI device: lspci")):
        with pytest.raises(HostError, match=said):
            host.need_passed(address, tmp_path)
    card.mkdir(parents=True)
    (card / "class").write_text("0x030000\n")
    with pytest.raises(HostError, match="no network card"):
        host.need_passed("03:00.0", tmp_path)
    (card / "class").write_text("0x020000\n")
    with pytest.raises(HostError, match="no IOMMU for it"):
        host.need_passed("03:00.0", tmp_path)
    (tmp_path / "groups/7").mkdir(parents=True)
    (card / "iommu_group").symlink_to(tmp_path / "groups/7")
    with pytest.raises(HostError, match="driver is none: modprobe vfio-pci"):
        host.need_passed("03:00.0", tmp_path)


@pytest.mark.parametrize("words, said", [
    (["--passthrough", "eth=03:00.0"], "wan=ADDRESS or lan=ADDRESS, each once"),
    (["--passthrough", "wan=03:00.0", "--passthrough", "wan=03:00.1"], "wan=ADDRESS or lan=ADDRESS, each once"),
    (["--order", "red,red,black"], "--order names black, crypto, red once"),
])
def test_wrong_options(words, said, tmp_path):
    (tmp_path / "f.toml").write_text(LIMA)
    done = CliRunner().invoke(cli, ["vms", "up", str(tmp_path / "f.toml"), *words])
    assert done.exit_code == 2 and said in done.stderr


def test_who_is_not_root_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HostError, match="an encryptor needs root: run it with sudo"):
        life.up(str(tmp_path / "none.toml"))
