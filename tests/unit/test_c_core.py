"""The C core by itself: clean for three architectures, tested under sanitizers and as
i686 and arm64 programs, AVX-512 in an emulator. tests/c/Makefile does the work."""
import os
import subprocess
from pathlib import Path

import pytest
from needs import skip_what_make_lacks

C = Path(__file__).parent.parent / "c"
TESTS = sorted(p.stem.removeprefix("test_") for p in C.glob("test_*.c"))


def make(target: str) -> str:
    """Output of `make target` in tests/c; fails the test with its end."""
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(["make", "--no-print-directory", "-C", str(C), target], env=environment,
                          capture_output=True, text=True, errors="replace", timeout=1800)
    if done.returncode:
        skip_what_make_lacks(done.stderr)
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
        pytest.fail(f"make {target} failed:\n{tail}", pytrace=False)
    return done.stdout


@pytest.mark.parametrize("architecture", ["x86_64", "i686", "arm64"])
def test_compiles_without_warnings(architecture):
    """A2, A4: the same files for the host, the 32-bit guest and arm64."""
    make(f"compile-{architecture}")


@pytest.mark.parametrize("kind", ["sanitized", "i686", "arm64"])
@pytest.mark.parametrize("name", TESTS)
def test_program(kind, name):
    make(f"{kind}-{name}")


def test_no_part_of_a_key_stays_on_a_stack():
    """F1: of a pump that sleeps or has returned, of the control thread after its calls, with
    each backend and both compilers; nor in freed memory when an allocation fails."""
    make("burn")


def test_group_of_pumps_under_thread_sanitizer():
    make("threads")


def test_avx512_backend_on_an_emulated_processor():
    """F7: right on processors with AVX-512, which few test machines have; also sanitized."""
    said = make("emulated-avx512")
    assert "emulated_aead: status 0" in said and "emulated_aead_sanitized: status 0" in said


def test_a_clang_without_its_runtime_is_passed_over(tmp_path):
    clang = tmp_path / "clang"
    clang.write_text(f"#!/bin/sh\necho {tmp_path}\n")
    clang.chmod(0o755)
    asked = ["make", "-s", "-C", str(C), "--eval=chosen: ; @echo '[$(FUZZ_CC)]'", "chosen"]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert "[clang]" not in subprocess.run(asked, env=environment, capture_output=True, text=True, check=True).stdout
    runtime = tmp_path / "lib/linux/libclang_rt.fuzzer-x86_64.a"
    runtime.parent.mkdir(parents=True)
    runtime.touch()
    assert "[clang]" in subprocess.run(asked, env=environment, capture_output=True, text=True, check=True).stdout


def test_every_program_is_here():
    assert set(TESTS) >= {"ip", "split", "merge", "icmp", "replay", "trie"}
