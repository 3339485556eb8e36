"""From a TOML document to the site's dataclasses: shapes and single values.

Everything wrong is put into the report; a value that cannot be read is left out, so that
the rest is still checked.
"""

import ipaddress
import re
from collections.abc import Callable

from wgpy.config import values
from wgpy.config.model import HostPort
from wgpy.config.site_model import (CONNECTIONS, LARGE, LINK_MTU, SMALL, Firewall, Lan, Node, Peer, Permit,
                                    Site, Wan)
from wgpy.config.site_text import Path, Report, suggestion

ROOM_LINKS = {"lo", "secure0", "clear0"}  # made by the node itself, or by the kernel
_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,14}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_STATE = re.compile(r"(?:/[A-Za-z0-9_.@-]+)+/?")
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


def _named(pattern: re.Pattern, rule: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if not pattern.fullmatch(_text(value)):
            raise ValueError(f"{values.quoted(value)} is not a name: {rule}")
        return value
    return parse


_node_name = _named(_NODE_NAME, "1 to 15 letters, digits, '-' or '_', a letter or digit first")
_name = _named(_NAME, "1 to 32 letters, digits, '.', '-' or '_', a letter or digit first")


def _mode(value: object) -> str:
    if value not in (SMALL, LARGE):
        raise ValueError('must be "small" or "large"')
    return value


def _state(value: object) -> str:
    if not _STATE.fullmatch(_text(value)) or {"..", "."} & set(value.split("/")):
        raise ValueError("must be an absolute path without '..' or special characters")
    return value.rstrip("/")


def _link(value: object) -> str:
    # one that begins with a sign would be an option of ip(8)
    if not values.INTERFACE_NAME.match(_text(value)) or not (value[0].isalnum() or value[0] == "_"):
        raise ValueError(f"{values.quoted(value)} is not the name of an interface")
    if value in ROOM_LINKS:
        raise ValueError(f"{value!r} is a link of the rooms themselves")
    return value


def _public_key(value: object) -> bytes:
    key = values.key_base64(_text(value))
    if not any(key):
        raise ValueError("the key is all zeros")
    return key


def _psk(value: object) -> str:
    if re.fullmatch(r"[A-Za-z0-9+/]{43}=|[0-9a-fA-F]{64}", _text(value)):
        raise ValueError("this looks like a key: give the name it has in the key store")
    if not _NAME.fullmatch(value):
        raise ValueError("must be the name of a key in the key store")
    return value


def _unicast(address, shown: str) -> None:
    if address.is_multicast or address.is_loopback or address.is_unspecified \
            or address.version == 4 and address.is_reserved \
            or address.version == 6 and address.ipv4_mapped:
        raise ValueError(f"{values.quoted(shown)} is not an address that a host can have")


def _address(value: object):
    try:
        if "%" in _text(value):
            raise ValueError
        address = ipaddress.ip_address(value)
    except ValueError:
        raise ValueError(f"{_shown(value)} is not an address") from None
    _unicast(address, value)
    return address


def _interface(value: object):
    try:
        if "/" not in _text(value) or "%" in value:
            raise ValueError
        interface = ipaddress.ip_interface(value)
        if interface.network.prefixlen == 0:
            raise ValueError
    except ValueError:
        raise ValueError(f"{_shown(value)} is not an address with prefix length") from None
    _unicast(interface.ip, value)
    network = interface.network
    if network.prefixlen < network.max_prefixlen - 1 and interface.ip == network.network_address:
        raise ValueError(f"{values.quoted(value)} is the address of the network, not of a host")
    if interface.version == 4 and network.prefixlen < 31 \
            and interface.ip == network.broadcast_address:
        raise ValueError(f"{values.quoted(value)} is the broadcast address of its network")
    return interface


def _network(value: object):
    try:
        if "/" not in _text(value) or "%" in value:
            raise ValueError
        loose = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{_shown(value)} is not a network such as 10.1.0.0/24") from None
    if ipaddress.ip_interface(value).ip != loose.network_address:
        raise ValueError(f"{values.quoted(value)} has host bits; did you mean {str(loose)!r}?")
    return loose


def _protected(value: object):
    network = _network(value)
    if network.prefixlen == 0:
        raise ValueError("everything cannot be one protected network: name the networks")
    edge = network.network_address
    if edge.is_multicast or edge.is_loopback or edge.is_link_local or int(edge) == 0:
        raise ValueError(f"{values.quoted(value)} is not a network of hosts")
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
    if not re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", _text(value)):
        raise ValueError(f"{_shown(value)} is not a MAC address such as 02:00:5e:10:00:01")
    if int(value[:2], 16) & 1 or not int(value.replace(":", ""), 16):
        raise ValueError(f"{values.quoted(value)} is not the MAC address of one device")
    return value.lower()


def _shown(value: object) -> str:
    return values.quoted(value) if isinstance(value, str) else "this"


class _Table:
    """One table of the document, read key by key."""

    def __init__(self, report: Report, path: Path, data: object, keys: str):
        self.report, self.path = report, path
        self.data: dict = data if isinstance(data, dict) else {}
        self.present = isinstance(data, dict)
        if data is not None and not self.present:
            report.error(path, f"must be a table: [{path[0]}]")
        known = keys.split()
        for key in self.data:
            if key.lower() in _SECRETS:
                report.error(path + (key,), "secrets have no place in a site file: "
                             "they live in the key store (wgpy site seal)")
            elif key not in known:
                report.error(path + (key,), "unknown key" + suggestion(key, known))

    def one(self, key: str, parse: Callable, default=None, required: bool = False):
        if key not in self.data:
            if required and self.present:
                self.report.error(self.path, f"{key} is missing")
            return default
        try:
            return parse(self.data[key])
        except ValueError as e:
            self.report.error(self.path + (key,), str(e))
            return default

    def many(self, key: str, parse: Callable, default: tuple = (), required: bool = False,
             single: bool = False) -> tuple:
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
        out = []
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


def read(data: dict, report: Report) -> Site | None:
    """The site, or None where a part without which nothing can be checked is missing."""
    top = _Table(report, (), data, "node wan lan site permit bypass firewall")
    for key in ("node", "wan", "lan"):
        if key not in data:
            report.error((), f"[{key}] is missing")
    node, wan, lan = (part(report, data.get(key))
                      for key, part in (("node", _node), ("wan", _wan), ("lan", _lan)))
    bypass = _Table(report, ("bypass",), data.get("bypass"), "networks connections")
    firewall = _Table(report, ("firewall",), data.get("firewall"), "black red")
    default = _EVERYTHING if node.mode == SMALL else ()
    peers = tuple(_peer(report, i, d) for i, d in enumerate(_tables(top, "site")))
    permits = tuple(_permit(report, i, d) for i, d in enumerate(_tables(top, "permit")))
    return Site(node, wan, lan, peers, permits if data.get("permit") else None,
                bypass.many("networks", _network, default),
                Firewall(firewall.many("black", _statement), firewall.many("red", _statement)),
                connections=bypass.one("connections", _integer(16, 65535), CONNECTIONS))


def _tables(top: _Table, key: str) -> list:
    items = top.data.get(key, [])
    if isinstance(items, list):
        if key in top.data and not items:
            top.report.error((key,), "is empty: leave it out")
        return items
    top.report.error((key,), f"must be written [[{key}]], once for each")
    return []


def _node(report: Report, data: object) -> Node:
    t = _Table(report, ("node",), data, "name mode listen_port state public_key")
    return Node(t.one("name", _node_name, "", True), t.one("mode", _mode, "", True),
                t.one("listen_port", _integer(1, 65535), 51820), t.one("state", _state),
                t.one("public_key", _public_key))


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


def _peer(report: Report, index: int, data: object) -> Peer:
    t = _Table(report, ("site", index), data, "name public_key networks endpoints psk keepalive")
    return Peer(t.one("name", _name, "", True), t.one("public_key", _public_key, b"", True),
                t.many("networks", _protected, required=True),
                t.many("endpoints", _endpoint, single=True), t.one("psk", _psk),
                t.one("keepalive", _integer(0, 65535), 0))


def _permit(report: Report, index: int, data: object) -> Permit:
    t = _Table(report, ("permit", index), data, "from to")
    targets = t.many("to", lambda v: _network(v) if "/" in _text(v) else _name(v), required=True)
    return Permit(t.many("from", _network, required=True),
                  tuple(x for x in targets if isinstance(x, str)),
                  tuple(x for x in targets if not isinstance(x, str)))
