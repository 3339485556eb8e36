"""`up` and `down`: what wg-quick(8) does, with everything undone when a step fails."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Callable

from wgpy.cli import client, net
from wgpy.config import ini
from wgpy.config.model import HostPort, Prefix, SetRequest, TunnelFile, as_request
from wgpy.config.values import INTERFACE_NAME, is_numeric, number, prefix, prefix_text, quoted
from wgpy.errors import ConfigError, HostError, WgpyError

CONFIG_DIR = Path("/etc/wireguard")
RETRIES_VARIABLE = "WG_ENDPOINT_RESOLUTION_RETRIES"  # as for wg(8)
_GONE_WITHIN = 5.0  # s from the deletion of the link to the end of its daemon


def locate(name: str) -> Path:
    """A path as it is, else NAME in /etc/wireguard. Raises HostError."""
    path = Path(name)
    if not path.is_file() and INTERFACE_NAME.match(name):
        path = CONFIG_DIR / f"{name}.conf"
    if not path.is_file():
        raise HostError(f"{path}: no such file")
    if path.suffix != ".conf" or not INTERFACE_NAME.match(path.stem):
        raise HostError(f"{path}: the name must be an interface name (1 to 15 of a-z A-Z 0-9 _=+.-) and .conf")
    return path.resolve()


def load(path: Path, warn: Callable[[str], None]) -> TunnelFile:
    try:
        if path.stat().st_mode & path.parent.stat().st_mode & 0o007:
            warn(f"{path}: is accessible to everybody; chmod 600 it")
        return ini.parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", source=str(path)) from None
    except OSError as e:
        raise HostError(f"{path}: {e.strerror}") from None


def resolve(file: TunnelFile, source: str, say: Callable[[str], None]) -> TunnelFile:
    """Looks up the endpoints that are names, as wg(8) retries. Raises ConfigError."""
    found = {}
    try:
        tries = 1 + number(os.environ.get(RETRIES_VARIABLE, "15"), 0, 10**6)
    except ValueError as e:
        raise HostError(f"{RETRIES_VARIABLE}: {e}") from None
    for peer in file.request.peers:
        if peer.endpoint is not None and not is_numeric(peer.endpoint.host):
            found[peer.public_key] = _lookup(
                peer.endpoint, source, file.endpoint_lines.get(peer.public_key), tries, say)
    return ini.with_endpoints(file, found)


def _lookup(endpoint: HostPort, source: str, line: int | None, tries: int,
            say: Callable[[str], None]) -> HostPort:
    delay = 1.0
    while True:
        tries -= 1
        try:
            answer = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_DGRAM)
            return HostPort(answer[0][4][0], endpoint.port)
        except socket.gaierror as e:
            if e.errno != socket.EAI_AGAIN or tries <= 0:
                raise ConfigError(f"{quoted(endpoint.host)} cannot be resolved: {e.strerror}", source=source,
                                  line=line, key="Endpoint") from None
        except UnicodeError:
            raise ConfigError(f"{quoted(endpoint.host)} is no host name", source=source, line=line,
                              key="Endpoint") from None
        say(f"{endpoint.host} cannot be resolved yet, trying again in {delay:.0f} s")
        time.sleep(delay)
        delay = min(delay * 1.2, 20.0)


def routes(file: TunnelFile) -> list[Prefix]:
    """What gets a route, longest first: allowed IPs that no interface address covers."""
    nets = [prefix(a) for a in file.addresses]
    wanted = {c.prefix for p in file.request.peers for c in p.allowed_ips if not c.remove}

    def covered(p: Prefix) -> bool:
        return file.table == "auto" and p.cidr > 0 and any(
            len(n.address) == len(p.address) and n.cidr <= p.cidr
            and _cut(p.address, n.cidr) == _cut(n.address, n.cidr) for n in nets)

    return sorted((p for p in wanted if not covered(p)), key=lambda p: (-p.cidr, p.address))


def _cut(address: bytes, cidr: int) -> int:
    return int.from_bytes(address, "big") >> (8 * len(address) - cidr)


class Up:
    """One run of `up`; `say` gets a line for each step."""

    def __init__(self, name: str, file: TunnelFile, say: Callable[[str], None]):
        self.name, self.file, self.say = name, file, say
        self._host = net.Host()
        self._undo: list[Callable[[], None]] = []

    def run(self) -> None:
        """Raises WgpyError after undoing what was done."""
        try:
            self._steps()
        except BaseException:
            for step in reversed(self._undo):
                try:
                    step()
                except (WgpyError, OSError) as e:
                    self.say(f"undo: {e}")
            raise
        finally:
            self._host.close()

    def _steps(self) -> None:
        name, file, host = self.name, self.file, self._host
        if host.index(name) is not None:
            raise HostError(f"{name}: the interface exists already")
        if (file.dns or file.search) and not shutil.which("resolvconf"):
            raise HostError("DNS: resolvconf is missing: install openresolv or systemd-resolved, "
                            "or take DNS out of the file")
        run_hooks(file.pre_up, name, self.say)
        self.say(f"wgpyd {name}")
        start_daemon(name)
        self._undo.append(lambda: delete(host, name))
        configure(name, file.request)
        for address in file.addresses:
            self.say(f"address {address}")
            host.add_address(name, address)
        endpoints = [p.endpoint.host for p in file.request.peers if p.endpoint]
        mtu = file.mtu or host.tunnel_mtu(endpoints)
        self.say(f"mtu {mtu}, up")
        host.bring_up(name, mtu)
        if file.dns or file.search:
            self.say(f"dns {' '.join(file.dns + file.search)}")
            self._undo.append(lambda: net.unset_dns(name))
            net.set_dns(name, file.dns, file.search)
        self._routes()
        run_hooks(file.post_up, name, self.say)

    def _routes(self) -> None:
        if self.file.table == "off":
            return
        table = None if self.file.table == "auto" else self.file.table
        for p in routes(self.file):
            if p.cidr == 0 and table is None:
                self._default(p)
            else:
                self.say(f"route {prefix_text(p)}" + (f" table {table}" if table else ""))
                self._host.add_route(self.name, p, table)

    def _default(self, p: Prefix) -> None:
        mark = client.get(self.name).fwmark
        if not mark:
            mark = self._host.free_table()
            configure(self.name, SetRequest(fwmark=mark))
        self.say(f"default route {prefix_text(p)} table {mark}")
        self._undo.append(lambda: self._host.delete_rules(mark))
        self._undo.append(lambda: net.unguard(self.name))
        net.unguard(self.name)
        net.guard(self.name, mark, list(self.file.addresses))
        self._host.add_route(self.name, p, mark)
        self._host.add_rules(socket.AF_INET if len(p.address) == 4 else socket.AF_INET6, mark)


def down(name: str, path: Path | None, file: TunnelFile, say: Callable[[str], None]) -> None:
    state = client.get(name)
    run_hooks(file.pre_down, name, say)
    host = net.Host()
    try:
        if file.save_config and path is not None:
            say(f"save {path}")
            save(name, path, file, host)
        if file.dns or file.search:
            net.unset_dns(name)
        if state.fwmark and file.table == "auto":
            host.delete_rules(state.fwmark)
        net.unguard(name)
        say(f"delete {name}")
        delete(host, name)
    finally:
        host.close()
    run_hooks(file.post_down, name, say)


def save(name: str, path: Path, file: TunnelFile, host: net.Host) -> None:
    """Writes the present state into the file, which is replaced at once or not at all."""
    now = replace(file, request=as_request(client.get(name)), addresses=tuple(host.addresses(name)),
                  mtu=host.mtu(name) if file.mtu else None)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as f:
            f.write(ini.format_quick(now))
            f.flush()
            os.fsync(f.fileno())
        os.rename(temporary, path)
    except OSError as e:
        raise HostError(f"{temporary}: {e.strerror}") from None


def start_daemon(name: str) -> None:
    """Returns when its socket answers. Raises HostError with what it said. With
    LOG_LEVEL the daemon keeps our stderr, which therefore is not captured then."""
    environment = {k: v for k, v in os.environ.items() if k != "WG_PROCESS_FOREGROUND"}
    done = subprocess.run([sys.executable, "-m", "wgpy.daemon.wgpyd", name], env=environment,
                          stdin=subprocess.DEVNULL, stderr=None if os.environ.get("LOG_LEVEL") else subprocess.PIPE,
                          text=True, check=False)
    if done.returncode:
        said = (done.stderr or "").strip().removeprefix("wgpyd: ")
        raise HostError(said or f"wgpyd ended with status {done.returncode}")


def configure(name: str, request: SetRequest) -> None:
    try:
        client.set(name, request)
    except OSError as e:
        raise HostError(f"{name}: the daemon refuses the configuration: {os.strerror(e.errno)}") from None


def delete(host: net.Host, name: str) -> None:
    """Deletes the link and waits for its daemon to end."""
    host.delete_link(name)
    end = time.monotonic() + _GONE_WITHIN
    while client.is_served(name):
        if time.monotonic() > end:
            raise HostError(f"{name}: the daemon does not end")
        time.sleep(0.02)


def run_hooks(hooks: tuple[str, ...], name: str, say: Callable[[str], None]) -> None:
    for hook in hooks:
        command = re.sub("%i", name, hook)
        say(command)
        shell = shutil.which("bash") or "sh"
        status = subprocess.run([shell, "-c", command], check=False).returncode
        if status:
            raise HostError(f"{quoted(command)} ended with status {status}")
