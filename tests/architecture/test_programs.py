"""Every program that the product, its tests or its benchmarks start is declared in
tools/packages.txt, so that a machine on which nothing was installed can run them."""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
# calls whose first text, or first element of a list, is a program
STARTING = {"run", "popen", "Popen", "check_call", "check_output", "call", "_run", "_command", "execvp", "which", "need"}
SHELLS = {"sh", "bash"}
WORDS = {"if", "then", "while", "until", "do", "done", "else", "fi", "for", "exec", "exit", "echo", "printf", "read", "set", "cd",
         "trap", "umask", "wait", "command", "export", "eval", "return", ":", "{", "}", "!", "[", "test", "shift"}
# not programs: commands of wgpy itself, given to helpers of that name
OURS = set("wgpy wgpyd node keys site explain check new show".split())
# made or brought by the test or benchmark that runs them
BROUGHT = {"boringtun-cli", "wireguard"}


def declared() -> set[str]:
    lines = (ROOT / "tools/packages.txt").read_text().splitlines()
    return {program for line in lines if not line.startswith("#") for program in line.split()[2:]}


def in_shell(text: str):
    """First words of the simple commands of a script."""
    for command in re.split(r"\|\||&&|[|;&\n(]", text):
        words = [w for w in command.split() if not re.match(r"\w+=", w) and w not in WORDS]
        if words and re.fullmatch(r"[a-z][\w.+-]*", words[0]) and command.split()[0] not in WORDS - {"exec", "if", "then", "do"}:
            yield words[0]


def in_python(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in STARTING or not node.args:
            continue
        words = [e for a in node.args for e in (a.elts if isinstance(a, (ast.List, ast.Tuple)) else [a])]
        words = [w.value if isinstance(w, ast.Constant) and isinstance(w.value, str) else "" for w in words]
        if re.fullmatch(r"[a-z][\w.+-]*", words[0]):
            yield words[0]
        if words[0] in SHELLS and words[1:2] == ["-c"] and len(words) > 2:
            yield from in_shell(words[2])


def started() -> dict[str, set[str]]:
    found = defaultdict(set)
    for top in ("wgpy", "tests", "benchmarks", "tools", "guest"):
        for path in (ROOT / top).rglob("*.py"):
            for program in in_python(path):
                found[program].add(str(path.relative_to(ROOT)))
    return found


def test_every_program_is_declared():
    known = declared() | OURS | BROUGHT
    missing = {program: sorted(where) for program, where in started().items() if program not in known}
    assert not missing


def test_the_search_finds_programs():
    """It sees lists, plain arguments and scripts; a search that found nothing would pass."""
    found = started()
    assert {"ip", "nft", "wg", "iperf3", "valgrind", "readlink", "make"} <= set(found)
    assert list(in_shell("wget -q x | sha256sum && LC_ALL=C sort")) == ["wget", "sha256sum", "sort"]
