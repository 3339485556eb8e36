"""What `up` and `down` change on the host, through pyroute2, nft and resolvconf."""

import errno
import os
import re
import shutil
import socket
import subprocess

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from wgpy.config.model import Prefix
from wgpy.config.values import prefix_text
from wgpy.errors import HostError

_INVERT = 2  # FIB_RULE_INVERT
_MAIN_TABLE = 254
_MAIN_PRIORITY = 32766
_OVERHEAD = 80  # IPv6, UDP, header and tag: what the tunnel takes from the MTU


def family(text: str) -> int:
    return socket.AF_INET6 if ":" in text else socket.AF_INET


class Host:
    """One namespace. Methods raise HostError that says what was tried."""

    def __init__(self):
        self._ip = IPRoute()

    def close(self) -> None:
        self._ip.close()

    def index(self, name: str) -> int | None:
        found = self._ip.link_lookup(ifname=name)
        return found[0] if found else None

    def delete_link(self, name: str) -> None:
        index = self.index(name)
        if index is not None:
            self._do(f"delete {name}", self._ip.link, "del", index=index)

    def add_address(self, name: str, address: str) -> None:
        host, _, cidr = address.partition("/")
        self._do(f"address {address}", self._ip.addr, "add", index=self.index(name), address=host,
                 prefixlen=int(cidr), family=family(host))

    def addresses(self, name: str) -> list[str]:
        """Global addresses of the interface, as "address/cidr"."""
        return [f"{a.get_attr('IFA_ADDRESS')}/{a['prefixlen']}"
                for a in self._ip.get_addr(index=self.index(name)) if a["scope"] != 253]

    def bring_up(self, name: str, mtu: int) -> None:
        self._do(f"MTU {mtu}", self._ip.link, "set", index=self.index(name), mtu=mtu, state="up")

    def mtu(self, name: str) -> int:
        return self._ip.get_links(self.index(name))[0].get_attr("IFLA_MTU")

    def tunnel_mtu(self, endpoints: list[str]) -> int:
        """The largest MTU on the way to an endpoint, else of the default route, else
        1500, less the tunnel's overhead (wg-quick(8))."""
        found = [self._route_mtu(lambda h=host: self._ip.route("get", dst=h.partition("%")[0],
                                                              family=family(h))) for host in endpoints]
        if not any(found):
            found = [self._route_mtu(lambda: self._ip.get_default_routes(socket.AF_INET, table=_MAIN_TABLE))]
        return (max(found) or 1500) - _OVERHEAD

    def _route_mtu(self, look) -> int:
        try:
            routes = list(look())
        except NetlinkError:  # unreachable: says nothing about the MTU
            return 0
        for route in routes:
            metrics = route.get_attr("RTA_METRICS")
            mtu = metrics.get_attr("RTAX_MTU") if metrics else None
            device = route.get_attr("RTA_OIF")
            if mtu or device:
                return mtu or self._ip.get_links(device)[0].get_attr("IFLA_MTU")
        return 0

    def add_route(self, name: str, prefix: Prefix, table: int | None = None) -> None:
        text = prefix_text(prefix)
        self._do(f"route {text}", self._ip.route, "add", dst=text, oif=self.index(name),
                 family=family(text), table=table or _MAIN_TABLE)

    def free_table(self) -> int:
        """A table number without routes, 51820 or above, which becomes the mark too."""
        used = {r.get_attr("RTA_TABLE") or r["table"] for f in (socket.AF_INET, socket.AF_INET6)
                for r in self._ip.get_routes(family=f)}
        return next(n for n in range(51820, 2**31) if n not in used)

    def add_rules(self, af: int, table: int) -> None:
        """Everything unmarked goes by `table`, unless main has more than a default for
        it. The two rules stand next to each other, in front of all others."""
        lowest = min((self._priority(r) for r in self._ip.get_rules(family=af)
                      if self._priority(r) > 1), default=_MAIN_PRIORITY)
        self._do(f"rule for table {table}", self._ip.rule, "add", family=af, table=table, fwmark=table,
                 flags=_INVERT, priority=lowest - 1)
        try:
            self._do("rule for main", self._ip.rule, "add", family=af, table=_MAIN_TABLE,
                     FRA_SUPPRESS_PREFIXLEN=0, priority=lowest - 2)
        except HostError:
            self.delete_rules(table)
            raise

    def delete_rules(self, table: int) -> None:
        for af in (socket.AF_INET, socket.AF_INET6):
            rules = list(self._ip.get_rules(family=af))
            ours = [r for r in rules if r.get_attr("FRA_TABLE") == table and r.get_attr("FRA_FWMARK") == table]
            for rule in ours:
                at = self._priority(rule)
                self._do("rule", self._ip.rule, "del", family=af, table=table, fwmark=table,
                         flags=_INVERT, priority=at)
                if any(self._priority(r) == at - 1 and r.get_attr("FRA_SUPPRESS_PREFIXLEN") == 0 for r in rules):
                    self._do("rule", self._ip.rule, "del", family=af, table=_MAIN_TABLE,
                             FRA_SUPPRESS_PREFIXLEN=0, priority=at - 1)

    @staticmethod
    def _priority(rule) -> int:
        return rule.get_attr("FRA_PRIORITY") or 0

    @staticmethod
    def _do(what: str, call, *args, **kwargs):
        try:
            return call(*args, **kwargs)
        except (NetlinkError, OSError) as e:
            code = e.code if isinstance(e, NetlinkError) else e.errno
            hint = " (run as root)" if code in (errno.EPERM, errno.EACCES) else ""
            raise HostError(f"{what}: {os.strerror(code or errno.EIO)}{hint}") from None


def firewall_name(interface: str) -> str:
    return "wgpy-" + re.sub(r"[^A-Za-z0-9_-]", "_", interface)


def guard(interface: str, mark: int, addresses: list[str]) -> None:
    """For a default route: nobody else may send to the tunnel's addresses past it, and
    answers to the tunnel's own datagrams carry its mark, so that reverse-path filtering
    accepts them."""
    drops = "".join(
        f'iifname != "{interface}" {"ip6" if ":" in a else "ip"} daddr {a.partition("/")[0]} '
        "fib saddr type != local drop; " for a in addresses)
    rules = (f"table inet {firewall_name(interface)} {{\n"
             f" chain raw {{ type filter hook prerouting priority raw; {drops}}}\n"
             " chain arriving { type filter hook prerouting priority mangle; "
             "meta l4proto udp meta mark set ct mark; }\n"
             " chain leaving { type filter hook postrouting priority mangle; "
             f"meta l4proto udp meta mark {mark} ct mark set meta mark; }}\n}}\n")
    tool("nft", ["-f", "-"], rules, "install nftables")
    try:
        with open("/proc/sys/net/ipv4/conf/all/src_valid_mark", "w") as f:
            f.write("1")
    except OSError as e:
        raise HostError(f"sysctl net.ipv4.conf.all.src_valid_mark: {e.strerror}") from None


def unguard(interface: str) -> None:
    if shutil.which("nft"):
        subprocess.run(["nft", "delete", "table", "inet", firewall_name(interface)],
                       capture_output=True, check=False)


def resolvconf_name(interface: str) -> str:
    """With Debian's resolvconf: a name that its interface-order ranks first."""
    try:
        with open("/etc/resolvconf/interface-order", encoding="utf-8") as f:
            for line in f:
                if m := re.fullmatch(r"([A-Za-z0-9-]+)\*\s*", line):
                    return f"{m[1]}.{interface}"
    except OSError:
        pass
    return interface


def set_dns(interface: str, servers: tuple[str, ...], search: tuple[str, ...]) -> None:
    text = "".join(f"nameserver {s}\n" for s in servers)
    text += f"search {' '.join(search)}\n" if search else ""
    tool("resolvconf", ["-a", resolvconf_name(interface), "-m", "0", "-x"], text,
         "install openresolv or systemd-resolved, or take DNS out of the file")


def unset_dns(interface: str) -> None:
    subprocess.run(["resolvconf", "-d", resolvconf_name(interface), "-f"], capture_output=True, check=False)


def tool(name: str, args: list[str], text: str, remedy: str) -> None:
    """Runs a host tool with `text` as input. Raises HostError with the remedy."""
    if not shutil.which(name):
        raise HostError(f"{name} is missing: {remedy}")
    done = subprocess.run([name, *args], input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[0]
        raise HostError(f"{name}: {said}")
