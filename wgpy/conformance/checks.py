"""All checks in their order, and the report of them."""

import contextlib
import hashlib
import os
import platform
import shutil
import tempfile
import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wgpy.conformance import build, memcheck
from wgpy.conformance.runner import FAILED, SKIPPED, Result, descriptor, run, skipped
from wgpy.errors import HostError, WgpyError
from wgpy.isolate.library import Library

# Name -> what it asserts, in the words of the report.
CHECKS = {
    "table": "the library loads, its version, sizes, names and functions are those of the header",
    "vectors": "published answers come out, at least one of each function",
    "self-test": "the library's own test passes",
    "keys": "keys follow from their bytes alone; both sides of DH find one secret, no two pairs the same",
    "points": "what is no public key, of low order or in another form is refused",
    "hash": "the hash depends on all its input, not on how that is cut",
    "mac": "the MAC depends on all its input and all its key, not on how the input is cut",
    "lengths": "packets of 0 to 65535 bytes, at every alignment, alone: sealed, opened, as seal_one does",
    "batches": "batches of 1 to 64 and of 256 packets, of several keys and lengths, give what each alone gives",
    "forgeries": "another bit of tag, ciphertext, counter or key is refused, and no plaintext is left",
    "additional": "additional data of 0 to hash_size bytes counts, each bit of it",
    "cookie": "cookie replies: each bit of key, nonce, additional data, ciphertext and tag counts",
    "bounds": "nothing is touched outside the buffers, and no input is written",
    "allocations": "seal, open, seal_one and open_one allocate nothing",
    "calls": "seal, open, seal_one and open_one make no system call",
    "threads": "threads with contexts of their own get the answers that one thread gets",
    "wiping": "nothing of a key is left in freed blocks or anywhere in the process",
    "process": "threads, descriptors, signals, locale, umask and directory of the process stay as they are",
    "timing": "times do not tell which byte of a tag is wrong, nor keys or plaintext (a t-test)",
    "speed": "how fast it is",
}
NODE_NAME = "node"
SANITIZED = ("vectors", "keys", "hash", "mac", "lengths", "additional", "cookie")
SANITIZED_NAME = "sanitized"
NAMES = (*CHECKS, NODE_NAME, SANITIZED_NAME, memcheck.NAME)
_NEEDS_TABLE = "the table is not sound"


@dataclass
class Report:
    """What a certifier files."""
    library: str
    sha256: str
    machine: dict[str, str]
    results: list[Result] = field(default_factory=list)
    builtin: dict[str, float] = field(default_factory=dict)  # figures of WireGuard's suite, as `speed` has them

    @property
    def verdict(self) -> str:
        """FAILED if one check failed, else PASSED."""
        return FAILED if any(r.verdict == FAILED for r in self.results) else "passed"

    def said(self, kind: str) -> list[str]:
        """Lines of a kind that the table's check said."""
        return [text for result in self.results for k, text in result.said if k == kind]

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        labels = dict(line.split(" ", 1) for line in self.said("text"))
        return {"library": self.library, "sha256": self.sha256, "suite": labels.get("name"), "noise": labels.get("noise"),
                "identifier": labels.get("identifier"), "sizes": {n: int(v) for n, v in (line.split() for line in self.said("size"))},
                "loads": [{"path": path, "sha256": digest(path)} for path in self.said("loads") if not path.startswith("/proc/")],
                "machine": self.machine, "checks": [
                    {"name": r.name, "about": r.about, "verdict": r.verdict, "lines": r.lines, "figures": r.figures} for r in self.results],
                "builtin": self.builtin, "verdict": self.verdict}


def digest(path: str | int) -> str:
    """SHA-256, in hexadecimal, of a file or of what a descriptor is open on."""
    with open(path, "rb", closefd=isinstance(path, str)) as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def machine() -> dict[str, str]:
    """What the verdicts hold for."""
    with contextlib.suppress(OSError, StopIteration), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
        cpu = next(line.partition(":")[2].strip() for line in f if line.startswith(("model name", "CPU part")))
        return _about(cpu)
    return _about("unknown")


def _about(cpu: str) -> dict[str, str]:
    return {"architecture": platform.machine(), "cpu": cpu, "cores": str(len(os.sched_getaffinity(0))), "kernel": platform.release(),
            "libc": " ".join(platform.libc_ver()), "compiler": build.version(build.compiler())}


class Kit:
    """The harness in its kinds, each built when it is first needed, in `folder`."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._built: dict[Callable[[Path], Path], Path] = {}

    def harness(self, how: Callable[[Path], Path] = build.plain) -> Path:
        """By one of the functions of `build`. HostError."""
        if how not in self._built:
            self._built[how] = how(self._folder)
        return self._built[how]


def examine(path: Path, kit: Kit, only: tuple[str, ...] = (), tell: Callable[[Result], None] = lambda result: None) -> Report:
    """All checks, or the table's and those of `only`; `tell` hears of each. HostError when the library
    cannot be read or the checks cannot be built."""
    if unknown := sorted(set(only) - set(NAMES)):
        raise HostError(f"no check is called {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    try:
        library = descriptor(path)
    except OSError as e:
        raise HostError(f"{path}: {e.strerror}") from None
    try:
        if not Path(f"/proc/self/fd/{library}").is_file():
            raise HostError(f"{path}: is not a file")
        report = Report(str(path), digest(library), machine())
        for result in _results(kit, library, path, only or NAMES):
            report.results.append(result)
            tell(result)
        if any(r.name == "speed" and r.figures for r in report.results):
            report.builtin = builtin()
        return report
    finally:
        os.close(library)


def _results(kit: Kit, library: int, path: Path, wanted: tuple[str, ...]) -> Iterator[Result]:
    harness = kit.harness()
    table = run([str(harness)], library, "table", CHECKS["table"])
    yield table
    for name, about in CHECKS.items():
        if name != "table" and name in wanted:
            yield run([str(harness)], library, name, about) if table.verdict != FAILED else skipped(name, about, _NEEDS_TABLE)
    for name, about, look in ((NODE_NAME, "a node takes it, in a process that can do nothing, as before each start", _node),
                              (SANITIZED_NAME, "the same under AddressSanitizer", _sanitized), (memcheck.NAME, memcheck.ABOUT, _memcheck)):
        if name in wanted:
            yield look(kit, library, path, about) if table.verdict != FAILED else skipped(name, about, _NEEDS_TABLE)


def _node(kit: Kit, library: int, path: Path, about: str) -> Result:
    """Of a copy, which is root's and nobody's to change, whoever's the library is yet."""
    result = Result(NODE_NAME, about)
    if os.geteuid() != 0:
        return skipped(NODE_NAME, about, "only root can try it so")
    with tempfile.NamedTemporaryFile(suffix=".so") as copy, open(f"/proc/self/fd/{library}", "rb") as file:
        shutil.copyfileobj(file, copy)
        copy.flush()
        try:
            Library(copy.name, digest(copy.name)).close()
        except HostError as e:
            result.fail(str(e).removeprefix(f"{copy.name}: "))
    return result


def _sanitized(kit: Kit, library: int, path: Path, about: str) -> Result:
    try:
        harness = kit.harness(build.sanitized)
    except HostError as e:
        return skipped(SANITIZED_NAME, about, str(e))
    whole = Result(SANITIZED_NAME, about)
    for name in SANITIZED:
        part = run([str(harness)], library, name, about)
        for line in part.lines:
            (whole.fail if part.verdict == FAILED else whole.note)(f"{name}: {line}")
    return whole


def _memcheck(kit: Kit, library: int, path: Path, about: str) -> Result:
    try:
        return memcheck.examine(kit.harness(build.for_memcheck), library, path)
    except HostError as e:
        return skipped(memcheck.NAME, about, str(e))


def builtin() -> dict[str, float]:
    """Nanoseconds of WireGuard's own suite, by the names that `speed` has; packets by the fastest backend."""
    from wgpy import suite
    from wgpy._fast import plane
    try:
        backend = min((ns, name) for name, _, _, ns in plane.aead_backends() if ns is not None)[1]
        out = {f"ns to seal {size} bytes": plane.aead_measure(backend, size, 32) for size in (64, 576, 1420, 8920, 65535)}
        ours = suite.get()
        key, public = bytes(range(32)), ours.public(bytes(range(1, 33)))
        if public is None:
            return {}
        out["ns for dh"] = min(timeit.repeat(lambda: ours.dh(key, public), number=50, repeat=5)) / 50 * 1e9
        out["ns for mac of an initiation"] = min(timeit.repeat(lambda: ours.mac(key, bytes(72)), number=500, repeat=5)) / 500 * 1e9
    except (ValueError, WgpyError):
        return {}
    return out


def count(report: Report, verdict: str) -> int:
    """How many checks have that verdict."""
    return sum(r.verdict == verdict for r in report.results)


__all__ = ["CHECKS", "NAMES", "SKIPPED", "Kit", "Report", "count", "digest", "examine"]
