"""Linux images for x86, made by what Documentation/x86/boot.rst of Linux says of their header."""

ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"no kernel, but as good as one here; " * 40


def bzimage(packed: bytes, sectors: int = 4, version: int = 0x20F, behind: int = 0x30) -> bytes:
    """With a packed kernel, and the length that Linux's build writes behind it."""
    payload = packed + len(ELF).to_bytes(4, "little")
    setup = bytearray((sectors + 1) * 512)
    setup[0x1F1], setup[0x202:0x206], setup[0x206:0x208] = sectors, b"HdrS", version.to_bytes(2, "little")
    setup[0x248:0x250] = behind.to_bytes(4, "little") + len(payload).to_bytes(4, "little")
    return bytes(setup) + bytes(behind) + payload + b"the rest"


def lz4(*blocks: bytes) -> bytes:
    """Legacy frames."""
    return b"\x02\x21\x4c\x18" + b"".join(len(b).to_bytes(4, "little") + b for b in blocks)


def literals(data: bytes) -> bytes:
    """The end of a block, or all of it."""
    if len(data) < 15:
        return bytes([len(data) << 4]) + data
    return b"\xf0" + b"\xff" * ((len(data) - 15) // 255) + bytes([(len(data) - 15) % 255]) + data
