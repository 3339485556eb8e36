"""Where the file of a tunnel is, what it says, and where its peers are."""

import os
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from wgpy.cli.interrupt import Signals
from wgpy.config import ini
from wgpy.config.model import HostPort, KeySizes, TunnelFile
from wgpy.config.values import INTERFACE_NAME, is_address, quoted
from wgpy.errors import ConfigError, HostError
from wgpy.isolate.library import Library

CONFIG_DIR = Path("/etc/wireguard")
RETRIES_VARIABLE = "WG_ENDPOINT_RESOLUTION_RETRIES"  # as for wg(8)
_RETRIES = 15
_FOR_EVER = float("inf")
_FINAL = (socket.EAI_NONAME, socket.EAI_FAIL, socket.EAI_NODATA)  # asking again gives the same
_NAME_RULE = "the name must be an interface name (1 to 15 of a-z A-Z 0-9 _=+.-) and .conf"


def locate(name: str) -> tuple[str, Path]:
    """(interface, file). What could be an interface is one, whatever lies in the current
    directory: its file is in /etc/wireguard. The interface is called as the file is called
    here, even when that is a link. Raises HostError."""
    if INTERFACE_NAME.match(name):
        path = CONFIG_DIR / f"{name}.conf"
        if not path.exists():
            raise HostError(f"{path}: no such file{hint(name)}")
        return name, path.resolve()
    path = Path(name)
    if path.suffix != ".conf" or not INTERFACE_NAME.match(path.stem):
        raise HostError(f"{path}: {_NAME_RULE}" if path.exists() else f"{path}: no such file")
    if not path.exists():
        raise HostError(f"{path}: no such file")
    return path.stem, path.resolve()


def hint(name: str) -> str:
    """For an error about a name that would have been a file of the current directory."""
    here = INTERFACE_NAME.match(name) and name.endswith(".conf") and os.path.exists(name)
    return f" (the one in this directory is ./{name})" if here else ""


def interface_of(name: str) -> str | None:
    """The interface that NAME or FILE means, whether or not there is such a file."""
    if INTERFACE_NAME.match(name):
        return name
    path = Path(name)
    return path.stem if path.suffix == ".conf" and INTERFACE_NAME.match(path.stem) else None


def load(path: Path, warn: Callable[[str], None], errors: list[ConfigError] | None = None) -> TunnelFile:
    """Raises WgpyError; with a list for errors, bad lines go there, the rest is read, and the suite
    that the file names is not asked for the lengths of keys."""
    try:
        if path.stat().st_mode & path.parent.stat().st_mode & 0o007:
            warn(f"{path}: is accessible to everybody; chmod 600 it")
        data = path.read_bytes()
    except OSError as e:
        raise HostError(f"{path}: {e.strerror}") from None
    text = ini.decode(data, str(path))
    file = ini.parse(text, str(path), errors)
    if file.suite is not None and errors is None:
        library = Library(file.suite.library, file.suite.sha256)
        library.close()
        file = ini.parse(text, str(path), sizes=KeySizes(library.facts.private_size, library.facts.public_size))
    for warning in file.warnings:
        warn(warning)
    return file


def resolve(file: TunnelFile, source: str, say: Callable[[str], None], signals: Signals) -> TunnelFile:
    """Looks up the endpoints that are names, as wg(8) retries. Raises WgpyError."""
    found = {}
    for at, peer in enumerate(file.request.peers):
        if peer.endpoint is not None and not is_address(peer.endpoint.host):
            found[at] = _lookup(peer.endpoint, source, file.endpoint_lines.get(at), say, signals)
    return ini.with_endpoints(file, found)


def retries() -> float:
    """How often a name is looked up again. Raises HostError."""
    text = os.environ.get(RETRIES_VARIABLE)
    if text is None:
        return _RETRIES
    if text == "infinity":
        return _FOR_EVER
    if not re.fullmatch(r"\s*\+?[0-9]{0,9}", text):
        raise HostError(f"{RETRIES_VARIABLE}: {quoted(text)} is neither a number nor infinity")
    return int(text.strip() or 0)


def _lookup(endpoint: HostPort, source: str, line: int | None, say: Callable[[str], None],
            signals: Signals) -> HostPort:
    delay, left = 1.0, retries()
    while True:
        try:
            return HostPort(_ask(endpoint, signals), endpoint.port)
        except socket.gaierror as e:
            if e.errno in _FINAL or left <= 0:
                raise ConfigError(f"{quoted(endpoint.host)} cannot be resolved: {e.strerror}", source=source,
                                  line=line, key="Endpoint") from None
        except UnicodeError:
            raise ConfigError(f"{quoted(endpoint.host)} is no host name", source=source, line=line,
                              key="Endpoint") from None
        left -= 1
        say(f"{endpoint.host} cannot be resolved yet, trying again in {delay:.0f} s")
        with signals.waiting():
            time.sleep(delay)
        delay = min(delay * 1.2, 20.0)


def _ask(endpoint: HostPort, signals: Signals) -> str:
    """getaddrinfo(3), in a thread that may be left behind, so that a signal need not wait
    for a name server that says nothing."""
    answer: list[str | Exception] = []

    def ask() -> None:
        try:
            answer.append(str(socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_DGRAM)[0][4][0]))
        except (OSError, UnicodeError) as e:
            answer.append(e)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    with signals.waiting():
        thread.join()
    (found,) = answer
    if isinstance(found, Exception):
        raise found
    return found
