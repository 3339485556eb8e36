"""The tests of this directory once more, with the extensions built under ASan and
UBSan. The build is kept in .cache by the hash of its sources."""
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# quarantine makes memory grow by design
EXCLUDED = ["test_sanitized.py", "test_memory_does_not_grow_with_load"]
FLAGS = "-fsanitize=address,undefined -fno-sanitize=shift -O1 -g0 -fno-omit-frame-pointer"


def sources() -> list[Path]:
    fast = ROOT / "wgpy" / "_fast"
    return sorted([ROOT / "setup.py", *fast.glob("*.p*"), *fast.glob("c/**/*.[ch]"), *(ROOT / "wgpy" / "suite").glob("*.h")])


def built() -> Path:
    digest = hashlib.sha256(b"".join(bytes(p.relative_to(ROOT)) + p.read_bytes() for p in sources())).hexdigest()[:16]
    target = ROOT / ".cache" / "sanitized" / digest
    if not (target / "done").exists():
        shutil.rmtree(target.parent, ignore_errors=True)
        env = os.environ | {"CFLAGS": FLAGS, "LDFLAGS": "-fsanitize=address,undefined"}
        subprocess.run([sys.executable, "-I", "setup.py", "-q", "build", "--build-lib", str(target / "lib"),
                        "--build-temp", str(target / "temp")], cwd=ROOT, env=env, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (target / "done").touch()
    for package in (p.parent for p in (ROOT / "wgpy").rglob("__init__.py")):  # Python as it is now
        shutil.copytree(package, target / "lib" / package.relative_to(ROOT), dirs_exist_ok=True,
                        ignore=lambda _, names: [n for n in names if not n.endswith(".py")])
    return target / "lib"


def runtime(name: str) -> str:
    return subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.slow
def test_under_address_and_undefined_behaviour_sanitizers():
    lib = built()
    env = os.environ | {
        "LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libubsan.so')}",
        "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONPATH": os.pathsep.join(map(str, (lib, ROOT / "tests", ROOT / "tests" / "plane"))),
    }
    run = subprocess.run(
        [sys.executable, "-P", "-s", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(lib),
         "-k", " and not ".join(["test", *EXCLUDED[1:]]), "--ignore", str(Path(__file__)), str(Path(__file__).parent)],
        cwd=lib, env=env, capture_output=True, text=True, timeout=1800)
    said = run.stdout + run.stderr
    assert run.returncode == 0, said[-4000:]
    assert "runtime error" not in said and "AddressSanitizer" not in said, said[-4000:]
    assert " passed" in said
