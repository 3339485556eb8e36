"""What the images hold and do not (A4, F6, F9), by their file lists and symbols."""

import hashlib
import json
import re
import stat
import subprocess

import pytest
from layout import TRIPLETS

ROOMS = ("black", "crypto", "red")
KEYLESS = ("black", "red")
# The constant of ChaCha20's state, and the beginning of the S-box of AES.
CIPHERS = {"ChaCha20": b"expand 32-byte k", "AES": bytes.fromhex("637c777bf26b6fc53001672bfed7ab76")}
CIPHER_NAMES = re.compile(r"chacha|poly1305|curve25519|x25519|sodium|EVP_|(^|_)aes_|blake2s_keyed|crypto_(aead|box|sign|scalarmult)",
                          re.IGNORECASE)
KEEPING_KEYS = re.compile(r"sodium|libcrypto|libssl|nacl|hashlib|hmac|keystore|sealed|/crypto/|/protocol/|/suite/|/plane\.|/wireguard")


def symbols(data: bytes, tmp_path) -> set[str]:
    """Those that a file defines for others, and those that it wants of them, with their versions."""
    file = tmp_path / "file"
    file.write_bytes(data)
    said = subprocess.run(["nm", "-D", file], text=True, capture_output=True, check=True).stdout
    return {line.split()[-1] for line in said.splitlines()}


@pytest.mark.slow
@pytest.mark.parametrize("arch, machine", [("amd64", 62), ("arm64", 183)])
def test_what_is_executed_is_for_its_processor(built_for, arch, machine):
    """ELF's e_machine; and but for what differs by name, the rooms hold the same on both."""
    built, one = built_for(arch), built_for("amd64")
    for room in ROOMS:
        assert {int.from_bytes(data[18:20], "little") for data in built.elf(room).values()} == {machine}
        names = [{re.sub("aarch64|x86[-_]64|amd64|arm64", "M", n) for n in b.files(room) if not re.search(r"\.ko$|/ld-linux", n)}
                 for b in (one, built)]
        assert names[0] == names[1]


@pytest.mark.parametrize("room", KEYLESS)
@pytest.mark.parametrize("arch", ["amd64", pytest.param("arm64", marks=pytest.mark.slow)])
def test_black_and_red_hold_no_cipher_protocol_suite_or_key_store(built_for, arch, room, tmp_path):
    built = built_for(arch)
    files = built.files(room)
    assert not [name for name in files if KEEPING_KEYS.search("/" + name)]
    assert [(name, what) for name, data in files.items() for what, sign in CIPHERS.items() if sign in data] == [
        (f"usr/lib/{TRIPLETS[arch]}/libbsd.so.0", "ChaCha20")]  # inside its generator of random numbers, which nothing asks
    told = {name: symbols(data, tmp_path) for name, data in built.elf(room).items() if not name.endswith(".ko")}
    assert not {name: s for name, some in told.items() for s in some if CIPHER_NAMES.search(s)}
    wanted = {s for name, some in told.items() for s in some if "@LIBBSD" in s and not name.endswith("libbsd.so.0")}
    assert wanted and not [s for s in wanted if "random" in s]


def test_the_same_search_finds_them_in_crypto(built, tmp_path):
    files = built.files("crypto")
    assert len([name for name in files if KEEPING_KEYS.search("/" + name)]) > 20
    library = next(data for name, data in files.items() if name.endswith("libsodium.so.23"))
    assert CIPHERS["ChaCha20"] in library
    assert any(CIPHERS["AES"] in data for data in files.values())
    assert "crypto_aead_chacha20poly1305_ietf_encrypt" in {s for s in symbols(library, tmp_path) if CIPHER_NAMES.search(s)}


def test_crypto_holds_one_program_and_no_network(built):
    """No shell, no iproute, no nftables, no DHCP: what can be executed is Python, its loader and /init."""
    entries = built.entries("crypto")
    programs = {name for name, data in built.files("crypto").items()
                if entries[name].mode & 0o111 and not re.search(r"\.so(\.[\d.]+)?$|\.so$", name)}
    assert programs == {"init", "usr/bin/python3.11"}
    assert not [n for n in built.files("crypto") if re.search(r"nft|iproute|dhc|busybox|/(da|ba)?sh$|/ip$|rtnl|wgpy/(red|black)/", n)]
    assert {n.rpartition("/")[2] for n in built.elf("crypto") if re.search(r"lib/x86_64-linux-gnu/", n)} == {
        "libc.so.6", "libm.so.6", "libz.so.1", "libexpat.so.1", "libffi.so.8", "libseccomp.so.2", "libgcc_s.so.1", "libsodium.so.23",
        "libcrypto.so.3"}


def test_black_and_red_can_execute_ip_and_nft_besides(built):
    for room in KEYLESS:
        entries = built.entries(room)
        programs = {name for name in built.files(room) if entries[name].mode & 0o111 and ".so" not in name}
        assert programs == {"init", "usr/bin/python3.11", "usr/bin/ip", "usr/sbin/nft"}


def kernel_modules(built, room: str) -> set[str]:
    return {name.rpartition("/")[2] for name in built.files(room) if name.endswith(".ko")}


def test_kernel_modules(built):
    """Signed by Debian, but for ours. Crypto's drive virtio's console, its source of entropy, its disk
    (ext4 is in the kernel; red has that too), and what it shares with its neighbours."""
    bus = {f"{name}.ko" for name in ("virtio", "virtio_ring", "virtio_pci", "virtio_pci_modern_dev", "virtio_pci_legacy_dev",
                                     "virtio_console", "virtio_rng", "uio", "wgpy_ring")}
    assert kernel_modules(built, "crypto") == bus | {"virtio_blk.ko"}
    assert bus < kernel_modules(built, "black")
    assert kernel_modules(built, "red") - kernel_modules(built, "black") == {"tun.ko", "virtio_blk.ko"}
    assert {"virtio_net.ko", "nf_tables.ko"} < kernel_modules(built, "black")
    for room in ROOMS:
        listed = built.files(room)["etc/wgpy/image"].decode().split()
        assert listed[0] == room and {f"{name}.ko" for name in listed[1:]} == kernel_modules(built, room)
        if room != "crypto":  # so that eth0 is the card behind MMIO and eth1 the link in clear, as the room files on seL4 say
            assert listed.index("virtio_mmio") < listed.index("virtio_pci") and listed.index("virtio_mmio") < listed.index("virtio_net")
        for name, data in built.files(room).items():
            assert not name.endswith(".ko") or data.endswith(b"~Module signature appended~\n") or name.endswith("/wgpy_ring.ko"), name


def test_nothing_but_plain_files_of_root(built):
    for room in ROOMS:
        odd = {name: oct(e.mode) for name, e in built.entries(room).items()
               if e.mode not in (stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777)}
        assert odd == {"dev/console": oct(stat.S_IFCHR | 0o600)}


@pytest.mark.parametrize("room", ROOMS)
def test_the_manifest_names_every_file(built, room):
    manifest = json.loads((built.folder / f"{room}.manifest.json").read_text())
    said = {f["path"]: (f["size"], f["sha256"]) for f in manifest["files"] if f["mode"].startswith("100")}
    assert said == {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in built.files(room).items()}
    of = {f["path"]: f["of"] for f in manifest["files"]}
    assert of["usr/bin/python3.11"].startswith("python3.11-minimal 3.11.2-") and of["init"] == "wgpy"


@pytest.mark.parametrize("room", ROOMS)
def test_the_bill_names_the_packages_of_the_manifest(built, room):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    text = (built.folder / f"{room}.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    manifest = json.loads((built.folder / f"{room}.manifest.json").read_text())
    parts = {f"{c['name']} {c['version']}": c for c in json.loads(text)["components"]}
    used = {f["of"] for f in manifest["files"]} - {"wgpy"}
    assert used <= parts.keys() and {p for p in parts.keys() - used if not p.startswith("linux-image-")} == set()
    assert all(re.fullmatch("[0-9a-f]{64}", h["content"]) for c in parts.values() for h in c["hashes"])
    assert ("libsodium23 1.0.18-1+deb12u1" in parts or any(p.startswith("libsodium23 ") for p in parts)) == (room == "crypto")


def test_sizes(built):
    for room in ROOMS:
        assert (built.folder / f"{room}.cpio.zst").stat().st_size <= 16_000_000
    assert (built.folder / "vmlinuz").stat().st_size <= 16_000_000
