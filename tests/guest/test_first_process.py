"""The first process of a guest where the kernel had no console to give (A4): on seL4 its driver is a module."""

import os
import subprocess
import sys
from pathlib import Path

GUEST = Path(__file__).resolve().parents[2] / "guest"


def run(code: str, closed: bool) -> None:
    """In a process that has, or has not, its three descriptors."""
    script = f"import sys; sys.path.insert(0, {str(GUEST)!r}); import pid1\n{code}"
    command = [sys.executable, "-I", "-c", script]
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command]
    subprocess.run(shell if closed else command, check=True, timeout=120)


def test_it_takes_the_console_that_a_module_brought(tmp_path):
    terminal = tmp_path / "console"
    terminal.touch()
    run(f"pid1.console({str(terminal)!r})\nprint('init: hello')\nimport os; os.write(2, b'and errors\\n')", closed=True)
    assert terminal.read_text() == "init: hello\nand errors\n"


def test_it_keeps_the_one_that_it_was_given(tmp_path):
    run(f"pid1.console({str(tmp_path / 'none')!r})\nprint('fine')", closed=False)


def test_it_goes_on_where_there_is_none(tmp_path):
    mark = tmp_path / "went on"
    run(f"pid1.console({str(tmp_path / 'none')!r}, 0.2)\nprint('nobody hears')\nopen({str(mark)!r}, 'w')", closed=True)
    assert os.path.exists(mark)
