"""The UAPI from the other side: asks running daemons, ours and others'.

A socket may belong to another program, which may hang, hang up or answer nonsense: others
are asked only what the UAPI defines, and all are asked at once, each with its own patience.
"""

import os
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from wgpy.admin.uapi_server import SOCKET_DIR, socket_path
from wgpy.config import uapi
from wgpy.config.model import DeviceState, SetRequest
from wgpy.errors import HostError, WgpyError

_PATIENCE, _SHORT_PATIENCE = 10.0, 2.0  # s without a byte: of one that was named, of one among all
_WHOLE = 15.0  # s for a whole answer
_LONGEST = 1 << 26  # bytes of an answer
_AT_ONCE = 64


@dataclass(frozen=True)
class Found:
    """What a daemon said; `metrics` are empty for one that is not ours."""
    state: DeviceState = DeviceState()
    metrics: dict[str, int | str] = field(default_factory=dict)
    error: str | None = None


class _Nobody(HostError):
    """No daemon is behind the socket."""


class _NotAllowed(HostError):
    """Only root may ask."""


def is_served(name: str) -> bool:
    """Does a daemon listen for this interface? True as well where we may not ask."""
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.settimeout(_SHORT_PATIENCE)
            s.connect(socket_path(name))
            return True
        except (PermissionError, TimeoutError, BlockingIOError):  # a full backlog: somebody is there
            return True
        except OSError:
            return False


def get(name: str, patience: float = _PATIENCE) -> DeviceState:
    """The device's state, its keys in it. HostError when nobody answers within `patience`
    seconds."""
    return uapi.parse_get(_ask(name, f"{uapi.GET}\n\n", patience))


def pid(name: str) -> int:
    """Of the process that listens, 0 where that cannot be seen."""
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.settimeout(_SHORT_PATIENCE)
            s.connect(socket_path(name))
            process, _, _ = struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return int(process)
        except OSError:
            return 0


def look(name: str, patience: float = _PATIENCE) -> Found:
    """Raises WgpyError or OSError, with the errno of the daemon."""
    text = _ask(name, f"{uapi.GET}\n\n", patience)
    state = uapi.parse_get(text)
    if not uapi.is_ours(text):
        return Found(state)
    return Found(state, uapi.parse_metrics(_ask(name, f"{uapi.METRICS}\n\n", patience)))


def survey() -> dict[str, Found]:
    """All that have a socket that somebody serves, by name. HostError when only root may ask."""
    try:
        names = sorted(f[:-5] for f in os.listdir(SOCKET_DIR) if f.endswith(".sock"))
    except FileNotFoundError:
        return {}
    except PermissionError:
        raise HostError(f"{SOCKET_DIR}: only root may ask the daemons") from None
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = zip(names, pool.map(_one_of_all, names))
        return {name: answer for name, answer in found if answer is not None}


def _one_of_all(name: str) -> Found | None:
    try:
        return look(name, _SHORT_PATIENCE)
    except _Nobody:
        return None
    except _NotAllowed:
        raise
    except WgpyError as e:
        return Found(error=str(e).removeprefix(f"{name}: "))
    except OSError as e:
        return Found(error=f"the daemon refuses: {refusal(e)}")


def refusal(e: OSError) -> str:
    """In words, the errno that a daemon answered."""
    assert e.errno is not None
    return os.strerror(e.errno)


def set(name: str, request: SetRequest) -> None:
    """Raises OSError with the errno of the daemon."""
    uapi.parse_get(_ask(name, uapi.format_set(request)))


def _ask(name: str, text: str, patience: float = _PATIENCE) -> str:
    """Raises HostError when nobody answers."""
    answer, end = bytearray(), time.monotonic() + _WHOLE
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(patience)
            s.connect(socket_path(name))
            s.sendall(text.encode("ascii"))
            while not answer.endswith(b"\n\n"):
                s.settimeout(max(0.01, min(patience, end - time.monotonic())))
                data = s.recv(65536)
                if not data:
                    raise HostError(f"{name}: the daemon hung up")
                answer += data
                if len(answer) > _LONGEST or time.monotonic() > end:
                    raise HostError(f"{name}: the daemon's answer does not end")
    except (FileNotFoundError, ConnectionRefusedError):
        raise _Nobody(f"{name}: no such tunnel is up") from None
    except PermissionError:
        raise _NotAllowed(f"{name}: only root may ask the daemon") from None
    except (TimeoutError, BlockingIOError):
        raise HostError(f"{name}: the daemon does not answer") from None
    except OSError as e:
        raise HostError(f"{name}: {e.strerror or e}") from None
    return answer.decode("ascii", "replace")
