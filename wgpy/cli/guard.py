"""What goes with a default route, besides routes and rules: nobody else may send to the
tunnel's addresses past it, and answers to its own datagrams carry its mark, so that
reverse-path filtering accepts them. Also the tunnel's name servers.

Tables, comments and names are those of wg-quick(8), whose `down` therefore finds them too.
"""

import os
import re
import shutil
import subprocess

from wgpy.errors import HostError

_VALID_MARK = "/proc/sys/net/ipv4/conf/all/src_valid_mark"
_ORDER = "/etc/resolvconf/interface-order"
_NO_RESOLVCONF = "install openresolv or systemd-resolved, or take DNS out of the file"


def table_name(interface: str) -> str:
    """No two interfaces have the same: what nft(8) has no place for is written /hex."""
    return "wg-quick-" + re.sub(r"[=+]", lambda m: f"/{ord(m[0]):02x}", interface)


def _comment(interface: str) -> str:
    return f'-m comment --comment "wg-quick(8) rule for {interface}"'


def guard(interface: str, v6: bool, mark: int, addresses: list[str]) -> None:
    """Of one family. Raises HostError."""
    mine = [a.partition("/")[0] for a in addresses if (":" in a) == v6]
    if shutil.which("nft"):
        tool("nft", ["-f", "-"], _nft(interface, "ip6" if v6 else "ip", mark, mine))
    elif shutil.which(restore := f"{'ip6' if v6 else 'ip'}tables-restore"):
        tool(restore, ["-n"], _iptables(interface, mark, mine))
    else:
        raise HostError(f"a default route needs nft or {restore}: install nftables or iptables")
    if not v6:
        _accept_marks()


def _nft(interface: str, family: str, mark: int, addresses: list[str]) -> str:
    drops = "".join(f'iifname != "{interface}" {family} daddr {a} fib saddr type != local drop; ' for a in addresses)
    name = table_name(interface)
    return (f"table {family} {name}\ndelete table {family} {name}\ntable {family} {name} {{\n"
            f" chain preraw {{ type filter hook prerouting priority -300; {drops}}}\n"
            " chain premangle { type filter hook prerouting priority -150; meta l4proto udp meta mark set ct mark; }\n"
            " chain postmangle { type filter hook postrouting priority -150; "
            f"meta l4proto udp meta mark {mark} ct mark set meta mark; }}\n}}\n")


def _iptables(interface: str, mark: int, addresses: list[str]) -> str:
    comment = _comment(interface)
    drops = "".join(f"-I PREROUTING ! -i {interface} -d {a} -m addrtype ! --src-type LOCAL -j DROP {comment}\n"
                    for a in addresses)
    return (f"*raw\n{drops}COMMIT\n*mangle\n"
            f"-I POSTROUTING -m mark --mark {mark} -p udp -j CONNMARK --save-mark {comment}\n"
            f"-I PREROUTING -p udp -j CONNMARK --restore-mark {comment}\nCOMMIT\n")


def _accept_marks() -> None:
    """src_valid_mark, which is not written where it is right: a container may not write."""
    try:
        with open(_VALID_MARK, encoding="ascii") as f:
            if f.read().strip() == "1":
                return
        with open(_VALID_MARK, "w", encoding="ascii") as f:
            f.write("1")
    except OSError as e:
        raise HostError(f"sysctl net.ipv4.conf.all.src_valid_mark=1: {e.strerror} "
                        "(in a container: set it where the container is made)") from None


def unguard(interface: str) -> None:
    """Removes what `guard`, or wg-quick(8), left for this interface. Raises HostError."""
    if shutil.which("nft"):
        name = table_name(interface)
        found = _output("nft", "list", "tables").splitlines()
        gone = [t for t in found if t.split()[1:2] in (["ip"], ["ip6"]) and t.split()[2:] == [name]]
        if gone:
            tool("nft", ["-f", "-"], "".join(f"delete {t}\n" for t in gone))
    for tables in ("iptables", "ip6tables"):
        if shutil.which(f"{tables}-save") and shutil.which(f"{tables}-restore"):
            text = _deletions(_output(f"{tables}-save"), interface)
            if text:
                tool(f"{tables}-restore", ["-n"], text)


def _deletions(saved: str, interface: str) -> str:
    """iptables-restore input that deletes the rules of this interface, "" without any."""
    kept = [line for line in saved.splitlines() if line.startswith("*") or line == "COMMIT"
            or line.startswith("-A ") and _comment(interface) in line]
    return "\n".join([re.sub("^-A", "-D", line) for line in kept]) + "\n" if any(k[0] == "-" for k in kept) else ""


def resolvconf_name(interface: str) -> str:
    """With Debian's resolvconf: a name that its interface-order ranks first."""
    found = shutil.which("resolvconf")
    if found is None or os.path.islink(found):  # systemd-resolved takes interfaces only
        return interface
    try:
        with open(_ORDER, encoding="utf-8", errors="replace") as f:
            for line in f:
                if m := re.fullmatch(r"([A-Za-z0-9-]+)\*\s*", line):
                    return f"{m[1]}.{interface}"
    except OSError:
        pass
    return interface


def need_resolvconf() -> None:
    """HostError, before anything is changed, rather than a tunnel without its name servers."""
    if not shutil.which("resolvconf"):
        raise HostError(f"DNS: resolvconf is missing: {_NO_RESOLVCONF}")


def set_dns(name: str, servers: tuple[str, ...], search: tuple[str, ...]) -> None:
    """`name` as resolvconf_name has it. Raises HostError."""
    text = "".join(f"nameserver {s}\n" for s in servers)
    text += f"search {' '.join(search)}\n" if search else ""
    tool("resolvconf", ["-a", name, "-m", "0", "-x"], text)


def unset_dns(name: str) -> None:
    """Raises HostError when resolvconf fails; where it is gone, so is what it knew."""
    if shutil.which("resolvconf"):
        tool("resolvconf", ["-d", name, "-f"], "")


def _output(*command: str) -> str:
    """What a tool prints, "" where it fails or is missing."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                              start_new_session=True, check=False).stdout
    except OSError:
        return ""


def tool(name: str, args: list[str], text: str) -> None:
    """Runs a host tool with `text` as input, out of reach of the terminal's signals.
    Raises HostError."""
    try:
        done = subprocess.run([name, *args], input=text, text=True, errors="replace", capture_output=True,
                              start_new_session=True, check=False)
    except OSError as e:
        raise HostError(f"{name}: {e.strerror}") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[0]
        raise HostError(f"{name}: {said}")
