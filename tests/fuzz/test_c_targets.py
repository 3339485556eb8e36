"""libFuzzer targets of the C core; each invariant stands at the top of tests/c/fuzz_*.c.

WGPY_FUZZ_SECONDS: how long each target runs (2 s by default).
"""
import os
import subprocess
from pathlib import Path

import pytest
from needs import skip_what_make_lacks

C = Path(__file__).parent.parent / "c"
TARGETS = sorted(p.stem.removeprefix("fuzz_") for p in C.glob("fuzz_*.c"))


@pytest.mark.parametrize("target", TARGETS)
def test_target(target):
    seconds = int(os.environ.get("WGPY_FUZZ_SECONDS", "2"))
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", str(C), f"FUZZ_SMOKE_SECONDS={seconds}", f"smoke-{target}"],
        env=environment, capture_output=True, text=True, errors="replace", timeout=seconds + 900)
    if done.returncode:
        skip_what_make_lacks(done.stderr)
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-60:])
        pytest.fail(tail, pytrace=False)
    assert "stat::number_of_executed_units:" in done.stderr
