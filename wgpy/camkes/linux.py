"""The ELF file in a Linux image for x86: upstream's monitor there loads no other, and upstream's own script
does not know how Debian packs its kernels (LZ4). Format: Documentation/x86/boot.rst of Linux, protocol 2.08
and later; LZ4's legacy frames: lz4_Frame_format.md and lz4_Block_format.md of the LZ4 project."""

import gzip
import lzma
import zlib

from wgpy.errors import HostError

MOST = 256 << 20  # bytes that an image may unpack to
_SETUP, _MAGIC, _VERSION, _PAYLOAD = 0x1F1, 0x202, 0x206, 0x248  # of its header
_SECTOR, _PROTOCOL = 512, 0x0208
_LZ4, _LZ4_BLOCK = b"\x02\x21\x4c\x18", 8 << 20
_OTHERS = {b"\x28\xb5\x2f\xfd": "Zstandard", b"BZh": "bzip2", b"\x89LZO": "LZO"}
_ELF64 = b"\x7fELF\x02\x01"


def vmlinux(image: bytes, name: str) -> bytes:
    """Of a bzImage, or what already is such a file. HostError, which names it by `name`."""
    unpacked = image if image.startswith(_ELF64) else _unpacked(image, name)
    if not unpacked.startswith(_ELF64):
        raise HostError(f"{name}: holds no Linux for 64 bits (no ELF file)")
    return unpacked


def _unpacked(image: bytes, name: str) -> bytes:
    if image[_MAGIC:_MAGIC + 4] != b"HdrS" or int.from_bytes(image[_VERSION:_VERSION + 2], "little") < _PROTOCOL:
        raise HostError(f"{name}: no Linux image for x86 (bzImage)")
    at, size = (int.from_bytes(image[n:n + 4], "little") for n in (_PAYLOAD, _PAYLOAD + 4))
    start = ((image[_SETUP] or 4) + 1) * _SECTOR + at
    payload = image[start:start + size]
    if len(payload) < max(size, 8):
        raise HostError(f"{name}: ends within its kernel")
    for magic, how in _OTHERS.items():
        if payload.startswith(magic):
            raise HostError(f"{name}: is packed by {how}; gzip, xz, LZMA and LZ4 can be unpacked, or give the file vmlinux")
    try:
        if payload.startswith(_LZ4):
            return _lz4(payload)
        # The length that is written behind the packed kernel is no part of it.
        return _stream(zlib.decompressobj(wbits=31) if payload.startswith(b"\x1f\x8b") else lzma.LZMADecompressor(), payload)
    except (ValueError, IndexError, EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as e:
        raise HostError(f"{name}: cannot be unpacked: {e}") from None


def _stream(reader: "zlib._Decompress | lzma.LZMADecompressor", payload: bytes) -> bytes:
    made = reader.decompress(payload, MOST)
    if not reader.eof:
        raise ValueError(f"more than {MOST} bytes, or not whole")
    return made


def _lz4(payload: bytes) -> bytes:
    """The frames' blocks, until what is behind them can be none."""
    made, at = bytearray(), 0
    while at + 4 < len(payload):
        size = int.from_bytes(payload[at:at + 4], "little")
        at += 4
        if payload[at - 4:at] == _LZ4:
            continue
        if at + size > len(payload):
            raise ValueError(f"a block of {size} bytes, {len(payload) - at} are left")
        before = len(made)
        _block(payload[at:at + size], made)
        if len(made) - before > _LZ4_BLOCK or len(made) > MOST:
            raise ValueError("a block that is too large")
        at += size
    return bytes(made)


def _block(block: bytes, made: bytearray) -> None:
    """Literals, then a copy of what is there already, and so on; literals are the last."""
    start, at = len(made), 0
    while at < len(block):
        token = block[at]
        literals, at = _length(token >> 4, block, at + 1)
        if at + literals > len(block):
            raise ValueError("a block ends within literals")
        made += block[at:at + literals]
        at += literals
        if at == len(block):
            return
        distance = block[at] | block[at + 1] << 8
        copied, at = _length(token & 15, block, at + 2)
        copied += 4
        if not 0 < distance <= len(made) - start or copied > _LZ4_BLOCK:
            raise ValueError("a copy of what is not there")
        piece = made[len(made) - distance:][:copied]
        made += piece if len(piece) == copied else (piece * (copied // distance + 1))[:copied]


def _length(nibble: int, block: bytes, at: int) -> tuple[int, int]:
    """With the bytes that continue it, and where the next one is."""
    if nibble == 15:
        while block[at] == 255:
            nibble += 255
            at += 1
        nibble += block[at]
        at += 1
    return nibble, at
