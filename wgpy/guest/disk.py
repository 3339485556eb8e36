"""What of crypto outlives its guest: the audit trail, the stamps of peers, and a site file that was
taken over at the console. Without a disk all of it ends with the guest."""

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

from wgpy.config import site as site_file
from wgpy.crypto import stamps
from wgpy.errors import HostError, WgpyError
from wgpy.isolate import kernel
from wgpy.node.trail import Trail

log = logging.getLogger(__name__)

AUDIT, STAMPS, SITE = "audit", "stamps", "site.toml"
_IN_PLACE_OF = b"# in place of the file whose SHA-256 is "


class Disk:
    """`directory`: where a disk is mounted; None: there is none."""

    def __init__(self, directory: Path | None):
        """HostError when it cannot be used. One without space is none: the room starts."""
        self.directory = directory
        try:
            if directory is not None:
                os.stat(directory)
            self.trail = Trail(directory and directory / AUDIT)
        except OSError as e:
            raise HostError(f"state: {e.filename or directory}: {e.strerror}") from None

    def stamps(self) -> int:
        """A descriptor of the memory of peers' stamps, see wgpy.crypto.stamps. OSError."""
        if self.directory is not None:
            try:
                return kernel.whole_file(self.directory / STAMPS, stamps.BYTES)
            except OSError as e:
                log.error("stamps of peers are forgotten when this guest ends: %s", e.strerror)
        return stamps.memory()

    def site(self, of_image: bytes) -> bytes:
        """The text that holds: one that was taken over in place of the image's, as long as the image
        has not got another one."""
        if self.directory is None:
            return of_image
        try:
            first, _, text = (self.directory / SITE).read_bytes().partition(b"\n")
        except FileNotFoundError:
            return of_image
        except OSError as e:
            log.error("%s: %s: the image's site file holds", e.filename, e.strerror)
            return of_image
        if first != _head(of_image):
            log.info("the image has another site file since one was taken over: the image's holds")
            return of_image
        try:
            site_file.checked(text, SITE)
        except WgpyError as e:
            log.error("what was taken over is damaged: %s: the image's site file holds", e)
            return of_image
        return text

    def prepare(self, text: bytes, of_image: bytes) -> None:
        """For commit(): nothing that is there changes, and the file is on the disk. HostError."""
        if self.directory is None:
            return
        try:
            with open(self.directory / f"{SITE}.new", "wb") as f:
                f.write(_head(of_image) + b"\n" + text)
                f.flush()
                os.fsync(f.fileno())
        except OSError as e:
            raise HostError(f"the site file cannot be kept: {e.strerror}") from None

    def commit(self) -> str:
        """The prepared file holds from now on; or why it does not after the guest's next start."""
        if self.directory is None:
            return ""
        try:
            os.rename(self.directory / f"{SITE}.new", self.directory / SITE)
            fd = os.open(self.directory, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as e:
            return e.strerror or "failed"
        return ""

    def facts(self) -> dict[str, Any] | None:
        """For the status: bytes in all and those free; None without a disk."""
        if self.directory is None:
            return None
        try:
            found = os.statvfs(self.directory)
        except OSError as e:
            return {"error": e.strerror}
        return {"bytes": found.f_blocks * found.f_frsize, "free": found.f_bavail * found.f_frsize}


def _head(of_image: bytes) -> bytes:
    return _IN_PLACE_OF + hashlib.sha256(of_image).hexdigest().encode()
