"""The layout of a ring: the single source, which emits the C header.

A ring carries trains one way. It is two areas, each written by one side only: the
producer's (header, indices, descriptors, arena) and the consumer's (one page). They
are two memfds, or the two parts of one region. All integers are little-endian, u32.
`python -I -m wgpy.ring.layout` prints _fast/c/ring/layout.h.
"""

PAGE = 4096
LINE = 64

MAGIC = 0x77_67_72_31  # "wgr1"
VERSION = 3
DESCRIPTORS = 1024     # a power of two
DESCRIPTOR_SIZE = 64
RECORD_PACKETS = 256   # packets in one record at most
RECORD_BYTES = 128 * 1024  # of packets in one record, each rounded up to 16

# In the producer's area; each index has a cache line of its own.
PRODUCER = {
    "magic": 0, "version": 4, "descriptors": 8, "arena_size": 12,
    "epoch": 1 * LINE,         # changes whenever head starts again from 0
    "request_seen": 2 * LINE,  # the consumer's request that this epoch answers
    "head": 3 * LINE,          # records published in this epoch
    "space_wanted": 4 * LINE,  # nonzero: ring the space doorbell after consuming
}
DESCRIPTOR_TABLE = PAGE
ARENA = DESCRIPTOR_TABLE + DESCRIPTORS * DESCRIPTOR_SIZE

# In the consumer's area.
CONSUMER = {
    "request": 0 * LINE,       # a new value asks the producer to start again
    "acknowledged": 1 * LINE,  # the epoch that tail belongs to
    "tail": 2 * LINE,          # records consumed in this epoch
    "sleeping": 3 * LINE,      # nonzero: ring the data doorbell after publishing
}
CONSUMER_SIZE = PAGE

# A descriptor; `endpoint` is struct wg_endpoint, all zero where there is none.
DESCRIPTOR = {"table": 0, "packets": 4, "tos": 8, "endpoint": 12}
# A record: at `table` in the arena, for each packet its offset in the arena and its
# length. What a batch puts into the arena begins at a multiple of this.
RECORD_ALIGN = 64


def arena_size(producer_size: int) -> int:
    """Bytes of arena in a producer's area. ValueError when it is too small for one
    record."""
    size = (producer_size - ARENA) // RECORD_ALIGN * RECORD_ALIGN
    if size < RECORD_BYTES:
        raise ValueError(f"a ring of {producer_size} bytes is too small")
    return size


def header() -> str:
    """The text of _fast/c/ring/layout.h."""
    names = {
        "RING_MAGIC": MAGIC, "RING_VERSION": VERSION, "RING_DESCRIPTORS": DESCRIPTORS,
        "RING_DESCRIPTOR_SIZE": DESCRIPTOR_SIZE, "RING_RECORD_PACKETS": RECORD_PACKETS,
        "RING_RECORD_BYTES": RECORD_BYTES, "RING_RECORD_ALIGN": RECORD_ALIGN,
        "RING_DESCRIPTOR_TABLE": DESCRIPTOR_TABLE, "RING_ARENA": ARENA,
        "RING_CONSUMER_SIZE": CONSUMER_SIZE,
    }
    for prefix, fields in (("RING_P_", PRODUCER), ("RING_C_", CONSUMER), ("RING_D_", DESCRIPTOR)):
        names |= {prefix + field.upper(): offset for field, offset in fields.items()}
    lines = [f"#define {name} {value}u" for name, value in names.items()]
    return "\n".join(["/* Emitted by wgpy/ring/layout.py, which explains it. */",
                      "#ifndef RING_LAYOUT_H", "#define RING_LAYOUT_H", "", *lines, "", "#endif", ""])


if __name__ == "__main__":
    print(header(), end="")
