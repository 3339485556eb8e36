"""The library of a suite: which file is taken, what becomes of one that misbehaves while it is tried,
and what it can do when crypto loads it. F8, F6, A4."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from needs import need

from wgpy.errors import HostError
from wgpy.isolate import library
from wgpy.isolate.library import Library, opened, with_suite

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

# What a library does as soon as it is loaded; none of these has a table.
ACTS = {
    "nothing": "",
    "crashes": "*(volatile int *)0 = 1;",
    "aborts": "abort();",
    "exits": "_exit(7);",
    "prints": 'puts("hello"); fflush(stdout); _exit(0);',
    "floods": 'for (;;) puts("hello");',
    "hangs": "for (;;) pause();",
    "forks": "if (fork() >= 0) abort();",
    "runs": 'char *nobody[] = {"/bin/true", NULL}; execv(nobody[0], nobody); ',
    "connects": "if (socket(AF_INET, SOCK_DGRAM, 0) >= 0 || socket(AF_UNIX, SOCK_STREAM, 0) >= 0) abort();",
    "writes": 'if (open("/tmp/wgpy-was-here", O_CREAT | O_WRONLY, 0600) >= 0 || open("/dev/null", O_RDWR) >= 0) abort();',
    "reads": 'if (open("/etc/shadow", O_RDONLY) >= 0) abort();',
    "signals": "if (!kill(getppid(), 0)) abort();",
}
TEXT = """
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
__attribute__((constructor)) static void begin(void) { %s }
"""


@pytest.fixture(scope="module")
def acting(tmp_path_factory):
    """Builds the library that does so; its path and digest."""
    need("cc")
    folder = tmp_path_factory.mktemp("libraries")
    folder.chmod(0o755)

    def build(act: str) -> tuple[str, str]:
        path = folder / f"{act}.so"
        if not path.exists():
            subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", path], input=(TEXT % ACTS[act]).encode(), check=True,
                           timeout=300)
            path.chmod(0o644)
        return str(path), hashlib.sha256(path.read_bytes()).hexdigest()
    return build


@pytest.mark.parametrize("act, words", [
    ("crashes", r"load: crashes \(SIGSEGV\)"), ("aborts", r"load: crashes \(SIGABRT\)"), ("exits", r"load: ends the process \(status 7\)"),
    ("prints", "load: prints 'hello'"), ("floods", r"load: crashes \(SIGXFSZ\) and says 'hello"), ("runs", r"load: crashes \(SIGSYS\)"),
])
def test_a_library_that_misbehaves_is_named_with_the_check(acting, act, words):
    path, digest = acting(act)
    with pytest.raises(HostError, match=f"{path}: {words}") as caught:
        Library(path, digest)
    assert "\n" not in str(caught.value)


def test_one_that_hangs_is_ended(acting, monkeypatch):
    monkeypatch.setattr(library, "PATIENCE", 5)
    with pytest.raises(HostError, match="load: does not end within 5 s"):
        Library(*acting("hangs"))


@pytest.mark.parametrize("act", ["nothing", "forks", "connects", "writes", "reads", "signals"])
def test_what_it_may_not_do_it_cannot(acting, act):
    """It would abort if it could; so it is refused for having no table, as the one that does nothing."""
    with pytest.raises(HostError) as caught:
        Library(*acting(act))
    assert "wgpy_suite" in str(caught.value) and "crashes" not in str(caught.value)


def test_only_the_file_that_was_examined_is_taken(acting, tmp_path):
    path, digest = acting("nothing")
    copy, link = tmp_path / "copy.so", tmp_path / "link.so"
    copy.write_bytes(Path(path).read_bytes())
    link.symlink_to(copy)
    os.mkfifo(tmp_path / "fifo.so")
    cases = [(link, "symbolic links"), (tmp_path, "regular file"), (tmp_path / "fifo.so", "regular file"),
             (tmp_path / "no.so", "No such file")]
    for mode, owner in ((0o664, 0), (0o646, 0), (0o644, 1000)):
        cases.append((tmp_path / f"{mode:o}.{owner}.so", "must be root's and writable by nobody else"))
        cases[-1][0].write_bytes(copy.read_bytes())
        cases[-1][0].chmod(mode)
        os.chown(cases[-1][0], owner, 0)
    for case, words in cases:
        with pytest.raises(HostError, match=words) as caught:
            opened(str(case), digest)
        assert str(case) in str(caught.value)
    with pytest.raises(HostError, match=f"digest: is {digest}, not the sha256 that was given"):
        opened(path, "0" * 64)


def test_what_is_loaded_cannot_be_changed_any_more(acting):
    path, digest = acting("nothing")
    fd = opened(path, digest)
    try:
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
        assert hashlib.sha256(os.pread(fd, 1 << 20, 0)).hexdigest() == digest
    finally:
        os.close(fd)


# In the process of a crypto room, as far as it is when it loads: what is there, and what can be done.
JAILED = """
import ctypes, os, sys
from wgpy.isolate import jail
from wgpy.isolate.library import opened
fd = opened(*sys.argv[1:3])
secret = os.open("/etc/shadow", os.O_RDONLY)
jail.enter_network(None)
jail.enter("crypto", 70000, lambda: None, fd)
os.close(secret)
seen = sorted(os.listdir("/"))
jail.before_foreign_code()
ctypes.CDLL(f"/proc/self/fd/{fd}")
jail.lock("crypto")
try:
    os.listdir("/usr")
    closed = False
except PermissionError:
    closed = True
print(seen, closed, os.pread(fd, 4, 0))
"""


@pytest.mark.parametrize("act", ["nothing", "forks", "connects", "writes", "reads"])
def test_crypto_loads_it_when_it_has_shut_itself_in(acting, act):
    done = subprocess.run([sys.executable, "-I", "-c", JAILED, *acting(act)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.split()
    assert "'usr'" in done.stdout and not {"'home',", "'root',", "'run',", "'var',", "'tmp',"} & set(shown)
    assert done.stdout.strip().endswith("True b'\\x7fELF'")


def test_a_node_whose_library_is_refused_starts_nothing(acting, tmp_path):
    from site_files import LIMA
    path, digest = acting("crashes")
    file = tmp_path / "lima.toml"
    file.write_text(LIMA + f'[suite]\nlibrary = "{path}"\nsha256 = "{digest}"\n')
    with pytest.raises(HostError, match="load: crashes"):
        with_suite(str(file))
    done = subprocess.run([sys.executable, "-I", "-m", "wgpy.cli", "node", "up", str(file)], capture_output=True, text=True, timeout=120,
                          env=os.environ | {"WGPY_RUN_DIR": str(tmp_path / "run")})
    assert done.returncode == 1 and done.stderr == f"wgpy: {path}: load: crashes (SIGSEGV)\n"
    assert not (tmp_path / "run").exists()
