"""The library with a network's own cryptographic functions: opened once, and tried in a
process of its own that can do no harm, before anybody loads it. What is loaded is a sealed
copy of the bytes whose digest was taken, which nobody can change any more.

Here no function of it is known: `wgpy.crypto.trial` is the program that tries it."""

import fcntl
import hashlib
import json
import os
import signal
import stat
import subprocess
from hmac import compare_digest
from typing import Any, NamedTuple

from wgpy.config import site as site_file
from wgpy.config.site_model import Site, SuiteSizes
from wgpy.config.values import quoted
from wgpy.constants import Lengths
from wgpy.errors import ConfigError, HostError
from wgpy.isolate import start

MAX_BYTES = 64 << 20
PATIENCE = 60  # s for a trial, on a busy host
_OUTPUT = 1 << 16  # bytes, as a pipe holds
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_MFD_EXEC = 0x10  # since Linux 6.3; before, every memfd can be executed


class Facts(NamedTuple):
    """What of a suite everybody may know; sizes in bytes."""
    name: str
    noise: str
    private_size: int
    public_size: int
    lengths: Lengths


class Library:
    """`fd`: the sealed copy, this object's."""

    def __init__(self, path: str, sha256: str):
        """Opened, compared, and tried. HostError names the file and what is wrong with it."""
        self.path, self.sha256 = path, sha256
        self.fd = opened(path, sha256)
        try:
            told = self._ask("check")
            try:
                self.facts = Facts(str(told["name"]), str(told["noise"]), int(told["private_size"]),
                                   int(told["public_size"]), Lengths(*map(int, told["lengths"])))
            except (KeyError, TypeError, ValueError):
                raise HostError(f"{path}: self-test: its report is none") from None
        except BaseException:
            self.close()
            raise

    def new_key(self) -> bytes:
        """A new private key. HostError."""
        return self._key("new")

    def public(self, private: bytes) -> bytes:
        """The public key of a private one. HostError, for what is no private key, too."""
        return self._key("public", private)

    @property
    def sizes(self) -> SuiteSizes:
        """For a site file."""
        return SuiteSizes(self.facts.public_size, self.facts.lengths.overhead)

    def close(self) -> None:
        """Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def _key(self, what: str, given: bytes = b"") -> bytes:
        told = self._ask(what, given)
        try:
            return bytes.fromhex(told["key"])
        except (KeyError, TypeError, ValueError):
            raise HostError(f"{self.path}: {what}: gives no key") from None

    def _ask(self, what: str, given: bytes = b"") -> dict[str, Any]:
        try:
            return _tried(self.fd, what, given)
        except HostError as e:
            raise HostError(f"{self.path}: {e}") from None


class Read(NamedTuple):
    """What wgpy.config.site.parse says of a file, with the sizes of its suite; the caller closes
    `library`, None for WireGuard's."""
    site: Site | None
    errors: list[ConfigError]
    warnings: list[str]
    library: Library | None


def read_site(data: bytes, source: str) -> Read:
    """HostError for a library that cannot be used."""
    site, errors, warnings = site_file.parse_bytes(data, source)
    if site is None or site.suite is None:
        return Read(site, errors, warnings, None)
    library = Library(site.suite.library, site.suite.sha256)
    return Read(*site_file.parse_bytes(data, source, library.sizes), library)


def with_suite(path: str) -> tuple[Site, bytes, Library | None]:
    """The checked site of a file, its bytes, and the library that it names, which the caller closes.
    ConfigError, HostError, OSError."""
    with open(path, "rb") as f:
        data = f.read(site_file.MAX_FILE + 1)
    site, errors, _, library = read_site(data, path)
    return site_file.good(site, errors, path), data, library


def opened(path: str, sha256: str) -> int:
    """A descriptor of memory with the file's bytes, of which `sha256` is the digest. HostError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as e:
        raise HostError(f"{path}: {e.strerror}") from None
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise HostError(f"{path}: is not a regular file")
        if info.st_uid != 0 or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise HostError(f"{path}: must be root's and writable by nobody else: chown root, chmod go-w")
        with open(fd, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as e:
        raise HostError(f"{path}: {e.strerror}") from None
    finally:
        os.close(fd)
    if len(data) > MAX_BYTES:
        raise HostError(f"{path}: has more than {MAX_BYTES >> 20} MiB")
    found = hashlib.sha256(data).hexdigest()
    if not compare_digest(found, sha256):
        raise HostError(f"{path}: digest: is {found}, not the sha256 that was given: another file than was examined")
    return _sealed(data)


def _sealed(data: bytes) -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create("suite", flags | _MFD_EXEC)
    except OSError:
        fd = os.memfd_create("suite", flags)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest):]
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def _tried(fd: int, what: str, given: bytes) -> dict[str, Any]:
    """What the trial reports; HostError: check and reason."""
    reader, writer = os.pipe()
    output = os.memfd_create("output", os.MFD_CLOEXEC)
    try:
        os.set_blocking(reader, False)
        try:
            process = subprocess.Popen(start.python("wgpy.crypto.trial", fd, writer, what), stdin=subprocess.PIPE, stdout=output,
                                       stderr=output, pass_fds=(fd, writer), cwd="/", env={"PATH": start.DEFAULT_PATH})
        except OSError as e:
            raise HostError(f"the process to try it in: {e.strerror}") from None
        status: int | None = None
        try:
            process.communicate(given, PATIENCE)
            status = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        try:
            report = os.read(reader, _OUTPUT)
        except BlockingIOError:
            report = b""
        return _verdict(status, report, os.pread(output, _OUTPUT, 0))
    finally:
        for each in (reader, writer, output):
            os.close(each)


def _verdict(status: int | None, report: bytes, said: bytes) -> dict[str, Any]:
    """`status`: of the process, None when it did not end. The report's lines: JSON, the
    last says what came of it, those before at which check it was."""
    try:
        lines = [json.loads(line) for line in report.splitlines()]
        check = str(lines[-1].get("check", "load"))[:40] if lines else "load"
        result = lines[-1] if lines else {}
    except (ValueError, AttributeError, RecursionError):
        check, result = "load", {}
    words = quoted(said.decode(errors="replace").strip())
    if status is None:
        raise HostError(f"{check}: does not end within {PATIENCE} s")
    if status < 0:
        raise HostError(f"{check}: crashes ({signal.Signals(-status).name})" + (f" and says {words}" if said else ""))
    if isinstance(reason := result.get("refused"), str):
        raise HostError(f"{check}: {reason[:400]}")
    if said:
        raise HostError(f"{check}: prints {words}")
    if not isinstance(done := result.get("done"), dict):
        raise HostError(f"{check}: ends the process (status {status})")
    return done
