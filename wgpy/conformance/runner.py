"""One check in a process of its own, and what came of it."""

import os
import resource
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

PASSED, NOTED, FAILED, SKIPPED = "passed", "noted", "failed", "not examined"
SECONDS = 120.0  # a check takes seconds; a slow machine may have other things to do
_PRINTED, _REPORTED = 1 << 20, 1 << 26  # bytes that a library, or a tool about it, may write before it is stopped


@dataclass
class Result:
    """Of one check. `lines`: what was found, one each; `said`: lines of other kinds."""
    name: str
    about: str
    verdict: str = PASSED
    lines: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    said: list[tuple[str, str]] = field(default_factory=list)

    def fail(self, line: str) -> None:
        """The verdict is FAILED, whatever else was found."""
        self.verdict = FAILED
        self.lines.append(line)

    def note(self, line: str) -> None:
        """NOTED, if it was no worse."""
        if self.verdict == PASSED:
            self.verdict = NOTED
        self.lines.append(line)


def skipped(name: str, about: str, why: str) -> Result:
    """A check that could not look."""
    return Result(name, about, SKIPPED, [why])


def _limits(written: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written, written))


def environment() -> dict[str, str]:
    """What a library may see of ours: as little as in the crypto room, and nothing that a user has set."""
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}


def run(harness: list[str], library: int, name: str, about: str, *, seconds: float = 0.0, prints: bool = False) -> Result:
    """Runs check `name` of the library that descriptor `library` is open on. `harness`: the command
    in front. `seconds`: 0 for SECONDS. `prints`: what comes on standard output and error is no fault
    (a tool's)."""
    result = Result(name, about)
    seconds = seconds or SECONDS
    read, write = os.pipe()
    with tempfile.TemporaryFile() as printed, open(read, "rb") as pipe:
        try:
            process = subprocess.Popen([*harness, f"/proc/self/fd/{library}", name, str(write)], stdin=subprocess.DEVNULL, stdout=printed,
                                       stderr=printed, env=environment(), pass_fds=(library, write), start_new_session=True,
                                       preexec_fn=lambda: _limits(_REPORTED if prints else _PRINTED))
        finally:
            os.close(write)
        try:
            process.wait(seconds)
            late = False
        except subprocess.TimeoutExpired:
            late = True
        finally:
            _end(process)
        ended = _read(result, pipe.read(1 << 20).decode(errors="replace"))
        if late:
            result.fail(f"it does not come back within {seconds:.0f} s")
        elif not ended and result.verdict not in (FAILED, SKIPPED):
            result.fail(_how(process.returncode))
        printed.seek(0)
        if not prints and (text := printed.read(1 << 16).decode(errors="replace").strip()):
            lines = text.splitlines()
            result.fail(f"it prints: {next((line for line in lines if 'ERROR' in line or 'error:' in line), lines[0])[:120]!r}")
    return result


def _end(process: "subprocess.Popen[bytes]") -> None:
    """With whatever it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _how(status: int) -> str:
    if status < 0:
        return f"the process is killed by {signal.Signals(-status).name}"
    return f"the process ends by itself, with status {status}"


def _read(result: Result, text: str) -> bool:
    """Takes the harness's lines; whether it came to its end."""
    ended = False
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        rest = "".join(c if c.isprintable() else "?" for c in rest)
        if kind == "fail":
            result.fail(rest)
        elif kind == "note":
            result.note(rest)
        elif kind == "figure":
            what, _, number = rest.rpartition(" ")
            result.figures[what] = float(number)
        elif kind == "gave-up":
            result.verdict = SKIPPED
            result.lines.append(rest)
        elif kind == "done":
            ended = True
        else:
            result.said.append((kind, rest))
    return ended


def descriptor(path: Path) -> int:
    """The library, opened once: what is hashed, checked and loaded is one file. OSError."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
