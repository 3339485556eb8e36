"""F7: no branch and no address in our AEAD backends depends on keys or plaintext.
tests/c/timing_aead.c says how that is seen."""

import subprocess
from pathlib import Path


def test_secret_independent_under_memcheck():
    done = subprocess.run(["make", "-s", "-C", str(Path(__file__).parents[1] / "c"), "timing"],
                          capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
