"""The UAPI from the other side: asks running daemons."""

import os
import socket

from wgpy.admin.uapi_server import SOCKET_DIR, socket_path
from wgpy.config import uapi
from wgpy.config.model import DeviceState, SetRequest
from wgpy.errors import HostError

_TIMEOUT = 10.0  # s


def interfaces() -> list[str]:
    """Names with a socket that answers, or that only root may ask, sorted."""
    try:
        names = sorted(f[:-5] for f in os.listdir(SOCKET_DIR) if f.endswith(".sock"))
    except FileNotFoundError:
        return []
    except PermissionError:
        raise HostError(f"{SOCKET_DIR}: only root may ask the daemons") from None
    return [name for name in names if is_served(name)]


def is_served(name: str) -> bool:
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.settimeout(_TIMEOUT)
            s.connect(socket_path(name))
            return True
        except PermissionError:
            return True
        except OSError:
            return False


def get(name: str) -> DeviceState:
    return uapi.parse_get(_ask(name, "get=1\n\n"))


def metrics(name: str) -> dict[str, int | str]:
    return uapi.parse_metrics(_ask(name, f"{uapi.METRICS}\n\n"))


def set(name: str, request: SetRequest) -> None:
    """Raises OSError with the errno of the daemon."""
    uapi.parse_get(_ask(name, uapi.format_set(request)))


def _ask(name: str, text: str) -> str:
    """Raises HostError when nobody answers."""
    answer = bytearray()
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(_TIMEOUT)
            s.connect(socket_path(name))
            s.sendall(text.encode("ascii"))
            while not answer.endswith(b"\n\n"):
                data = s.recv(65536)
                if not data:
                    raise HostError(f"{name}: the daemon hung up")
                answer += data
    except (FileNotFoundError, ConnectionRefusedError):
        raise HostError(f"{name}: no such tunnel is up") from None
    except PermissionError:
        raise HostError(f"{name}: only root may ask the daemon") from None
    except OSError as e:
        raise HostError(f"{name}: {e.strerror or e}") from None
    return answer.decode("ascii", "replace")
