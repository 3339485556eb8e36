"""From a TOML document to the site's dataclasses: shapes and single values.

Everything wrong is put into the report; a value that cannot be read is left out, so that
the rest is still checked.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import TypeVar, overload

from wgpy.config import values
from wgpy.config.model import HostPort, SuiteFile
from wgpy.config.site_model import (
    CONNECTIONS,
    LARGE,
    LINK_MTU,
    SMALL,
    Address,
    Firewall,
    Interface,
    Lan,
    Network,
    Node,
    Peer,
    Permit,
    Site,
    SuiteSizes,
    Wan,
)
from wgpy.config.site_text import Path, Report, suggestion

_T = TypeVar("_T")

ROOM_LINKS = {"lo", "secure0", "clear0"}  # made by the node itself, or by the kernel
_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,14}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_EVERYTHING = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
_STATEMENT = re.compile(r"(ip6?|icmp(v6)?|tcp|udp|meta|ct|iif(name)?|ether|limit|th|fib)\b")
_VERDICT = re.compile(r"\b(accept|drop)$")
_FORBIDDEN = re.compile(r"\b(reject|jump|goto|queue|include|define|redefine|undefine|return"
                        r"|continue|dup|fwd|masquerade|[sd]nat|redirect|tproxy|notrack|log)\b")
_SECRETS = {"private_key", "privatekey", "preshared_key", "presharedkey"}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string in quotes")
    return value


def _integer(low: int, high: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"must be a number from {low} to {high}")
        return value
    return parse


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _named(pattern: re.Pattern[str], rule: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        text = _text(value)
        if not pattern.fullmatch(text):
            raise ValueError(f"{values.quoted(text)} is not a name: {rule}")
        return text
    return parse


_node_name = _named(_NODE_NAME, "1 to 15 letters, digits, '-' or '_', a letter or digit first")
_name = _named(_NAME, "1 to 32 letters, digits, '.', '-' or '_', a letter or digit first")


def _mode(value: object) -> str:
    if not isinstance(value, str) or value not in (SMALL, LARGE):
        raise ValueError('must be "small" or "large"')
    return value


def _path(value: object) -> str:
    return values.absolute_path(_text(value))


def _link(value: object) -> str:
    name = _text(value)
    # one that begins with a sign would be an option of ip(8)
    if not values.INTERFACE_NAME.match(name) or not (name[0].isalnum() or name[0] == "_"):
        raise ValueError(f"{values.quoted(name)} is not the name of an interface")
    if name in ROOM_LINKS:
        raise ValueError(f"{name!r} is a link of the rooms themselves")
    return name


def _public_key(size: int | None) -> Callable[[object], bytes]:
    def parse(value: object) -> bytes:
        key = values.key_base64(_text(value), size)
        if not any(key):
            raise ValueError("the key is all zeros")
        return key
    return parse


def _digest(value: object) -> str:
    return values.sha256(_text(value))


def _psk(value: object) -> str:
    name = _text(value)
    if re.fullmatch(r"[A-Za-z0-9+/]{43}=|[0-9a-fA-F]{64}", name):
        raise ValueError("this looks like a key: give the name it has in the key store")
    if not _NAME.fullmatch(name):
        raise ValueError("must be the name of a key in the key store")
    return name


def _unicast(address: Address, shown: str) -> None:
    special = address.is_reserved if isinstance(address, ipaddress.IPv4Address) else address.ipv4_mapped
    if address.is_multicast or address.is_loopback or address.is_unspecified or special:
        raise ValueError(f"{values.quoted(shown)} is not an address that a host can have")


def _address(value: object) -> Address:
    try:
        text = _text(value)
        if "%" in text:
            raise ValueError
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{_shown(value)} is not an address") from None
    _unicast(address, text)
    return address


def _interface(value: object) -> Interface:
    try:
        text = _text(value)
        if "/" not in text or "%" in text:
            raise ValueError
        interface = ipaddress.ip_interface(text)
        if interface.network.prefixlen == 0:
            raise ValueError
    except ValueError:
        raise ValueError(f"{_shown(value)} is not an address with prefix length") from None
    _unicast(interface.ip, text)
    network = interface.network
    if network.prefixlen < network.max_prefixlen - 1 and interface.ip == network.network_address:
        raise ValueError(f"{values.quoted(text)} is the address of the network, not of a host")
    if interface.version == 4 and network.prefixlen < 31 \
            and interface.ip == network.broadcast_address:
        raise ValueError(f"{values.quoted(text)} is the broadcast address of its network")
    return interface


def _network(value: object) -> Network:
    try:
        text = _text(value)
        if "/" not in text or "%" in text:
            raise ValueError
        loose = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{_shown(value)} is not a network such as 10.1.0.0/24") from None
    if ipaddress.ip_interface(text).ip != loose.network_address:
        raise ValueError(f"{values.quoted(text)} has host bits; did you mean {str(loose)!r}?")
    return loose


def _protected(value: object) -> Network:
    network = _network(value)
    if network.prefixlen == 0:
        raise ValueError("everything cannot be one protected network: name the networks")
    edge = network.network_address
    if edge.is_multicast or edge.is_loopback or edge.is_link_local or int(edge) == 0:
        raise ValueError(f"{_shown(value)} is not a network of hosts")
    return network


def _endpoint(value: object) -> HostPort:
    endpoint = values.endpoint(_text(value), names=True)
    if not values.is_numeric(endpoint.host):
        raise ValueError(f"{values.quoted(endpoint.host)}: an endpoint is a numeric address, "
                         "no room resolves names")
    _unicast(ipaddress.ip_address(endpoint.host), endpoint.host)
    return endpoint


def _statement(value: object) -> str:
    """A line of nftables that cannot leave its chain; what it means is for `nft -c`."""
    line = _text(value).strip()
    if not line.isascii() or not line.isprintable() or len(line) > 400:
        raise ValueError("must be one line of printable ASCII, 400 characters at most")
    if set(line) & set(";#\\$`'\""):
        raise ValueError("must be one statement: no quotes, no ; # \\ $ or `")
    if not re.fullmatch(r"[^{}]*(\{[^{}]*\}[^{}]*)*", line):
        raise ValueError("braces may only enclose a set such as { 22, 80 }")
    if found := _FORBIDDEN.search(line):
        raise ValueError(f"{found[0]!r} is not allowed here: an addition accepts or drops")
    if not _STATEMENT.match(line) or not _VERDICT.search(line):
        raise ValueError("must match something and end in accept or drop")
    return line


def _mac(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", text):
        raise ValueError(f"{_shown(text)} is not a MAC address such as 02:00:5e:10:00:01")
    if int(text[:2], 16) & 1 or not int(text.replace(":", ""), 16):
        raise ValueError(f"{values.quoted(text)} is not the MAC address of one device")
    return text.lower()


def _shown(value: object) -> str:
    return values.quoted(value) if isinstance(value, str) else "this"


class _Table:
    """One table of the document, read key by key."""

    def __init__(self, report: Report, path: Path, data: object, keys: str):
        self.report, self.path = report, path
        self.data: dict[str, object] = data if isinstance(data, dict) else {}
        self.present = isinstance(data, dict)
        if data is not None and not self.present:
            report.error(path, f"must be a table: [{path[0]}]")
        known = keys.split()
        for key in self.data:
            if key.lower() in _SECRETS:
                report.error(path + (key,), "secrets have no place in a site file: "
                             "they live in the key store (wgpy keys seal)")
            elif key not in known:
                report.error(path + (key,), "unknown key" + suggestion(key, known))

    @overload
    def one(self, key: str, parse: Callable[[object], _T]) -> _T | None: ...

    @overload
    def one(self, key: str, parse: Callable[[object], _T], default: _T, required: bool = False) -> _T: ...

    def one(self, key: str, parse: Callable[[object], _T], default: _T | None = None, required: bool = False) -> _T | None:
        if key not in self.data:
            if required and self.present:
                self.report.error(self.path, f"{key} is missing")
            return default
        try:
            return parse(self.data[key])
        except ValueError as e:
            self.report.error(self.path + (key,), str(e))
            return default

    def many(self, key: str, parse: Callable[[object], _T], default: tuple[_T, ...] = (), required: bool = False,
             single: bool = False) -> tuple[_T, ...]:
        """A list without repetitions; `single`: one value may stand without brackets."""
        if key not in self.data:
            if required and self.present:
                self.report.error(self.path, f"{key} is missing")
            return default
        path, items = self.path + (key,), self.data[key]
        if single and isinstance(items, str):
            items = [items]
        if not isinstance(items, list):
            self.report.error(path, "must be a list in [brackets]")
            return default
        if required and not items:
            self.report.error(path, "is empty")
        out: list[_T] = []
        for index, item in enumerate(items):
            try:
                value = parse(item)
                if value in out:
                    raise ValueError(f"{_shown(item)} stands twice")
                out.append(value)
                self.report.places[path, value] = path + (index,)
            except ValueError as e:
                self.report.error(path + (index,), str(e))
        return tuple(out)


def read(data: Mapping[str, object], report: Report, sizes: SuiteSizes | None) -> Site | None:
    """The site, or None where a part without which nothing can be checked is missing. `sizes`:
    of the suite that it names, None: not known."""
    top = _Table(report, (), data, "node wan lan site permit bypass firewall suite")
    for key in ("node", "wan", "lan"):
        if key not in data:
            report.error((), f"[{key}] is missing")
    suite = _suite(report, data.get("suite"))
    public = _public_key(sizes.public if sizes else SuiteSizes().public if suite is None else None)
    node, wan, lan = _node(report, data.get("node"), public), _wan(report, data.get("wan")), _lan(report, data.get("lan"))
    bypass = _Table(report, ("bypass",), data.get("bypass"), "networks connections")
    firewall = _Table(report, ("firewall",), data.get("firewall"), "black red")
    default = _EVERYTHING if node.mode == SMALL else ()
    peers = tuple(_peer(report, i, d, public) for i, d in enumerate(_tables(top, "site")))
    permits = tuple(_permit(report, i, d) for i, d in enumerate(_tables(top, "permit")))
    return Site(node, wan, lan, peers, permits if data.get("permit") else None,
                bypass.many("networks", _network, default),
                Firewall(firewall.many("black", _statement), firewall.many("red", _statement)),
                connections=bypass.one("connections", _integer(16, 65535), CONNECTIONS),
                suite=suite, overhead=(sizes or SuiteSizes()).overhead)


def _tables(top: _Table, key: str) -> list[object]:
    items = top.data.get(key, [])
    if isinstance(items, list):
        if key in top.data and not items:
            top.report.error((key,), "is empty: leave it out")
        return items
    top.report.error((key,), f"must be written [[{key}]], once for each")
    return []


def _suite(report: Report, data: object) -> SuiteFile | None:
    t = _Table(report, ("suite",), data, "library sha256")
    return SuiteFile(t.one("library", _path, "", True), t.one("sha256", _digest, "", True)) if data is not None else None


def _node(report: Report, data: object, key: Callable[[object], bytes]) -> Node:
    t = _Table(report, ("node",), data, "name mode listen_port state public_key")
    return Node(t.one("name", _node_name, "", True), t.one("mode", _mode, "", True),
                t.one("listen_port", _integer(1, 65535), 51820), t.one("state", _path),
                t.one("public_key", key))


def _wan(report: Report, data: object) -> Wan:
    t = _Table(report, ("wan",), data, "interface addresses gateway gateway_mac mtu discovery")
    dhcp = isinstance(data, dict) and data.get("addresses") in ("dhcp", ["dhcp"])
    return Wan(t.one("interface", _link, "", True),
               () if dhcp else t.many("addresses", _interface, required=True), dhcp,
               t.many("gateway", _address, single=True),
               t.one("mtu", _integer(576, 65535), LINK_MTU),
               t.many("gateway_mac", _mac, single=True), t.one("discovery", _flag, False))


def _lan(report: Report, data: object) -> Lan:
    t = _Table(report, ("lan",), data, "interface addresses networks gateway mtu")
    addresses = t.many("addresses", _interface, required=True)
    own = tuple(dict.fromkeys(a.network for a in addresses if not a.ip.is_link_local))
    return Lan(t.one("interface", _link, "", True), addresses,
               t.many("networks", _protected, own, required="networks" in t.data),
               t.many("gateway", _address, single=True),
               t.one("mtu", _integer(576, 65535)))


def _peer(report: Report, index: int, data: object, key: Callable[[object], bytes]) -> Peer:
    t = _Table(report, ("site", index), data, "name public_key networks endpoints psk keepalive")
    return Peer(t.one("name", _name, "", True), t.one("public_key", key, b"", True),
                t.many("networks", _protected, required=True),
                t.many("endpoints", _endpoint, single=True), t.one("psk", _psk),
                t.one("keepalive", _integer(0, 65535), 0))


def _target(value: object) -> Network | str:
    return _network(value) if "/" in _text(value) else _name(value)


def _permit(report: Report, index: int, data: object) -> Permit:
    t = _Table(report, ("permit", index), data, "from to")
    targets = t.many("to", _target, required=True)
    return Permit(t.many("from", _network, required=True),
                  tuple(x for x in targets if isinstance(x, str)),
                  tuple(x for x in targets if not isinstance(x, str)))
