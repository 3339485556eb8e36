"""`up` and `down`: what wg-quick(8) does, with everything undone when a step fails or a
signal comes. Every step is written down (record.py) before it is done; `undo` goes by that."""

import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from wgpy.admin.uapi_server import socket_path
from wgpy.cli import client, guard, net, tunnel_file
from wgpy.cli.hooks import Hooks
from wgpy.cli.interrupt import Signals
from wgpy.cli.record import Record, alone, marks, recorded_file
from wgpy.config import ini
from wgpy.config.model import NO_KEY, DeviceState, Prefix, SetRequest, SuiteFile, TunnelFile, as_request
from wgpy.config.values import prefix_text
from wgpy.errors import ConfigError, HostError, WgpyError
from wgpy.isolate import start

_UP_WITHIN = 5.0  # s from the link coming up to open sockets
_GONE_WITHIN = 5.0  # s from the deletion of the link to the end of its daemon
_ANSWERS_WITHIN = 5.0  # s that `down` waits for a daemon


class Up:
    """One run of `up`; `say` gets a line for each step, `out` is where hooks write."""

    def __init__(self, name: str, path: Path, say: Callable[[str], None], out: int | None = None):
        self.name, self.path, self.say, self._out = name, path, say, out
        self._host = net.Host()

    def run(self) -> None:
        """Raises WgpyError after undoing what was done."""
        try:
            file = tunnel_file.load(self.path, self.say)
            with Signals() as signals, Record(self.name) as record:
                self._begin(record)
                try:
                    self._steps(file, record, signals)
                    signals.check()
                except BaseException:
                    for error in undo(self.name, self._host, record):
                        self.say(f"undo: {error}")
                    raise
        finally:
            self._host.close()

    def _begin(self, record: Record) -> None:
        if self._host.index(self.name) is not None or client.is_served(self.name):
            raise HostError(f"{self.name}: the interface exists already")
        if record.done:
            self.say("an earlier up left something behind: taking it away")
            for error in undo(self.name, self._host, record):
                self.say(f"warning: {error}")
            record.forget()

    def _steps(self, file: TunnelFile, record: Record, signals: Signals) -> None:
        name, host = self.name, self._host
        hooks = Hooks(name, str(self.path), self.say, signals, self._out)
        table = file.table if file.table in ("auto", "off") else net.table_number(file.table)
        record.note(file=str(self.path), namespace=_namespace(), pre_down=file.pre_down, post_down=file.post_down,
                    link=True)
        self.say(f"wgpyd {name}")
        try:
            start_daemon(name, file.suite)
        except HostError:
            record.note(link=False)
            raise
        hooks.run(file.pre_up)
        file = tunnel_file.resolve(file, str(self.path), self.say, signals)
        configure(name, additive(file.request))
        signals.check()
        for address in file.addresses:
            self.say(f"address {address}")
            host.add_address(name, address)
        endpoints = [p.endpoint.host for p in client.get(name).peers if p.endpoint]
        mtu = file.mtu or host.tunnel_mtu(endpoints, int(client.look(name).metrics["overhead"]))
        self.say(f"mtu {mtu}, up")
        host.bring_up(name, mtu)
        wait_listening(name)
        self._dns(file, record)
        signals.check()
        if table != "off":
            self._routes(table, record, signals)
        hooks.run(file.post_up)

    def _dns(self, file: TunnelFile, record: Record) -> None:
        if file.search and not file.dns:
            self.say("DNS: search domains without a server are not set (wg-quick does not either)")
        if not file.dns:
            return
        self.say(f"dns {' '.join(file.dns + file.search)}")
        guard.need_resolvconf()
        known = guard.resolvconf_name(self.name)
        record.note(dns=known)
        guard.set_dns(known, file.dns, file.search)

    def _routes(self, table: int | str, record: Record, signals: Signals) -> None:
        for p in routes(client.get(self.name)):
            signals.check()
            if isinstance(table, int):
                self.say(f"route {prefix_text(p)} table {table}")
                self._host.add_route(self.name, p, table)
            elif p.cidr == 0:
                with alone():
                    self._default(p, record)
            elif not self._host.covered(self.name, p):
                self.say(f"route {prefix_text(p)}")
                self._host.add_route(self.name, p)

    def _default(self, p: Prefix, record: Record) -> None:
        name, host, v6 = self.name, self._host, len(p.address) == 16
        mark = client.get(name).fwmark
        if not mark:
            mark = host.free_table(marks())
            configure(name, SetRequest(fwmark=mark))
        self.say(f"default route {prefix_text(p)} table {mark}")
        if not record.so_far.firewall:
            guard.unguard(name)
        record.note(mark=mark, firewall=True)
        guard.guard(name, v6, mark, host.addresses(name, of_the_link=True))
        af = socket.AF_INET6 if v6 else socket.AF_INET
        place = host.place_for_rules(af)
        record.note(rules=(*record.so_far.rules, (int(af), place)))
        host.add_rules(af, mark, place)
        host.add_route(name, p, mark)


def routes(state: DeviceState) -> list[Prefix]:
    """What may need a route: all allowed IPs, longest first."""
    return sorted({a for p in state.peers for a in p.allowed_ips}, key=lambda p: (-p.cidr, p.address))


def additive(request: SetRequest) -> SetRequest:
    """Of a file, only what it says, so that a PreUp hook may have set the rest (a key)."""
    peers = tuple(replace(p, preshared_key=None if p.preshared_key == NO_KEY else p.preshared_key,
                          keepalive=p.keepalive or None) for p in request.peers)
    return SetRequest(None if request.private_key == NO_KEY else request.private_key,
                      request.listen_port or None, request.fwmark or None, False, peers)


def undo(name: str, host: net.Host, record: Record) -> list[str]:
    """Undoes what is recorded, each part whatever the others do. What stays is still
    recorded; the errors in words, none when all is undone."""
    errors: list[str] = []

    def step(action: Callable[[], None], **gone: object) -> None:
        try:
            action()
            record.note(**gone)
        except (WgpyError, OSError) as e:
            errors.append(str(e))

    def delete_rules() -> None:
        for af, place in done.rules:
            if not host.is_others(name, af, done.mark):
                host.delete_rules(af, done.mark, place)

    done = record.so_far
    if done.dns:
        step(lambda: guard.unset_dns(done.dns), dns="")
    if done.rules:
        step(delete_rules, rules=())
    if done.firewall:
        step(lambda: guard.unguard(name), firewall=False)
    if done.link:
        step(lambda: delete(host, name, ours=bool(done.file)), link=False)
    if not errors:
        record.forget()
    return errors


class Down:
    """One run of `down`. What is undone is what `up` wrote down; the file is asked only for
    its hooks and SaveConfig, and may be broken or gone."""

    def __init__(self, target: str, say: Callable[[str], None], out: int | None = None):
        name = tunnel_file.interface_of(target) or tunnel_file.locate(target)[0]  # which raises then, and says why
        self.name, self.say, self._out = name, say, out
        self._target, self._host = target, net.Host()

    def run(self) -> str:
        """The interface's name. Raises WgpyError; the tunnel is down unless PreDown failed."""
        try:
            with Signals() as signals, Record(self.name) as record:
                alive = self._begin(record)
                file, path, broken = self._file(record)
                hooks = Hooks(self.name, str(path or ""), self.say, signals, self._out)
                failed = [] if alive else hooks.run_all(file.pre_down)
                if alive:
                    hooks.run(file.pre_down)
                    if file.save_config and path and not broken:
                        self.say(f"save {path}")
                        save(self.name, path, file, self._host)
                self.say(f"delete {self.name}")
                failed += undo(self.name, self._host, record)
                failed += hooks.run_all(file.post_down)
                signals.check()
        finally:
            self._host.close()
        if failed:
            raise HostError(f"{self.name}: {failed[0]}")
        return self.name

    def _begin(self, record: Record) -> bool:
        """Whether the tunnel lives. Completes the record from what can be seen."""
        there, served = self._host.index(self.name) is not None, client.is_served(self.name)
        if record.done and record.done.namespace != _namespace() and served and not there:
            raise HostError(f"{self.name}: was brought up in another network namespace")
        if record.done is None and not there and not served:
            raise HostError(f"{self.name}: no such tunnel is up{tunnel_file.hint(self._target)}")
        state = None
        if served:
            try:
                state = client.get(self.name, _ANSWERS_WITHIN)
            except (WgpyError, OSError) as e:
                self.say(f"warning: {e}")
        elif there and record.done is None:
            raise HostError(f"{self.name}: is no tunnel of a daemon that runs here")
        if record.done is None and state:  # brought up by wg-quick(8) or by hand
            found = tuple(self._host.rules_of(state.fwmark)) if state.fwmark else ()
            record.note(link=True, firewall=True, mark=state.fwmark, rules=found)
        elif record.done is None:
            record.note(link=True, firewall=True)
        return state is not None and there

    def _file(self, record: Record) -> tuple[TunnelFile, Path | None, bool]:
        """(what the file says, where it is, whether it is broken)."""
        done = record.so_far
        recorded = TunnelFile(SetRequest(), pre_down=done.pre_down, post_down=done.post_down)
        errors: list[ConfigError] = []
        try:
            known = recorded_file(self.name) if self._target == self.name else ""
            path = Path(known) if known else tunnel_file.locate(self._target)[1]
            file = tunnel_file.load(path, self.say, errors)
        except WgpyError as e:
            if done.file or self._target != self.name:
                self.say(f"warning: {e}: going by what was written down at up")
            return recorded, None, True
        for error in errors:
            self.say(f"warning: {error}: passed over")
        if file.dns and not done.file:
            record.note(dns=guard.resolvconf_name(self.name))
        if errors and not (file.pre_down or file.post_down):
            return recorded, path, True
        return file, path, bool(errors)


def save(name: str, path: Path, file: TunnelFile, host: net.Host) -> None:
    """Writes the present state into the file, which is replaced at once or not at all."""
    now = replace(file, request=as_request(client.get(name)), addresses=tuple(host.addresses(name)),
                  mtu=host.mtu(name) if file.mtu else None)
    temporary = path.with_name(path.name + ".tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(fd, "w", encoding="utf-8", errors="surrogateescape") as f:
            f.write(ini.format_quick(now))
            f.flush()
            os.fsync(f.fileno())
        os.rename(temporary, path)
    except OSError as e:
        raise HostError(f"{temporary}: {e.strerror}") from None


def start_daemon(name: str, suite: SuiteFile | None = None) -> None:
    """Returns when its socket answers. `suite`: None for what the environment says. Raises HostError with what it said. With
    LOG_LEVEL the daemon keeps our stderr, which therefore is not captured then."""
    environment = {k: v for k, v in os.environ.items() if k != "WG_PROCESS_FOREGROUND"}
    if suite is not None:
        environment |= {"WGPY_SUITE": suite.library, "WGPY_SUITE_SHA256": suite.sha256}
    done = subprocess.run(start.python("wgpy.daemon.wgpyd", name), env=environment,
                          stdin=subprocess.DEVNULL, stderr=None if os.environ.get("LOG_LEVEL") else subprocess.PIPE,
                          text=True, start_new_session=True, check=False)
    if done.returncode:
        said = (done.stderr or "").strip().removeprefix("wgpyd: ")
        raise HostError(said or f"wgpyd ended with status {done.returncode}")


def configure(name: str, request: SetRequest) -> None:
    """Of a daemon that runs already. HostError in words for what it refuses."""
    try:
        client.set(name, request)
    except OSError as e:
        if e.errno == errno.EADDRINUSE and request.listen_port:
            raise HostError(f"{name}: UDP port {request.listen_port}: {client.refusal(e)}") from None
        if e.errno == errno.ENOSPC:
            raise HostError(f"{name}: more peers or allowed IPs than the daemon takes: "
                            "start it with a greater WGPY_MAX_PEERS") from None
        raise HostError(f"{name}: the daemon refuses the configuration: {client.refusal(e)}") from None


def wait_listening(name: str) -> None:
    """Returns when the daemon has followed the link up. HostError with why it cannot."""
    end = time.monotonic() + _UP_WITHIN
    while not (metrics := client.look(name).metrics).get("up"):
        if reason := metrics.get("not_listening"):
            raise HostError(f"{name}: not listening: {reason}")
        if time.monotonic() > end:
            raise HostError(f"{name}: the daemon does not follow the link up")
        time.sleep(0.01)


def delete(host: net.Host, name: str, *, ours: bool) -> None:
    """Deletes the link, waits for its daemon to end, and removes the socket of a dead one.
    A daemon that we started and that hangs is killed."""
    pid = client.pid(name)
    host.delete_link(name)
    if not _ended(name):
        if not ours or not pid:
            raise HostError(f"{name}: the daemon does not end" + (f": kill {pid}" if pid else ""))
        os.kill(pid, signal.SIGKILL)
        if not _ended(name):
            raise HostError(f"{name}: the daemon does not end, not even killed: {pid}")
    Path(socket_path(name)).unlink(missing_ok=True)


def _ended(name: str) -> bool:
    end = time.monotonic() + _GONE_WITHIN
    while client.is_served(name):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _namespace() -> int:
    return os.stat("/proc/self/ns/net").st_ino
