"""A wrong call from Python raises: it never ends the process, hangs it, or is taken for
another. Each seed runs in a process of its own, so that a crash is seen as a failure."""
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

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
                              timeout=60 + CALLS / 20)
        ended, said = done.returncode, done.stderr.decode(errors="replace")
    except subprocess.TimeoutExpired:
        ended, said = "hung", ""
    assert ended == 0, f"seed {seed}: {ended} after {log.read_text().splitlines()[-3:]}\n{said[-2000:]}"
    return json.loads(said.splitlines()[-1])


def test_wrong_calls_raise(tmp_path):
    called, answered = Counter(), Counter()
    for seed in range(4):
        told = run(seed, tmp_path)
        called.update(told["called"])
        answered.update(told["answered"])
    names = {**misuse.METHODS, **misuse.MODULES, **misuse.CLASSES}
    assert not [name for name in names if not called[name]]
    # and not everything was refused at the door
    assert not [name for name in names if not answered[name]]


def test_everything_public_is_known():
    known = {**misuse.METHODS, **misuse.MODULES, **misuse.CLASSES}
    for module in (plane, ports):
        mine = {n for n in misuse.public(module) if getattr(getattr(module, n), "__module__", "") == module.__name__}
        assert mine and mine <= set(known)
        for name in mine:
            if isinstance(getattr(module, name), type):
                assert misuse.public(getattr(module, name)) <= set(known), name
