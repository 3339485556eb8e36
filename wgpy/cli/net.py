"""What `up` and `down` change on the host through netlink, as ip(8) would."""

import errno
import os
import socket
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from wgpy.config.model import Prefix
from wgpy.config.values import prefix_text, quoted
from wgpy.constants import TRANSPORT_OVERHEAD, UDP_OVER_IPV6
from wgpy.errors import HostError

_INVERT = 2  # FIB_RULE_INVERT
_MAIN_TABLE = 254
_MAIN_PRIORITY = 32766
_PROTO_BOOT, _SCOPE_UNIVERSE, _SCOPE_LINK = 3, 0, 253
_TABLES = {"default": 253, "main": 254, "local": 255}
_TABLE_FILES = ("/usr/lib/iproute2", "/usr/share/iproute2", "/etc/iproute2")  # later ones count
_NO_FAMILY = (errno.EAFNOSUPPORT, errno.EOPNOTSUPP)  # of a kernel that was started with ipv6.disable=1


def family(text: str) -> int:
    """AF_INET or AF_INET6 of a numeric address or prefix."""
    return socket.AF_INET6 if ":" in text else socket.AF_INET


class _Message(Protocol):
    """Of rtnetlink, as pyroute2 gives it: fields of the header, and attributes, None for one that is not there."""

    def __getitem__(self, field: str) -> int: ...

    def get_attr(self, name: str) -> Any: ...


class Host:
    """One namespace. Methods raise HostError that says what was tried."""

    def __init__(self) -> None:
        self._ip = IPRoute()

    def close(self) -> None:
        """The netlink socket, nothing of the namespace."""
        self._ip.close()

    def index(self, name: str) -> int | None:
        """None when there is no such interface."""
        found: list[int] = self._ip.link_lookup(ifname=name)
        return found[0] if found else None

    def _there(self, name: str) -> int:
        index = self.index(name)
        if index is None:
            raise HostError(f"{name}: the interface is gone")
        return index

    def delete_link(self, name: str) -> None:
        """No-op when there is no such interface."""
        index = self.index(name)
        if index is not None:
            self._do(f"delete {name}", self._ip.link, "del", index=index)

    def add_address(self, name: str, address: str) -> None:
        """"address/cidr", host bits kept."""
        host, _, cidr = address.partition("/")
        self._do(f"address {address}", self._ip.addr, "add", index=self._there(name), address=host,
                 prefixlen=int(cidr), family=family(host))

    def addresses(self, name: str, *, of_the_link: bool = False) -> list[str]:
        """Global addresses of the interface, as "address/cidr"; link-local ones if wanted."""
        return [f"{a.get_attr('IFA_ADDRESS')}/{a['prefixlen']}"
                for a in self._ip.get_addr(index=self._there(name)) if of_the_link or a["scope"] != _SCOPE_LINK]

    def bring_up(self, name: str, mtu: int) -> None:
        """`mtu` in bytes."""
        self._do(f"MTU {mtu}", self._ip.link, "set", index=self._there(name), mtu=mtu, state="up")

    def mtu(self, name: str) -> int:
        """Bytes."""
        return self._mtu_of(self._there(name))

    def _mtu_of(self, index: int) -> int:
        return int(self._ip.get_links(index)[0].get_attr("IFLA_MTU"))

    def tunnel_mtu(self, endpoints: list[str], overhead: int = TRANSPORT_OVERHEAD) -> int:
        """The smallest MTU on the way to an endpoint, else of the default route, else
        1500, less headers and `overhead`, that of a transport message (wg-quick(8) since 2025)."""
        found = [self._route_mtu(partial(self._ip.route, "get", dst=host.partition("%")[0], family=family(host)))
                 for host in endpoints]
        if not any(found):
            found = [self._route_mtu(lambda: self._ip.get_default_routes(socket.AF_INET, table=_MAIN_TABLE))]
        return (min((mtu for mtu in found if mtu), default=1500)) - UDP_OVER_IPV6 - overhead

    def way_to(self, address: str, mark: int = 0) -> str | None:
        """The interface by which a marked datagram to it leaves; None without a route."""
        try:
            (route,) = self._ip.route("get", dst=address, family=family(address), **({"mark": mark} if mark else {}))
            device = route.get_attr("RTA_OIF")
            return str(self._ip.get_links(device)[0].get_attr("IFLA_IFNAME")) if device else None
        except (NetlinkError, ValueError):
            return None

    def _route_mtu(self, look: Callable[[], Iterable[_Message]]) -> int:
        try:
            routes = list(look())
        except NetlinkError:  # unreachable: says nothing about the MTU
            return 0
        for route in routes:
            metrics = route.get_attr("RTA_METRICS")
            mtu = metrics.get_attr("RTAX_MTU") if metrics else None
            device = route.get_attr("RTA_OIF")
            if mtu or device:
                return int(mtu) if mtu else self._mtu_of(device)
        return 0

    def add_route(self, name: str, prefix: Prefix, table: int = _MAIN_TABLE) -> None:
        """Without a next hop the scope is the link (IPv4), or nothing could be routed via it."""
        text = prefix_text(prefix)
        v4 = len(prefix.address) == 4
        self._do(f"route {text}", self._ip.route, "add", dst=text, oif=self._there(name), family=family(text),
                 table=table or _MAIN_TABLE, proto=_PROTO_BOOT, scope=_SCOPE_LINK if v4 else _SCOPE_UNIVERSE)

    def covered(self, name: str, prefix: Prefix) -> bool:
        """Whether the main table has a route through the interface that holds all of it."""
        af = socket.AF_INET if len(prefix.address) == 4 else socket.AF_INET6
        for route in self._routes(af, oif=self._there(name), table=_MAIN_TABLE):
            cidr, dst = route["dst_len"], route.get_attr("RTA_DST")
            have = socket.inet_pton(af, dst) if dst else bytes(len(prefix.address))
            if cidr <= prefix.cidr and _cut(have, cidr) == _cut(prefix.address, cidr):
                return True
        return False

    def free_table(self, taken: set[int]) -> int:
        """A table number without routes and rules that is nobody's mark, 51820 or above,
        which becomes the mark too."""
        used = set(taken)
        for af in (socket.AF_INET, socket.AF_INET6):
            used |= {r.get_attr("RTA_TABLE") or r["table"] for r in self._routes(af)}
            for rule in self._rules(af):
                used |= {rule.get_attr("FRA_TABLE") or rule["table"], rule.get_attr("FRA_FWMARK") or 0}
        return next(n for n in range(51820, 2**31) if n not in used)

    def place_for_rules(self, af: int) -> int:
        """The priority of a rule in front of all others, with room for one before it."""
        return min((self._priority(r) for r in self._rules(af) if self._priority(r) > 1),
                   default=_MAIN_PRIORITY) - 1

    def add_rules(self, af: int, table: int, place: int) -> None:
        """Everything unmarked goes by `table`, unless main has more than a default for it."""
        self._do(f"rule for table {table}", self._ip.rule, "add", family=af, table=table, fwmark=table,
                 flags=_INVERT, priority=place)
        self._do("rule for main", self._ip.rule, "add", family=af, table=_MAIN_TABLE,
                 FRA_SUPPRESS_PREFIXLEN=0, priority=place - 1)

    def rules_of(self, table: int) -> list[tuple[int, int]]:
        """(family, priority) of the rules that somebody added as add_rules does."""
        return [(af, self._priority(r)) for af in (socket.AF_INET, socket.AF_INET6)
                for r in self._rules(af) if self._is_ours(r, table)]

    def delete_rules(self, af: int, table: int, place: int) -> None:
        """Those of `add_rules` that are there."""
        for rule in self._rules(af):
            at = self._priority(rule)
            if at == place and self._is_ours(rule, table):
                self._do("rule", self._ip.rule, "del", family=af, table=table, fwmark=table, flags=_INVERT, priority=at)
            elif at == place - 1 and rule.get_attr("FRA_SUPPRESS_PREFIXLEN") == 0:
                self._do("rule", self._ip.rule, "del", family=af, table=_MAIN_TABLE,
                         FRA_SUPPRESS_PREFIXLEN=0, priority=at)

    def is_others(self, name: str, af: int, table: int) -> bool:
        """Of a tunnel that died: whether another has taken its table and its place, so that
        the only rule for the table is that one's. An interface leaves the list before its routes
        go (net/core/dev.c, unregister_netdevice_many): those of none that is listed are the dead one's."""
        devices = [route.get_attr("RTA_OIF") for route in self._routes(af, table=table)]
        listed = {link["index"] for link in self._ip.get_links()} if devices else set()
        return (self.index(name) is None and any(device is None or device in listed for device in devices)
                and sum(family == af for family, _ in self.rules_of(table)) < 2)

    def _routes(self, af: int, **match: int) -> list[_Message]:
        return self._dump("routes", self._ip.get_routes, af, match)

    def _rules(self, af: int) -> list[_Message]:
        return self._dump("rules", self._ip.get_rules, af, {})

    @staticmethod
    def _dump(what: str, call: Callable[..., Iterable[_Message]], af: int, match: dict[str, int]) -> list[_Message]:
        """Of one family, of which a kernel without it has none: it answers with an error, or
        with the other family's."""
        try:
            return [m for m in call(family=af, **match) if m["family"] == af]
        except NetlinkError as e:
            if e.code in _NO_FAMILY:
                return []
            raise HostError(f"{what}: {os.strerror(e.code)}{_hint(e.code, af)}") from None

    @staticmethod
    def _is_ours(rule: _Message, table: int) -> bool:
        return bool(rule.get_attr("FRA_TABLE") == table and rule.get_attr("FRA_FWMARK") == table)

    @staticmethod
    def _priority(rule: _Message) -> int:
        return int(rule.get_attr("FRA_PRIORITY") or 0)

    @staticmethod
    def _do(what: str, call: Callable[..., object], command: str, **message: int | str) -> None:
        try:
            call(command, **message)
        except (NetlinkError, OSError) as e:
            code = e.code if isinstance(e, NetlinkError) else e.errno
            raise HostError(f"{what}: {os.strerror(code or errno.EIO)}{_hint(code, message.get('family'))}") from None


def _hint(code: int | None, af: int | str | None) -> str:
    """EACCES is what the kernel answers for IPv6 on an interface where that is disabled."""
    if af == socket.AF_INET6 and code in (errno.EACCES, *_NO_FAMILY):
        return (" (IPv6 is disabled here: sysctl net.ipv6.conf.*.disable_ipv6)"
                if code == errno.EACCES else " (the kernel runs without IPv6)")
    if code in (errno.EPERM, errno.EACCES):
        return " (run as root)" if os.geteuid() else " (CAP_NET_ADMIN is needed)"
    return ""


def _cut(address: bytes, cidr: int) -> int:
    return int.from_bytes(address, "big") >> (8 * len(address) - cidr)


def table_number(table: int | str) -> int:
    """Of a routing table by number or by name, as ip-route(8) knows them. Raises HostError."""
    if isinstance(table, int):
        return table
    known = dict(_TABLES)
    for directory in _TABLE_FILES:
        for path in (Path(directory, "rt_tables"), *sorted(Path(directory, "rt_tables.d").glob("*.conf"))):
            try:
                lines = path.read_text(errors="replace").splitlines()
            except OSError:
                continue
            for words in (line.partition("#")[0].split() for line in lines):
                if len(words) == 2:
                    try:
                        known[words[1]] = int(words[0], 0)
                    except ValueError:
                        continue
    if table not in known:
        raise HostError(f"Table: {quoted(table)} is no routing table of this host (/etc/iproute2/rt_tables)")
    return known[table]
