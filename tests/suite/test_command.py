"""`wgpy suite check` as a command: what it takes, what it prints, how it ends. F8."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from needs import need


def wgpy(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-I", "-m", "wgpy.cli", "suite", *map(str, words)], capture_output=True, text=True, timeout=300)


def compiled(folder: Path, text: str) -> Path:
    need("cc")
    include = wgpy("include").stdout.strip()
    subprocess.run(["cc", "-shared", "-fPIC", f"-I{include}", "-xc", "-", "-o", folder / "x.so"], input=text, text=True, check=True,
                   timeout=300)
    return folder / "x.so"


def test_the_header_is_where_include_says():
    assert "struct wgpy_suite" in (Path(wgpy("include").stdout.strip()) / "wgpy_suite.h").read_text()


@pytest.mark.parametrize("words, says", [
    (("/nowhere/x.so",), "/nowhere/x.so: No such file or directory"),
    (("/",), "/: is not a file"),
    (("--only", "luck", "/bin/true"), "no check is called luck"),
])
def test_what_cannot_be_checked_is_one_line(words, says):
    done = wgpy("check", *words)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith(f"wgpy: {says}") and done.stderr.count("\n") == 1


def test_without_a_compiler_it_says_which_package(monkeypatch, tmp_path):
    (tmp_path / "x.so").write_bytes(b"x")
    monkeypatch.setenv("PATH", str(tmp_path))
    done = wgpy("check", tmp_path / "x.so")
    assert done.returncode == 1 and "apt-get install gcc" in done.stderr


def test_no_library_is_a_failed_check(tmp_path):
    (tmp_path / "x.so").write_bytes(b"hello" * 1000)
    done = wgpy("check", "--json", tmp_path / "x.so")
    report = json.loads(done.stdout)
    assert done.returncode == 1 and report["verdict"] == "failed" and report["suite"] is None
    assert report["sha256"] == hashlib.sha256(b"hello" * 1000).hexdigest()
    table, *rest = report["checks"]
    assert table["verdict"] == "failed" and "invalid ELF header" in table["lines"][0]
    assert {c["verdict"] for c in rest} == {"not examined"}


def test_a_library_that_ends_the_process_while_it_is_loaded_fails(tmp_path):
    library = compiled(tmp_path, "#include <stdlib.h>\n__attribute__((constructor)) static void f(void) { exit(0); }\n")
    done = wgpy("check", library)
    assert done.returncode == 1 and "ends by itself, with status 0" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("failed: ")


def test_what_a_library_writes_without_end_is_stopped(tmp_path):
    library = compiled(tmp_path, '#include <unistd.h>\n__attribute__((constructor)) static void f(void) {'
                                 ' for (;;) (void)!write(1, "spam\\n", 5); }\n')
    done = wgpy("check", "--only", "table", library)
    assert done.returncode == 1 and "killed by SIGXFSZ" in done.stdout and "it prints: 'spam'" in done.stdout
