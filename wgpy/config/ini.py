"""Files of wg(8) and wg-quick(8): every form that those read, errors that name file, line
and key. docs/tunnels.md has the table of forms.

Section names, keys and the values of wg(8) may have white space anywhere; sections and
keys are case-insensitive; `#` starts a comment except in a hook, where bash(1) decides;
lists are separated by commas. Of a value that is repeated the last counts, which is warned
about. A file describes the whole tunnel: what it leaves out is cleared, as `wg setconf` does.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypedDict, cast

from wgpy.config import values
from wgpy.config.ini_keys import HOOKS, MAY_BE_EMPTY, QUICK, SECTIONS, SUITE, WG, Allowed
from wgpy.config.model import NO_KEY, WIREGUARD_KEYS, HostPort, KeySizes, PeerChange, PrefixChange, SetRequest, SuiteFile, TunnelFile
from wgpy.errors import ConfigError

_SPACE = " \t\n\v\f\r"  # isspace(3) in the C locale, as wg(8) has it
_NAMES_SUITE = re.compile(r"(?im)^\s*s\s*u\s*i\s*t\s*e")  # a key may have white space anywhere
_UNSPACE = str.maketrans("", "", _SPACE)


def decode(data: bytes, source: str) -> str:
    """The bytes of a file as text. What is no UTF-8 is kept as it is (surrogateescape):
    in comments and hooks it does no harm. Raises ConfigError."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError("is UTF-16 text: save it as UTF-8", source=source)
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


class _WgFields(TypedDict, total=False):
    """What the parsers of WG return; so the next ones."""
    private_key: bytes
    listen_port: int
    fwmark: int


class _QuickFields(TypedDict, total=False):
    mtu: int | None
    table: int | str
    save_config: bool


class _QuickLists(TypedDict, total=False):
    addresses: tuple[str, ...]
    pre_up: tuple[str, ...]
    post_up: tuple[str, ...]
    pre_down: tuple[str, ...]
    post_down: tuple[str, ...]


class _PeerFields(TypedDict, total=False):
    preshared_key: bytes
    endpoint: HostPort
    keepalive: int


@dataclass
class _Section:
    name: str
    line: int
    fields: dict[str, object] = field(default_factory=dict)
    lists: dict[str, list[object]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    replace: bool = True  # of a [Peer]: whether its AllowedIPs replace those before


class _Reader:
    """One pass over a file. With `errors` a bad line is noted there and passed over. `sizes`: of keys
    by the names of WG and PEER, None: any."""

    def __init__(self, source: str, errors: list[ConfigError] | None, sizes: Mapping[str, int | None]):
        self.source, self._errors, self._sizes = source, errors, sizes
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
        if name not in SECTIONS:
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
            if key.lower() in HOOKS:
                value = raw.partition("=")[2]
            elif key.lower() not in (*QUICK, *SUITE):
                value = value.translate(_UNSPACE)
            self._add(self.sections[-1], key, value.strip(_SPACE), line)
        except ValueError as e:
            self.bad(str(e), line, shown)

    def _add(self, section: _Section, key: str, text: str, line: int) -> None:
        low = key.lower()
        try:
            name, parse = SECTIONS[section.name][low]
        except KeyError:
            where = next((s for s, keys in SECTIONS.items() if low in keys), None)
            raise ValueError(f"belongs into [{where.title()}]" if where else "unknown key") from None
        if not text and low not in MAY_BE_EMPTY:
            raise ValueError("no value: give one, or take the line out")
        if low not in HOOKS:
            _check_characters(text)
        value = values.key_base64(text, self._sizes[low]) if low in self._sizes else parse(text)
        if isinstance(value, Allowed):
            section.replace = not value.signed
            self._warn_host_bits(text, line)
            value = value.changes
        if isinstance(value, list):
            section.lists.setdefault(name, []).extend(value)
            section.lines.setdefault(name, line)
            return
        if name in section.lines:
            self.warn(line, f"{key}: stands twice, first in line {section.lines[name]}: this one counts")
        if isinstance(value, HostPort) and ":" in value.host and not text.startswith("["):
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


def parse(text: str, source: str, errors: list[ConfigError] | None = None, sizes: KeySizes | None = None) -> TunnelFile:
    """Parses a file; `source` is its name for errors. Raises ConfigError at the first bad
    line or, where a list of errors is given, notes it there and goes on. `sizes`: of the suite that
    it names; None where nobody has asked its library: keys may then have any length."""
    if sizes is None and not _NAMES_SUITE.search(text):
        sizes = WIREGUARD_KEYS
    private, public = sizes or (None, None)
    reader = _Reader(source, errors, {"privatekey": private, "publickey": public, "presharedkey": len(NO_KEY)})
    reader.read(text)
    interface = _Section("interface", 1)
    peers: list[PeerChange] = []
    lines: dict[int, int] = {}
    for section in reader.sections:
        if section.name == "interface":
            interface = section
        elif "public_key" not in section.fields:
            reader.bad("this [Peer] has no PublicKey", section.line)
        else:
            again = any(p.public_key == section.fields["public_key"] for p in peers)
            if again:
                reader.warn(section.lines["public_key"], "a second [Peer] with this key: it changes the first")
            if "endpoint" in section.lines:
                lines[len(peers)] = section.lines["endpoint"]
            peers.append(_peer(section, again))
    suite = _suite(interface, reader)
    return replace(_tunnel(interface, tuple(peers)), suite=suite, endpoint_lines=lines, warnings=tuple(reader.warnings))


def _suite(section: _Section, reader: _Reader) -> SuiteFile | None:
    library, sha256 = (cast(str | None, section.fields.pop(name, None)) for name in ("suite_library", "suite_sha256"))
    if library is None and sha256 is None:
        return None
    if library is None or sha256 is None:
        at = section.lines.get("suite_library") or section.lines["suite_sha256"]
        reader.bad("SuiteLibrary and SuiteSha256 stand together: one is missing", at)
        return None
    return SuiteFile(library, sha256)


def _peer(section: _Section, again: bool) -> PeerChange:
    said = dict(section.fields)
    public_key = cast(bytes, said.pop("public_key"))
    fields: _PeerFields = {} if again else {"preshared_key": NO_KEY, "keepalive": 0}
    fields.update(cast(_PeerFields, said))
    return PeerChange(public_key, **fields, replace_allowed_ips=section.replace,
                      allowed_ips=tuple(cast(list[PrefixChange], section.lists.get("allowed_ips", []))))


def _tunnel(interface: _Section, peers: tuple[PeerChange, ...]) -> TunnelFile:
    mine = {field for field, _ in WG.values()}
    fields: _WgFields = {"private_key": NO_KEY, "listen_port": 0, "fwmark": 0}
    fields.update(cast(_WgFields, {k: v for k, v in interface.fields.items() if k in mine}))
    quick = cast(_QuickFields, {k: v for k, v in interface.fields.items() if k not in mine})
    lists = {name: tuple(cast(list[str], items)) for name, items in interface.lists.items()}
    names = lists.pop("dns", ())
    return TunnelFile(SetRequest(**fields, replace_peers=True, peers=peers), **quick, **cast(_QuickLists, lists),
                      dns=tuple(n for n in names if values.is_numeric(n)),
                      search=tuple(n for n in names if not values.is_numeric(n)))


def format_wg(request: SetRequest) -> str:
    """What `wg showconf` prints: the part of a file that wg(8) itself reads."""
    return _text([], request)


def format_quick(file: TunnelFile) -> str:
    """A wg-quick(8) file; parse gives it back unchanged."""
    lists = [("Address", file.addresses), ("DNS", file.dns + file.search)]
    out = [f"{key} = {', '.join(items)}" for key, items in lists if items]
    if file.suite is not None:
        out += [f"SuiteLibrary = {file.suite.library}", f"SuiteSha256 = {file.suite.sha256}"]
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
    if request.private_key is not None and request.private_key != NO_KEY:
        out.append(f"PrivateKey = {values.to_base64(request.private_key)}")
    for p in request.peers:
        out += ["", "[Peer]", f"PublicKey = {values.to_base64(p.public_key)}"]
        if p.preshared_key is not None and p.preshared_key != NO_KEY:
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
