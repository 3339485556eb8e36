"""A wrong call from Python raises: it never ends the process, hangs it, or is taken for
another. Each seed runs in a process of its own, so that a crash is seen as a failure."""
import json
import os
import subprocess
import sys
from pathlib import Path

from toy import build

from wgpy._fast import plane, ports

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import misuse  # noqa: E402

CALLS = max(3000, int(os.environ.get("FUZZ_EXAMPLES", "0")))


def run(seed: int, place: Path) -> dict:
    log = place / "calls"
    try:
        done = subprocess.run([sys.executable, misuse.__file__, str(seed), str(CALLS), str(log)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              timeout=600 + CALLS / 20)
        ended, said = done.returncode, done.stderr.decode(errors="replace")
    except subprocess.TimeoutExpired:
        ended, said = "hung", ""
    assert ended == 0, f"seed {seed}: {ended} after {log.read_text().splitlines()[-3:]}\n{said[-2000:]}"
    return json.loads(said.splitlines()[-1])


def test_wrong_calls_raise(tmp_path):
    build(str(tmp_path / "toy.so"))
    # and not everything is refused at the door; what is answered also depends on the order of threads
    unanswered = {**misuse.METHODS, **misuse.MODULES, **misuse.CLASSES}.keys()
    for seed in range(40):
        answered = run(seed, tmp_path)
        unanswered = [name for name in unanswered if name not in answered]
        if seed >= 3 and not unanswered:
            break
    assert not unanswered


def test_everything_public_is_known():
    known = {**misuse.METHODS, **misuse.MODULES, **misuse.CLASSES}
    for module in (plane, ports):
        mine = {n for n in misuse.public(module) if getattr(getattr(module, n), "__module__", "") == module.__name__}
        assert mine and mine <= set(known)
        for name in mine:
            if isinstance(getattr(module, name), type):
                assert misuse.public(getattr(module, name)) <= set(known), name
