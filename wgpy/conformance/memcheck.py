"""What valgrind's memcheck says of the library's work on secrets that count as undefined."""

import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

from wgpy.conformance.runner import Result, run

NAME = "secrets"
ABOUT = "valgrind finds no branch and no address that depends on a key or plaintext"
_NOT_TO_BLAME = ("/libc.so", "/libc-", "vgpreload", "/memcheck-")  # who called memcmp() is
# Where a verdict on a secret is a branch that no library can do without; the rest of these is looked at.
_JUDGED = {"pairs"}
_SECONDS = 600.0


def examine(harness: Path, library: int, path: Path) -> Result:
    """A finding in the library itself fails; in another library, or in the range check of a private
    key, it is noted."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        result = run(["valgrind", "-q", "--xml=yes", f"--xml-file={report.name}", "--num-callers=40", "--error-limit=no", str(harness)],
                     library, NAME, ABOUT, seconds=_SECONDS, prints=True)
        text = Path(report.name).read_text(errors="replace")
    try:
        errors = ElementTree.fromstring(text).findall("error")
    except ElementTree.ParseError:
        result.note("valgrind's report is not whole")
        return result
    _judge(result, errors, library, path)
    return result


def _judge(result: Result, errors: list[ElementTree.Element], library: int, path: Path) -> None:
    ours = {str(path), str(path.resolve()), f"/proc/self/fd/{library}"}
    bad: list[str] = []
    others: Counter[str] = Counter()
    for error in errors:
        if not (error.findtext("kind") or "").startswith("Uninit"):
            result.fail(f"valgrind: {error.findtext('what') or error.findtext('xwhat/text')}")
            continue
        frames = [(f.findtext("obj") or "", f.findtext("fn") or "?", f.findtext("line") or "") for f in error.findall("stack/frame")]
        object_, function, line = next((f for f in frames if not any(part in f[0] for part in _NOT_TO_BLAME)), ("?", "?", ""))
        judged = any(fn in _JUDGED for _, fn, _ in frames)
        if object_ in ours and not judged:
            bad.append(f"{function}{f', line {line}' if line else ''}")
        else:
            others[f"{function} of the library, of a private key" if object_ in ours else Path(object_).name] += 1
    for place in dict.fromkeys(bad):
        result.fail(f"a branch or an address depends on a secret in {place}")
    for name, count in sorted(others.items()):
        result.note(f"branches or addresses that depend on secrets in {name}: {count}")
