"""Inner packets and allowed IPs, naively, for the plane in pure Python."""

from typing import NamedTuple

from wgpy.errors import WgpyError


class Header(NamedTuple):
    """Of an IP packet; addresses are 4 or 16 bytes."""
    source: bytes
    destination: bytes
    total: int          # as the header says; may exceed what is there


def parse(packet: bytes) -> Header | None:
    """None unless it is IPv4 or IPv6 with a whole header that does not exceed the
    length it declares."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        size, total = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
        if 20 <= size <= min(len(packet), total):
            return Header(packet[12:16], packet[16:20], total)
    if version == 6 and len(packet) >= 40:
        return Header(packet[8:24], packet[24:40], 40 + int.from_bytes(packet[4:6], "big"))
    return None


class Udp(NamedTuple):
    """Of an inner packet that is UDP: what wgpy.protocol.loops compares with datagrams of
    ours."""
    destination: bytes
    port: int           # of the destination
    payload: bytes      # as far as the IP header says; of a first fragment, what it has


def udp(packet: bytes) -> Udp | None:
    """Of a well-formed packet; None unless a UDP header follows the IP header at once, or in
    IPv6 the header of a first fragment."""
    header = parse(packet)
    if header is None:
        return None
    rest, kind, offset = packet[40:header.total], packet[6], 0
    if packet[0] >> 4 == 4:
        rest, kind = packet[(packet[0] & 15) * 4:header.total], packet[9]
        offset = int.from_bytes(packet[6:8], "big") & 0x1FFF
    elif kind == 44 and len(rest) >= 8:
        kind, offset, rest = rest[0], int.from_bytes(rest[2:4], "big") >> 3, rest[8:]
    if kind != 17 or offset or len(rest) < 8:
        return None
    return Udp(header.destination, int.from_bytes(rest[2:4], "big"), rest[8:])


def ecn(packet: bytes) -> int:
    """Outer DS field for a packet: DSCP 0 and the inner ECN; 0 for a keepalive."""
    if not packet:
        return 0
    return packet[1] & 3 if packet[0] >> 4 == 4 else packet[1] >> 4 & 3


def decapsulate_ecn(packet: bytes, outer: int) -> bytes | None:
    """RFC 6040, section 4.2. None when the packet cannot carry the outer mark CE."""
    inner, outer = ecn(packet), outer & 3
    if outer == 3:
        if inner == 0:
            return None
        marked = 3
    else:
        marked = 1 if (inner, outer) == (2, 1) else inner
    if marked == inner:
        return packet
    if packet[0] >> 4 == 6:
        return packet[:1] + bytes([packet[1] & 0xCF | marked << 4]) + packet[2:]
    before, after = packet[:2], bytes([packet[0], packet[1] & 0xFC | marked])
    return after + packet[2:10] + _adjusted(packet[10:12], before, after) + packet[12:]


def _adjusted(checksum: bytes, before: bytes, after: bytes) -> bytes:
    """The header checksum when one of its words changes (RFC 1624, equation 3)."""
    old, m, new = (int.from_bytes(w, "big") for w in (checksum, before, after))
    total = (old ^ 0xFFFF) + (m ^ 0xFFFF) + new
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (total ^ 0xFFFF).to_bytes(2, "big")


class AllowedIPs:
    """Longest prefix wins; a prefix has one owner. Addresses are 4 or 16 bytes."""

    def __init__(self, limit: int):
        self._owner: dict[tuple[int, int, int], int] = {}  # address bytes, cidr, network bits
        self._limit = limit

    @staticmethod
    def _key(address: bytes, cidr: int) -> tuple[int, int, int]:
        if len(address) not in (4, 16) or not 0 <= cidr <= 8 * len(address):
            raise ValueError("no such prefix")
        return len(address), cidr, int.from_bytes(address, "big") >> (8 * len(address) - cidr)

    def insert(self, address: bytes, cidr: int, owner: int) -> None:
        """Takes the prefix from whoever has it. ValueError for what is none, WgpyError beyond
        the limit."""
        key = self._key(address, cidr)
        if key not in self._owner and len(self._owner) >= self._limit:
            raise WgpyError(f"more than {self._limit} allowed IPs")
        self._owner[key] = owner

    def remove(self, address: bytes, cidr: int, owner: int) -> None:
        """No-op for a prefix that is not the owner's. ValueError for what is none."""
        key = self._key(address, cidr)
        if self._owner.get(key) == owner:
            del self._owner[key]

    def remove_owner(self, owner: int) -> None:
        """With all its prefixes."""
        self._owner = {k: o for k, o in self._owner.items() if o != owner}

    def lookup(self, address: bytes) -> int | None:
        """Owner of the longest prefix that holds the address; None if none does."""
        bits = 8 * len(address)
        for cidr in range(bits, -1, -1):
            owner = self._owner.get((len(address), cidr, int.from_bytes(address, "big") >> (bits - cidr)))
            if owner is not None:
                return owner
        return None

    def __len__(self) -> int:
        return len(self._owner)

    def of(self, owner: int) -> list[tuple[bytes, int]]:
        """(address, cidr) of each prefix of the owner, host bits zero; IPv4 first, then by
        length."""
        return [((network << (8 * size - cidr)).to_bytes(size, "big"), cidr)
                for (size, cidr, network), o in sorted(self._owner.items()) if o == owner]
