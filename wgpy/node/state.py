"""What of a node outlives it: its state directory, with the key store, which is opened
here for crypto and not read, and the audit trail."""

import fcntl
import os
from pathlib import Path

from wgpy.config.site_model import Site
from wgpy.errors import HostError
from wgpy.node.trail import Trail

KEYS = "keys.sealed"


def state_dir(site: Site) -> Path:
    """Where a node keeps what must outlive it."""
    if base := os.environ.get("WGPY_STATE_DIR"):
        return Path(base) / site.node.name
    return Path(site.node.state or f"/var/lib/wgpy/{site.node.name}")


class State:
    """The open files of a node's state directory, as long as the supervisor lives."""

    def __init__(self, directory: Path):
        """HostError when there is no key store, or another process has it."""
        self.keys = open_keys(directory)
        self.trail = Trail(directory)

    def give(self) -> dict[str, int]:
        """New descriptors for a start of crypto."""
        return {"keys": os.dup(self.keys)}

    def close(self) -> None:
        """Key store and trail; rooms have copies of their own."""
        os.close(self.keys)
        self.trail.close()


def open_keys(directory: Path) -> int:
    """The key store, locked for as long as the descriptor or a copy of it is open."""
    path = directory / KEYS
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise HostError(f"{path}: in use by a running node") from None
        return fd
    except FileNotFoundError:
        raise HostError(f"{path}: no key store: wgpy keys seal FILE makes one") from None
    except OSError as e:
        raise HostError(f"{path}: {e.strerror}") from None
