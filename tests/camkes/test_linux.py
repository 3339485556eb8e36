"""The kernel that upstream's monitor on x86 loads, out of the image that a distribution gives (A4)."""

import gzip
import lzma

import pytest
from bzimage import ELF, bzimage, literals, lz4

from wgpy.camkes import linux
from wgpy.errors import HostError


def long_copy() -> bytes:
    """ELF in two blocks: of the first, "abc" and 300 bytes that go on so are what a copy that overlaps itself makes."""
    repeated = (b"abc" * 101)[:303]
    first = b"\x3f" + b"abc" + b"\x03\x00" + b"\xff\x1a" + literals(ELF[:16])  # 15 + 255 + 26 + 4 = 300
    return lz4(first, literals(b"x" * 600)), repeated + ELF[:16] + b"x" * 600


@pytest.mark.parametrize("pack", [
    gzip.compress, lzma.compress, lambda d: lzma.compress(d, lzma.FORMAT_ALONE),
    lambda d: lz4(literals(d)), lambda d: lz4(literals(d[:1000]), literals(d[1000:])),
    lambda d: lz4(literals(d[:1000])) + lz4(literals(d[1000:])),
], ids=["gzip", "xz", "lzma", "lz4", "lz4 of two blocks", "lz4 of two frames"])
def test_what_was_packed_comes_out(pack):
    assert linux.vmlinux(bzimage(pack(ELF)), "vmlinuz") == ELF
    assert linux.vmlinux(bzimage(pack(ELF), sectors=27, behind=0), "vmlinuz") == ELF


def test_copies_overlap_themselves_and_lengths_go_on():
    packed, plain = long_copy()
    assert linux._unpacked(bzimage(packed), "vmlinuz") == plain


def test_a_vmlinux_is_taken_as_it_is():
    assert linux.vmlinux(ELF, "vmlinux") is ELF


@pytest.mark.parametrize("image, said", [
    (b"", "no Linux image for x86"), (b"MZ" + bytes(600), "no Linux image for x86"),
    (bzimage(gzip.compress(ELF), version=0x207), "no Linux image for x86"),
    (bzimage(gzip.compress(ELF))[:-20], "ends within its kernel"), (bzimage(gzip.compress(ELF))[:0x210], "ends within its kernel"),
    (bzimage(b"\x28\xb5\x2f\xfd" + bytes(100)), "is packed by Zstandard"), (bzimage(b"BZh9" + bytes(100)), "is packed by bzip2"),
    (bzimage(gzip.compress(b"no ELF file")), "no ELF file"), (bzimage(gzip.compress(b"\x7fELF\x01\x01" + bytes(50))), "no ELF file"),
    (bzimage(gzip.compress(ELF)[:-20]), "cannot be unpacked"), (bzimage(b"\x1f\x8b\x08" + bytes(40)), "cannot be unpacked"),
    (bzimage(b"\xff" * 60), "cannot be unpacked"), (bzimage(lzma.compress(ELF)[:-30]), "cannot be unpacked"),
    (bzimage(lz4(literals(ELF)[:-1])), "cannot be unpacked: a block ends within literals"),
    (bzimage(lz4(b"\x10a\x02\x00" + literals(ELF))), "cannot be unpacked: a copy of what is not there"),
    (bzimage(lz4(b"\x10a\x00\x00" + literals(ELF))), "cannot be unpacked: a copy of what is not there"),
    (bzimage(lz4(b"a" * 20, b"\xff" * 9)), "cannot be unpacked"),
    (bzimage(lz4(literals(ELF)) + b"\xff\xff\xff\x7f" + b"a" * 9), "a block of"),
], ids=range(18))
def test_what_is_wrong_is_one_line(image, said):
    with pytest.raises(HostError, match=said) as e:
        linux.vmlinux(image, "guests/vmlinuz")
    assert str(e.value).startswith("guests/vmlinuz: ") and "\n" not in str(e.value)


def test_what_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(linux, "MOST", 1000)
    for packed in (gzip.compress(ELF), lzma.compress(ELF), lz4(literals(ELF))):
        with pytest.raises(HostError, match="cannot be unpacked"):
            linux.vmlinux(bzimage(packed), "vmlinuz")
