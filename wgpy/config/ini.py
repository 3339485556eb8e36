"""Files of wg(8) and wg-quick(8): every form that those read, errors that name file, line
and key. docs/tunnels.md has the table of forms.

Section names, keys and the values of wg(8) may have white space anywhere; sections and
keys are case-insensitive; `#` starts a comment except in a hook, where bash(1) decides;
lists are separated by commas. Of a value that is repeated the last counts, which is warned
about. A file describes the whole tunnel: what it leaves out is cleared, as `wg setconf` does.
"""

import re
from dataclasses import dataclass, field, replace

from wgpy.config import values
from wgpy.config.model import (NO_KEY, HostPort, PeerChange, PrefixChange, SetRequest, TunnelFile)
from wgpy.errors import ConfigError

_SPACE = " \t\n\v\f\r"  # isspace(3) in the C locale, as wg(8) has it
_UNSPACE = str.maketrans("", "", _SPACE)


def decode(data: bytes, source: str) -> str:
    """The bytes of a file as text. What is no UTF-8 is kept as it is (surrogateescape):
    in comments and hooks it does no harm. Raises ConfigError."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError("is UTF-16 text: save it as UTF-8", source=source)
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


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


def _allowed(text: str) -> list[tuple[str, PrefixChange]]:
    return [_allowed_item(item) for item in text.split(",") if item]


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
_WG = {
    "privatekey": ("private_key", values.key_base64),
    "listenport": ("listen_port", _port),
    "fwmark": ("fwmark", _fwmark),
}
_HOOKS = {
    "preup": ("pre_up", _hook),
    "postup": ("post_up", _hook),
    "predown": ("pre_down", _hook),
    "postdown": ("post_down", _hook),
}
_QUICK = {
    "address": ("addresses", _addresses),
    "dns": ("dns", _dns),
    "mtu": ("mtu", _mtu),
    "table": ("table", _table),
    "saveconfig": ("save_config", _bool),
}
_PEER = {
    "publickey": ("public_key", values.key_base64),
    "presharedkey": ("preshared_key", values.key_base64),
    "allowedips": ("allowed_ips", _allowed),
    "endpoint": ("endpoint", values.file_endpoint),
    "persistentkeepalive": ("keepalive", _keepalive),
}
_SECTIONS = {"interface": _WG | _QUICK | _HOOKS, "peer": _PEER}
_MAY_BE_EMPTY = {"allowedips", *_QUICK, *_HOOKS} - {"saveconfig"}


@dataclass
class _Section:
    name: str
    line: int
    fields: dict = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    replace: bool = True  # of a [Peer]: whether its AllowedIPs replace those before


class _Reader:
    """One pass over a file. With `errors` a bad line is noted there and passed over."""

    def __init__(self, source: str, errors: list[ConfigError] | None):
        self.source, self._errors = source, errors
        self.sections: list[_Section] = []
        self.warnings: list[str] = []

    def bad(self, words: str, line: int, key: str | None = None) -> None:
        error = ConfigError(words, source=self.source, line=line, key=key)
        if self._errors is None:
            raise error
        self._errors.append(error)

    def warn(self, line: int, words: str) -> None:
        self.warnings.append(f"{self.source}:{line}: {words}")

    def read(self, text: str) -> None:
        skipping = False
        for line, raw in enumerate(re.split(r"\r\n|\n|\r", text), 1):
            bare = raw.partition("#")[0].translate(_UNSPACE)
            if bare.startswith("["):
                skipping = not self._open(bare, line)
            elif bare and not skipping:
                self._line(raw, line)

    def _open(self, bare: str, line: int) -> bool:
        name = bare[1:-1].lower() if bare.endswith("]") else ""
        if name not in _SECTIONS:
            self.bad(f"{values.quoted(bare)} is neither [Interface] nor [Peer]", line)
            return False
        if name == "interface" and (first := next((s for s in self.sections if s.name == name), None)):
            self.warn(line, "a second [Interface] section: what it sets is added to the first")
            self.sections.remove(first)  # to be the one that is written to
            self.sections.append(first)
        else:
            self.sections.append(_Section(name, line))
        return True

    def _line(self, raw: str, line: int) -> None:
        bare = raw.partition("#")[0]
        key, equals, value = bare.partition("=")
        key = key.translate(_UNSPACE)
        shown = key if equals and re.fullmatch(r"[A-Za-z]{1,24}", key) else None
        try:
            if not equals:
                raise ValueError("no '=' in this line")
            if not self.sections:
                raise ValueError("before the first section")
            if key.lower() in _HOOKS:
                value = raw.partition("=")[2]
            elif key.lower() not in _QUICK:
                value = value.translate(_UNSPACE)
            self._add(self.sections[-1], key, value.strip(_SPACE), line)
        except ValueError as e:
            self.bad(str(e), line, shown)

    def _add(self, section: _Section, key: str, text: str, line: int) -> None:
        low = key.lower()
        try:
            name, parse = _SECTIONS[section.name][low]
        except KeyError:
            where = next((s for s, keys in _SECTIONS.items() if low in keys), None)
            raise ValueError(f"belongs into [{where.title()}]" if where else "unknown key") from None
        if not text and low not in _MAY_BE_EMPTY:
            raise ValueError("no value: give one, or take the line out")
        if low not in _HOOKS:
            _check_characters(text)
        value = parse(text)
        if name == "allowed_ips":
            section.replace = not any(sign for sign, _ in value)
            self._warn_host_bits(text, line)
            value = [change for _, change in value]
        if isinstance(value, list):
            section.fields.setdefault(name, []).extend(value)
            section.lines.setdefault(name, line)
            return
        if name in section.lines:
            self.warn(line, f"{key}: stands twice, first in line {section.lines[name]}: this one counts")
        if name == "endpoint" and ":" in value.host and not text.startswith("["):
            self.warn(line, f"{key}: an IPv6 address without [brackets], taken as {values.endpoint_text(value)}")
        section.fields[name] = value
        section.lines[name] = line

    def _warn_host_bits(self, text: str, line: int) -> None:
        for item in text.split(","):
            host, _, bits = item.lstrip("+-").partition("/")
            if bits and values.prefix(item.lstrip("+-")) != values.prefix(host)._replace(cidr=int(bits)):
                meant = values.prefix_text(values.prefix(item.lstrip("+-")))
                self.warn(line, f"AllowedIPs: {item} has bits beyond its prefix, taken as {meant}")


def _check_characters(text: str) -> None:
    for c in text:
        if 0xDC80 <= ord(c) <= 0xDCFF:
            raise ValueError(f"has a byte that is no UTF-8 text (0x{ord(c) - 0xDC00:02x})")
        if not c.isprintable():
            raise ValueError(f"has a character that cannot be printed (U+{ord(c):04X})")


def parse(text: str, source: str, errors: list[ConfigError] | None = None) -> TunnelFile:
    """Parses a file; `source` is its name for errors. Raises ConfigError at the first bad
    line or, where a list of errors is given, notes it there and goes on."""
    reader = _Reader(source, errors)
    reader.read(text)
    interface: dict = {}
    peers: list[PeerChange] = []
    lines: dict[int, int] = {}
    for section in reader.sections:
        if section.name == "interface":
            interface = section.fields
        elif "public_key" not in section.fields:
            reader.bad("this [Peer] has no PublicKey", section.line)
        else:
            again = any(p.public_key == section.fields["public_key"] for p in peers)
            if again:
                reader.warn(section.lines["public_key"], "a second [Peer] with this key: it changes the first")
            if "endpoint" in section.lines:
                lines[len(peers)] = section.lines["endpoint"]
            peers.append(_peer(section, again))
    return replace(_tunnel(interface, tuple(peers)), endpoint_lines=lines, warnings=tuple(reader.warnings))


def _peer(section: _Section, again: bool) -> PeerChange:
    defaults = {} if again else {"preshared_key": NO_KEY, "keepalive": 0}
    return PeerChange(**{**defaults, **section.fields, "replace_allowed_ips": section.replace,
                         "allowed_ips": tuple(section.fields.get("allowed_ips", ()))})


def _tunnel(interface: dict, peers: tuple) -> TunnelFile:
    mine = {field for field, _ in _WG.values()}
    defaults = {"private_key": NO_KEY, "listen_port": 0, "fwmark": 0}
    request = SetRequest(**{**defaults, **{k: v for k, v in interface.items() if k in mine}},
                         replace_peers=True, peers=peers)
    quick = {k: tuple(v) if isinstance(v, list) else v
             for k, v in interface.items() if k not in mine}
    names = quick.pop("dns", ())
    return TunnelFile(request, **quick, dns=tuple(n for n in names if values.is_numeric(n)),
                      search=tuple(n for n in names if not values.is_numeric(n)))


def format_wg(request: SetRequest) -> str:
    """What `wg showconf` prints: the part of a file that wg(8) itself reads."""
    return _text([], request)


def format_quick(file: TunnelFile) -> str:
    """A wg-quick(8) file; parse gives it back unchanged."""
    lists = [("Address", file.addresses), ("DNS", file.dns + file.search)]
    out = [f"{key} = {', '.join(items)}" for key, items in lists if items]
    if file.mtu is not None:
        out.append(f"MTU = {file.mtu}")
    if file.table != "auto":
        out.append(f"Table = {file.table}")
    if file.save_config:
        out.append("SaveConfig = true")
    for key, hooks in (("PreUp", file.pre_up), ("PostUp", file.post_up),
                       ("PreDown", file.pre_down), ("PostDown", file.post_down)):
        out += [f"{key} = {hook}" for hook in hooks]
    return _text(out, file.request)


def _text(quick: list[str], request: SetRequest) -> str:
    out = ["[Interface]", *quick]
    if request.listen_port:
        out.append(f"ListenPort = {request.listen_port}")
    if request.fwmark:
        out.append(f"FwMark = {request.fwmark:#x}")
    if request.private_key not in (None, NO_KEY):
        out.append(f"PrivateKey = {values.to_base64(request.private_key)}")
    for p in request.peers:
        out += ["", "[Peer]", f"PublicKey = {values.to_base64(p.public_key)}"]
        if p.preshared_key not in (None, NO_KEY):
            out.append(f"PresharedKey = {values.to_base64(p.preshared_key)}")
        if p.allowed_ips:
            plus = "" if p.replace_allowed_ips else "+"
            texts = (("-" if a.remove else plus) + values.prefix_text(a.prefix) for a in p.allowed_ips)
            out.append(f"AllowedIPs = {', '.join(texts)}")
        if p.endpoint is not None:
            out.append(f"Endpoint = {values.endpoint_text(p.endpoint)}")
        if p.keepalive:
            out.append(f"PersistentKeepalive = {p.keepalive}")
    return "\n".join(out) + "\n"


def with_endpoints(file: TunnelFile, resolved: dict[int, HostPort]) -> TunnelFile:
    """The same file with other endpoints for the peers at these places."""
    peers = tuple(replace(p, endpoint=resolved.get(i, p.endpoint)) for i, p in enumerate(file.request.peers))
    return replace(file, request=replace(file.request, peers=peers))
