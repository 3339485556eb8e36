"""Lines for ip(8), and which of them it could not carry out.

With -force ip goes on after a line that fails and names it, but at some failures (a
neighbour's, a word that it does not know) it ends without a look at the lines that follow.
So each line is followed by one that prints something, which shows how far it came.
"""

import logging
import re
import subprocess
from typing import NamedTuple

from wgpy.admin.faults import Fault
from wgpy.errors import HostError

log = logging.getLogger(__name__)

_SECONDS = 30
_CAME_SO_FAR, _SHOWN = "link show dev lo", "<LOOPBACK"
_FAILED = re.compile(r"Command failed -:(\d+)\s*")
_PREFIX = re.compile(r"^(Error|RTNETLINK answers): ")
_MOST_ENDS = 32  # of ip at one batch


class Line(NamedTuple):
    """`otherwise`: for a kernel or an ip that does not know `text`. `needed`: without it
    a node does not come up."""
    text: str
    otherwise: str = ""
    needed: bool = True


def run(*command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """HostError when it is not installed or does not end; its status is the caller's to see."""
    try:
        return subprocess.run(command, input=text, text=True, capture_output=True, timeout=_SECONDS)
    except FileNotFoundError:
        raise HostError(f"{command[0]} is missing: apt-get install iproute2 nftables") from None
    except subprocess.TimeoutExpired:
        raise HostError(f"{command[0]} does not end") from None


def faults(room: str, lines: list[Line]) -> list[Fault]:
    """Carries the lines out in the calling thread's namespace; those that failed.
    HostError."""
    failed = failures([line.text for line in lines])
    again = [line.otherwise for line in lines if line.text in failed and line.otherwise]
    failed_again = failures(again)
    return [Fault(room, line.text, failed[line.text], line.needed) for line in lines
            if line.text in failed and (not line.otherwise or line.otherwise in failed_again)]


def refuse(found: list[Fault]) -> None:
    """HostError when a node cannot come up with these."""
    needed = [str(fault) for fault in found if fault.needed]
    if needed:
        raise HostError("not configured: " + "; ".join(needed[:4]) + (
            f" (and {len(needed) - 4} more)" if len(needed) > 4 else ""))


def tell(before: list[Fault], found: list[Fault]) -> None:
    """Logs which are new and which are gone."""
    for fault in found:
        if fault not in before:
            log.warning("not configured: %s", fault)
    for fault in before:
        if fault not in found:
            log.info("no longer: not configured: %s", fault)


def failures(lines: list[str]) -> dict[str, str]:
    """Tries all of them in the calling thread's namespace; the reason of each that failed.
    HostError when ip cannot be run, or ends again and again."""
    failed: dict[str, str] = {}
    for _ in range(_MOST_ENDS):
        if not lines:
            return failed
        done = run("ip", "-force", "-batch", "-", text="".join(f"{line}\n{_CAME_SO_FAR}\n" for line in lines))
        named, last = parse(done.stderr)
        failed |= {lines[(number - 1) // 2]: reason for number, reason in named.items()}
        tried = done.stdout.count(_SHOWN)
        if tried < len(lines):
            failed[lines[tried]] = last
        lines = lines[tried + 1:]
    raise HostError(f"ip -batch ends again and again: {last}")


def parse(said: str) -> tuple[dict[int, str], str]:
    """Of what `ip -force -batch -` wrote to stderr: the reason of each line that failed, by
    number, and what it said after the last one."""
    failed: dict[int, str] = {}
    heard: list[str] = []
    for line in said.splitlines():
        if found := _FAILED.fullmatch(line):
            failed[int(found[1])] = _reason(heard)
            heard = []
        else:
            heard.append(line)
    return failed, _reason(heard)


def _reason(heard: list[str]) -> str:
    """The last thing that was said: warnings about lines that did not fail may come before."""
    said = [line.strip() for line in heard if line.strip()]
    return _PREFIX.sub("", said[-1])[:200].removesuffix(".") if said else "no reason given"
