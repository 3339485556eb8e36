"""What `up` did to the host, written down before it is done, so that `down` undoes exactly
that: also when the file has changed, the daemon has died, or `up` itself was killed.

One file for each tunnel, root's alone, which is also the lock: one `up` or `down` of a
tunnel at a time. Its name is the interface's, so two tunnels never share one.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from wgpy.admin.uapi_server import SOCKET_DIR
from wgpy.errors import HostError

DIRECTORY = Path(SOCKET_DIR)  # beside the sockets: what shares their names shares these
_LIMIT = 1 << 20  # bytes of a record


@dataclass
class Done:
    """What there is to undo. The default is nothing."""
    file: str = ""                 # whose hooks these are
    namespace: int = 0             # inode of the network namespace
    pre_down: tuple[str, ...] = ()
    post_down: tuple[str, ...] = ()
    link: bool = False
    dns: str = ""                  # the name that resolvconf knows
    firewall: bool = False
    mark: int = 0                  # the packet mark and table of a default route
    rules: tuple[tuple[int, int], ...] = ()  # (address family, priority of the upper rule)


class Record:
    """A context in which the tunnel is ours. Raises HostError when another has it."""

    def __init__(self, name: str):
        self._name, self._path = name, DIRECTORY / f"{name}.up"
        self._fd = -1
        self.done: Done | None = None  # None: nobody is known to have brought it up

    def __enter__(self) -> "Record":
        try:
            DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
            while not self._locked():
                pass
        except PermissionError:
            raise HostError(f"{self._path}: permission denied (run as root)") from None
        except OSError as e:
            raise HostError(f"{self._path}: {e.strerror}") from None
        self.done = _parsed(os.pread(self._fd, _LIMIT, 0))
        return self

    def _locked(self) -> bool:
        """False when the file was deleted while we waited for it."""
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise HostError(f"{self._name}: another up or down of it is running") from None
        try:
            if os.stat(self._path).st_ino == os.fstat(self._fd).st_ino:
                return True
        except FileNotFoundError:
            pass
        os.close(self._fd)
        return False

    def __exit__(self, *_: object) -> None:
        if self.done is None:
            self._path.unlink(missing_ok=True)
        os.close(self._fd)

    @property
    def so_far(self) -> Done:
        """`done`, and nothing to undo where nobody is known to have brought it up."""
        return self.done or Done()

    def note(self, **facts: object) -> None:
        """Writes down what is about to be done, or is undone: fields of Done."""
        self.done = Done(**{**asdict(self.so_far), **facts})
        data = json.dumps(asdict(self.done)).encode()
        os.pwrite(self._fd, data, 0)
        os.ftruncate(self._fd, len(data))

    def forget(self) -> None:
        """What was done is undone: nothing is left for `down`."""
        self.done = None


@contextmanager
def alone() -> Iterator[None]:
    """Inside, no other `up` of this host chooses a mark, a table or a place for rules."""
    fd = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _parsed(data: bytes) -> Done | None:
    """What is no record (a killed writer's half) counts as none."""
    if not data:
        return None
    try:
        facts, _ = json.JSONDecoder().raw_decode(data.decode())
        facts = {k: tuple(tuple(x) if isinstance(x, list) else x for x in v) if isinstance(v, list) else v
                 for k, v in facts.items()}
        return Done(**facts)
    except (ValueError, TypeError, AttributeError):
        return None


def marks() -> set[int]:
    """The packet marks of all tunnels that are recorded, up or left behind."""
    try:
        found = [_parsed(p.read_bytes()) for p in DIRECTORY.glob("*.up")]
    except OSError:
        return set()
    return {d.mark for d in found if d and d.mark}


def recorded_file(name: str) -> str:
    """The file that a tunnel was brought up with, "" where that is not known."""
    try:
        done = _parsed((DIRECTORY / f"{name}.up").read_bytes())
    except OSError:
        return ""
    return done.file if done else ""
