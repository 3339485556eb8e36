"""Every command of wgpy that a text names is one: in documents, units, comments, helps and
error messages."""

import ast
import io
import re
import subprocess
import tokenize
from pathlib import Path

import click
import pytest

from wgpy.cli.commands import cli

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"(?<![\w./@-])wgpy\s+((?:[a-z][a-z|-]*\s*){1,3})")
COMMENT = re.compile(r"^[ \t]*[#*\"]+[ \t]?", re.M)  # in front of a line that goes on
PEERS = {"wgpy encryptor", "wgpy with OpenSSL"}  # names in tables of the benchmarks
PROSE = {"wgpyd", "does", "raises"}  # what follows wgpy where it is the program


def tracked(*suffixes: str) -> list[Path]:
    names = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files"],
                           capture_output=True, text=True).stdout.split()
    names = names or [str(p.relative_to(ROOT)) for top in ("wgpy", "tests", "docs", "packaging") for p in (ROOT / top).rglob("*")]
    return [ROOT / n for n in names if n.endswith(suffixes) and (ROOT / n).is_file()
            and ROOT / n != Path(__file__)]  # which has some that are none


def quoted(text: str) -> list[str]:
    """What stands in `…` and in code blocks of a document or comment."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.M | re.S)
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return blocks + re.findall(r"`([^`]+)`", text)


def strange(text: str) -> list[str]:
    """Commands in it that do not exist. Of alternatives (`up|down`) each is looked at."""
    found = []
    for words in NAMED.findall(text):
        group, said = cli, ["wgpy"]
        for word in words.split():
            known = [group.commands.get(w) for w in word.split("|")]
            said.append(word)
            if None in known:
                found.append(" ".join(said))
            if None in known or not isinstance(known[0], click.Group):
                break
            group = known[0]
    return found


def of_python(path: Path) -> list[str]:
    """In comments and docstrings what is quoted, in other texts everything."""
    source, found = path.read_text(), []
    comments = [t.string for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.COMMENT]
    found += quoted("\n".join(c.lstrip("# ") for c in comments))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += quoted(node.value) if "`" in node.value else [node.value]
    return found


@pytest.mark.parametrize("path", tracked(".md", ".service", ".conf", ".sh", ".c", ".h"), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_document_names_commands_that_exist(path):
    text = path.read_text()
    parts = quoted(COMMENT.sub("", text) if path.suffix != ".md" else text)
    if path.suffix == ".service":
        parts += re.findall(r"^Exec\w+=(.*)", text, re.M)
    assert [s for part in parts for s in strange(part)] == []


@pytest.mark.parametrize("path", tracked(".py"), ids=lambda p: str(p.relative_to(ROOT)))
def test_code_names_commands_that_exist(path):
    found = [s for part in of_python(path) if part not in PEERS for s in strange(part) if s.split()[1] not in PROSE]
    assert found == []


def test_the_search_finds_commands():
    assert strange("wgpy status") == ["wgpy status"] and strange("see wgpy node\n  seal x") == ["wgpy node seal"]
    assert strange("wgpy node up|dwn") == ["wgpy node up|dwn"] and strange("wgpy site seal {file}") == ["wgpy site seal"]
    assert not strange("wgpy node audit verify lima, wgpy up wg0, wgpy show wg0 peers, /run/wgpy status")
    assert quoted("a `wgpy x`\n```\nwgpy y\n```\n") == ["wgpy y\n", "wgpy x"]
