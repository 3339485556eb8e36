"""Single values in text form, shared by UAPI and files. Parsers raise ValueError with
a text that never repeats a key."""

import base64
import binascii
import ipaddress
import re

from wgpy.config.model import HostPort, Prefix

_DECIMAL = re.compile(r"[0-9]{1,20}\Z")
_SCOPE = re.compile(r"[A-Za-z0-9_.=+-]{1,15}\Z")
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?\Z")
_PATH = re.compile(r"(?:/[A-Za-z0-9_.@+-]+)+/?")
ANY_KEY = range(16, 257)  # bytes that a key of a suite may have
INTERFACE_NAME = re.compile(r"(?!\.{1,2}\Z)[a-zA-Z0-9_=+.-]{1,15}\Z")


def quoted(text: str) -> str:
    """The value as an error shows it: printable, and short."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def number(text: str, low: int, high: int) -> int:
    """A decimal number from `low` to `high`, both included. ValueError."""
    if not _DECIMAL.match(text) or not low <= int(text) <= high:
        raise ValueError(f"{quoted(text)} is not a number from {low} to {high}")
    return int(text)


def key_hex(text: str, size: int | None = 32) -> bytes:
    """A key of `size` bytes as UAPI writes it. None: of any size that a suite may have. ValueError,
    without the text."""
    if size is None and len(text) % 2 == 0 and len(text) // 2 in ANY_KEY:
        size = len(text) // 2
    if not re.fullmatch(f"[0-9a-fA-F]{{{2 * (size or 32)}}}", text):
        raise ValueError(f"a key is {2 * (size or 32)} hexadecimal digits")
    return bytes.fromhex(text)


def key_base64(text: str, size: int | None = 32) -> bytes:
    """A key of `size` bytes as wg(8) writes it; only the one spelling that it writes. None: of any
    size that a suite may have. ValueError, without the text."""
    try:
        key = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        key = b""
    if size is None and len(key) in ANY_KEY:
        size = len(key)
    if len(key) != size or base64.b64encode(key).decode() != text:
        raise ValueError("a key is base64 of 16 to 256 bytes" if size is None else
                         f"a key is {4 * ((size + 2) // 3)} characters of base64" + f" ({size} bytes)" * (size != 32))
    return key


def absolute_path(text: str) -> str:
    """Of a file or directory, without `..` or special characters. ValueError."""
    if not _PATH.fullmatch(text) or {"..", "."} & set(text.split("/")):
        raise ValueError("must be an absolute path without '..' or special characters")
    return text.rstrip("/")


def sha256(text: str) -> str:
    """A digest, in small letters. ValueError."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError("must be the 64 hexadecimal digits that sha256sum prints")
    return text.lower()


def to_base64(key: bytes | bytearray) -> str:
    """A key as wg(8) writes it: 44 characters for 32 bytes."""
    return base64.b64encode(key).decode()


def short_key(key: bytes) -> str:
    """A public key as it appears in logs: peer(AbCd…WxYz)."""
    text = to_base64(key).rstrip("=")
    return f"peer({text[:4]}…{text[-4:]})"


def prefix(text: str, *, need_cidr: bool = False) -> Prefix:
    """`address/cidr`; host bits are cleared. Without a cidr, one address."""
    host, slash, bits = text.partition("/")
    try:
        if need_cidr and not slash or "%" in host:
            raise ValueError
        address = ipaddress.ip_address(host)
        cidr = number(bits, 0, address.max_prefixlen) if slash else address.max_prefixlen
    except ValueError:
        raise ValueError(f"{quoted(text)} is not an address with prefix length") from None
    keep = (1 << address.max_prefixlen) - (1 << (address.max_prefixlen - cidr))
    return Prefix((int(address) & keep).to_bytes(len(address.packed), "big"), cidr)


def prefix_text(p: Prefix) -> str:
    """`address/cidr`; prefix() gives it back unchanged."""
    return f"{ipaddress.ip_address(p.address)}/{p.cidr}"


def interface_address(text: str) -> str:
    """An address of the interface itself, host bits kept, prefix length completed. As for
    ip(8), the length may be a netmask; a leading zero, which means octal there, is refused."""
    host, slash, bits = text.partition("/")
    if slash and "." in bits and "." in host:
        bits = str(_mask_length(text, bits))
    if len(bits) > 1 and bits.startswith("0"):
        raise ValueError(f"{quoted(text)}: a prefix length with a leading zero is octal for ip(8): write it without")
    prefix(host + slash + bits)
    address = ipaddress.ip_address(host)
    return f"{address}/{int(bits) if slash else address.max_prefixlen}"


def _mask_length(text: str, mask: str) -> int:
    try:
        value = int(ipaddress.IPv4Address(mask))
    except ValueError:
        raise ValueError(f"{quoted(text)} is not an address with prefix length") from None
    ones = value.bit_count()
    if value != (1 << 32) - (1 << (32 - ones)):
        raise ValueError(f"{quoted(text)}: {mask} is no netmask")
    return ones


def numeric_host(text: str) -> str:
    """A numeric address in its one form; IPv4-mapped IPv6 becomes IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{quoted(text)} is not a numeric address") from None
    if address.version == 6:
        if address.scope_id is not None and not _SCOPE.match(address.scope_id):
            raise ValueError(f"{quoted(text)} has a bad scope")
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
    return str(address)


def endpoint(text: str, *, names: bool = False) -> HostPort:
    """`1.2.3.4:port`, `[v6]:port` or, where `names` is true, `name:port`."""
    if text.startswith("["):
        host, found, port = text[1:].rpartition("]:")
        bracketed = True
    else:
        host, found, port = text.rpartition(":")
        bracketed = False
    if not found or not host:
        raise ValueError(f"{quoted(text)} is not HOST:PORT")
    if not bracketed and ":" in host:
        raise ValueError(f"{quoted(text)}: an IPv6 address needs [brackets]")
    value = number(port, 1, 65535)
    if names and not bracketed and not _looks_numeric(host):
        if len(host) > 253 or not _HOST.match(host):
            raise ValueError(f"{quoted(host)} is not a host name")
        return HostPort(host, value)
    host = numeric_host(host)
    if bracketed and ":" not in text[1:].rpartition("]:")[0]:
        raise ValueError(f"{quoted(text)}: only IPv6 addresses stand in brackets")
    return HostPort(host, value)


def file_endpoint(text: str) -> HostPort:
    """HOST:PORT as wg(8) reads it: the last colon ends the host, and brackets may stand
    around any host. A host that is no address in its usual form is left to the resolver."""
    if text.startswith("["):
        host, found, port = text[1:].partition("]:")
    else:
        host, found, port = text.rpartition(":")
    if not found or not host:
        raise ValueError(f"{quoted(text)} is not HOST:PORT")
    value = number(port, 1, 65535)
    if is_address(host):
        return HostPort(numeric_host(host), value)
    if ":" in host:
        raise ValueError(f"{quoted(host)} is not an IPv6 address")
    if len(host) > 253 or not _HOST.match(host):
        raise ValueError(f"{quoted(host)} is not a host name")
    return HostPort(host, value)


def is_address(host: str) -> bool:
    """Whether numeric_host() takes it."""
    try:
        numeric_host(host)
        return True
    except ValueError:
        return False


def _looks_numeric(host: str) -> bool:
    return re.fullmatch(r"[0-9.]+", host) is not None


def is_numeric(host: str) -> bool:
    """Whether it is meant as an address, be it a good one or not."""
    return ":" in host or _looks_numeric(host)


def endpoint_text(e: HostPort) -> str:
    """HOST:PORT, IPv6 in brackets; endpoint() gives it back unchanged."""
    return f"[{e.host}]:{e.port}" if ":" in e.host else f"{e.host}:{e.port}"
