"""The keys of files of wg(8) and wg-quick(8): the section that has them, and what each makes of
its value. Parsers raise ValueError in words for the user."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from wgpy.config import values
from wgpy.config.model import PrefixChange


def _items(text: str) -> list[str]:
    return [item for item in re.split(r"[,\s]+", text) if item]


def _port(text: str) -> int:
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", text):
        raise ValueError(f"{values.quoted(text)} is not a number from 0 to 65535 (names of services are not looked up)")
    return values.number(text, 0, 65535)


def _fwmark(text: str) -> int:
    if text.lower() == "off":
        return 0
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", text):
        text = str(int(text, 16))
    return values.number(text, 0, 2**32 - 1)


def _keepalive(text: str) -> int:
    return 0 if text.lower() == "off" else values.number(text, 0, 65535)


def _ip_number(text: str, low: int, high: int) -> int:
    """A number as ip(8) reads it, hexadecimal too; octal is refused, for nobody means it."""
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", text):
        text = str(int(text, 16))
    if len(text) > 1 and text.startswith("0"):
        raise ValueError(f"{values.quoted(text)}: a leading zero is octal for ip(8): write it without")
    return values.number(text, low, high)


def _mtu(text: str) -> int | None:
    return _ip_number(text, 68, 65535) if text else None


def _table(text: str) -> int | str:
    """auto, off, a number or a name, which the host knows."""
    if text.lower() in ("", "auto", "off"):
        return text.lower() or "auto"
    if text[0].isdecimal():
        return _ip_number(text, 0, 2**32 - 1)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", text):
        raise ValueError(f"{values.quoted(text)} is not auto, off, a table number or a table's name")
    return text


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{values.quoted(text)} is neither true nor false")
    return text.lower() == "true"


class Allowed(NamedTuple):
    """Of one line AllowedIPs."""
    changes: list[PrefixChange]
    signed: bool  # some of them: the list is then none to replace what there is


def _allowed(text: str) -> Allowed:
    items = [_allowed_item(item) for item in text.split(",") if item]
    return Allowed([change for _, change in items], any(sign for sign, _ in items))


def _allowed_item(text: str) -> tuple[str, PrefixChange]:
    """(sign, change); the signs are those of wg(8) since 2025."""
    sign = text[0] if text[0] in "+-" else ""
    if re.fullmatch(r"[0-9.]+/[0-9]+\.[0-9.]+", text[len(sign):]):
        raise ValueError(f"{values.quoted(text)}: no netmask here: write the number of bits")
    return sign, PrefixChange(values.prefix(text[len(sign):]), sign == "-")


def _addresses(text: str) -> list[str]:
    return [values.interface_address(item) for item in _items(text)]


def _hook(text: str) -> list[str]:
    """An empty hook does nothing; bash(1) cannot be given a zero byte."""
    if "\0" in text:
        raise ValueError("has a zero byte")
    return [text] if text else []


def _dns(text: str) -> list[str]:
    out = []
    for item in _items(text):
        if values.is_numeric(item):
            item = values.numeric_host(item)
        elif not re.fullmatch(r"[A-Za-z0-9_.~-]{1,253}", item):
            raise ValueError(f"{values.quoted(item)} is neither an address nor a domain")
        out.append(item)
    return out


# lower-case key -> (field, parser); parsers that return a list may be repeated
Keys = Mapping[str, tuple[str, Callable[[str], object]]]
WG: Keys = {
    "privatekey": ("private_key", values.key_base64),
    "listenport": ("listen_port", _port),
    "fwmark": ("fwmark", _fwmark),
}
HOOKS: Keys = {
    "preup": ("pre_up", _hook),
    "postup": ("post_up", _hook),
    "predown": ("pre_down", _hook),
    "postdown": ("post_down", _hook),
}
# ours: wg(8) and wg-quick(8) refuse a file that has them
SUITE: Keys = {
    "suitelibrary": ("suite_library", values.absolute_path),
    "suitesha256": ("suite_sha256", values.sha256),
}
QUICK: Keys = {
    "address": ("addresses", _addresses),
    "dns": ("dns", _dns),
    "mtu": ("mtu", _mtu),
    "table": ("table", _table),
    "saveconfig": ("save_config", _bool),
}
PEER: Keys = {
    "publickey": ("public_key", values.key_base64),
    "presharedkey": ("preshared_key", values.key_base64),
    "allowedips": ("allowed_ips", _allowed),
    "endpoint": ("endpoint", values.file_endpoint),
    "persistentkeepalive": ("keepalive", _keepalive),
}
SECTIONS: Mapping[str, Keys] = {"interface": {**WG, **SUITE, **QUICK, **HOOKS}, "peer": PEER}
MAY_BE_EMPTY = {"allowedips", *QUICK, *HOOKS} - {"saveconfig"}
