"""Files of wg(8) and wg-quick(8): parsed as a whole, errors name file, line and key.

Sections and keys are case-insensitive, `#` starts a comment, lists are separated by
commas and may be continued by repeating the key. A file describes the whole tunnel:
what it leaves out is cleared, as `wg setconf` does.
"""

import re
from dataclasses import replace

from wgpy.config import values
from wgpy.config.model import (NO_KEY, PeerChange, PrefixChange, SetRequest, TunnelFile)
from wgpy.errors import ConfigError


def _items(text: str) -> list[str]:
    return [item for item in re.split(r"[,\s]+", text) if item]


def _port(text: str) -> int:
    return values.number(text, 0, 65535)


def _fwmark(text: str) -> int:
    if text.lower() == "off":
        return 0
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", text):
        return int(text, 16)
    return values.number(text, 0, 2**32 - 1)


def _keepalive(text: str) -> int:
    return 0 if text.lower() == "off" else values.number(text, 0, 65535)


def _table(text: str) -> int | str:
    if text.lower() in ("auto", "off"):
        return text.lower()
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", text):
        text = str(int(text, 16))
    try:
        return values.number(text, 1, 2**32 - 1)
    except ValueError:
        raise ValueError(f"{values.quoted(text)} is not auto, off or a table number") from None


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{values.quoted(text)} is neither true nor false")
    return text.lower() == "true"


def _allowed(text: str) -> list[PrefixChange]:
    return [PrefixChange(values.prefix(item)) for item in _items(text)]


def _addresses(text: str) -> list[str]:
    return [values.interface_address(item) for item in _items(text)]


def _hook(text: str) -> list[str]:
    if not text:
        raise ValueError("no command")
    return [text]


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
_QUICK = {
    "address": ("addresses", _addresses),
    "dns": ("dns", _dns),
    "mtu": ("mtu", lambda t: values.number(t, 68, 65535)),
    "table": ("table", _table),
    "preup": ("pre_up", _hook),
    "postup": ("post_up", _hook),
    "predown": ("pre_down", _hook),
    "postdown": ("post_down", _hook),
    "saveconfig": ("save_config", _bool),
}
_PEER = {
    "publickey": ("public_key", values.key_base64),
    "presharedkey": ("preshared_key", values.key_base64),
    "allowedips": ("allowed_ips", _allowed),
    "endpoint": ("endpoint", lambda t: values.endpoint(t, names=True)),
    "persistentkeepalive": ("keepalive", _keepalive),
}
_SECTIONS = {"interface": _WG | _QUICK, "peer": _PEER}


class _Section:
    def __init__(self, name: str, line: int):
        self.name, self.line, self.fields, self.lines = name, line, {}, {}

    def add(self, key: str, text: str, line: int) -> None:
        try:
            field, parse = _SECTIONS[self.name][key.lower()]
        except KeyError:
            where = next((s for s, keys in _SECTIONS.items() if key.lower() in keys), None)
            raise ValueError(f"belongs into [{where.title()}]" if where
                             else "unknown key") from None
        value = parse(text)
        if isinstance(value, list):
            self.fields.setdefault(field, []).extend(value)
        elif field in self.fields:
            raise ValueError(f"stands twice, first in line {self.lines[field]}")
        else:
            self.fields[field] = value
        self.lines.setdefault(field, line)


def parse(text: str, source: str) -> TunnelFile:
    """Parses a file; `source` is its name for errors. Raises ConfigError."""
    sections = _sections(text, source)
    interface: dict = {}
    peers: dict[bytes, PeerChange] = {}
    endpoint_lines = {}
    for section in sections:
        if section.name == "interface":
            if interface:
                raise ConfigError("a second [Interface] section", source=source,
                                  line=section.line)
            interface = {"": None, **section.fields}
            continue
        key = section.fields.get("public_key")
        if key is None:
            raise ConfigError("this [Peer] has no PublicKey", source=source, line=section.line)
        if key in peers:
            raise ConfigError("a second [Peer] with this key", source=source,
                              line=section.lines["public_key"], key="PublicKey")
        peers[key] = _peer(section.fields)
        if "endpoint" in section.lines:
            endpoint_lines[key] = section.lines["endpoint"]
    interface.pop("", None)
    return _tunnel(interface, tuple(peers.values()), endpoint_lines)


def _sections(text: str, source: str) -> list[_Section]:
    sections: list[_Section] = []
    for line, raw in enumerate(text.split("\n"), 1):
        bare = raw.partition("#")[0].strip()
        if not bare:
            continue
        if bare.startswith("["):
            name = bare[1:-1].strip().lower() if bare.endswith("]") else ""
            if name not in _SECTIONS:
                raise ConfigError(f"{values.quoted(bare)} is neither [Interface] nor [Peer]",
                                  source=source, line=line)
            sections.append(_Section(name, line))
            continue
        key, equals, value = (part.strip() for part in bare.partition("="))
        shown = key if re.fullmatch(r"[A-Za-z]{1,24}", key) else None
        try:
            if not equals:
                raise ValueError("no '=' in this line")
            if not sections:
                raise ValueError("before the first section")
            if not value.isprintable():
                raise ValueError("has a character that cannot be printed")
            sections[-1].add(key, value, line)
        except ValueError as e:
            raise ConfigError(str(e), source=source, line=line,
                              key=shown if equals else None) from None
    return sections


def _peer(fields: dict) -> PeerChange:
    defaults = {"preshared_key": NO_KEY, "keepalive": 0}
    return PeerChange(**{**defaults, **fields, "replace_allowed_ips": True,
                         "allowed_ips": tuple(fields.get("allowed_ips", ()))})


def _tunnel(interface: dict, peers: tuple, endpoint_lines: dict) -> TunnelFile:
    mine = {field for field, _ in _WG.values()}
    defaults = {"private_key": NO_KEY, "listen_port": 0, "fwmark": 0}
    request = SetRequest(**{**defaults, **{k: v for k, v in interface.items() if k in mine}},
                         replace_peers=True, peers=peers)
    quick = {k: tuple(v) if isinstance(v, list) else v
             for k, v in interface.items() if k not in mine}
    names = quick.pop("dns", ())
    return TunnelFile(request, **quick, endpoint_lines=endpoint_lines,
                      dns=tuple(n for n in names if values.is_numeric(n)),
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
            texts = (values.prefix_text(a.prefix) for a in p.allowed_ips)
            out.append(f"AllowedIPs = {', '.join(texts)}")
        if p.endpoint is not None:
            out.append(f"Endpoint = {values.endpoint_text(p.endpoint)}")
        if p.keepalive:
            out.append(f"PersistentKeepalive = {p.keepalive}")
    return "\n".join(out) + "\n"


def with_endpoints(file: TunnelFile, resolved: dict[bytes, object]) -> TunnelFile:
    """The same file with the endpoints of the named peers replaced."""
    peers = tuple(replace(p, endpoint=resolved.get(p.public_key, p.endpoint))
                  for p in file.request.peers)
    return replace(file, request=replace(file.request, peers=peers))
