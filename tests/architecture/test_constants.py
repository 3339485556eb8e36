"""A constant has one source: what Python or pyroute2 has by name is not written as a number."""

import ast
import errno
import fcntl
import mmap
import os
import re
import select
import signal
import socket
import stat
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import netlink
from pyroute2.netlink import rtnl
from pyroute2.netlink.rtnl import ifinfmsg

ROOT = Path(__file__).resolve().parents[2]
BARE = ROOT / "wgpy/netlink.py"  # read by black, which does without pyroute2
SOURCES = (errno, fcntl, mmap, os, select, signal, socket, stat, termios, netlink, rtnl, ifinfmsg)


def numbers(tree: ast.AST) -> Iterator[tuple[int, str, int]]:
    """(line, name, number) of each plain assignment, of tuples too."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            continue
        target, value = node.targets[0], node.value
        pairs = zip(target.elts, value.elts) if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) \
            else [(target, value)]
        for name, number in pairs:
            if isinstance(name, ast.Name) and isinstance(number, ast.Constant) and type(number.value) is int:
                yield node.lineno, name.id, number.value


def retyped(tree: ast.AST) -> list[str]:
    return [f"{line}: {name} = {number}, {source.__name__} has it" for line, name, number in numbers(tree)
            for source in SOURCES if getattr(source, name.lstrip("_"), None) == number]


@pytest.mark.parametrize("path", sorted(set((ROOT / "wgpy").rglob("*.py")) - {BARE}), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_number_that_has_a_name(path):
    """The oldest Python judges: what only newer ones name has to be a number for it."""
    found = retyped(ast.parse(path.read_text(encoding="utf-8")))
    assert not found or sys.version_info >= (3, 12)


def test_what_is_read_without_pyroute2_has_its_numbers():
    tree = ast.parse(BARE.read_text(encoding="utf-8"))
    named = [(name, number) for _, name, number in numbers(tree) if any(hasattr(s, name.lstrip("_")) for s in SOURCES)]
    assert len(named) > 10 and len(named) == len({text.partition(",")[0] for text in retyped(tree)}), named


def test_the_reader_finds_them():
    tree = ast.parse("_RTM_NEWLINK, OTHER = 16, 77\nEPOLLIN = 1\nSO_MARK = 35\nF_SETPIPE_SZ = 1031\n")
    assert sorted({text.split(":")[0] for text in retyped(tree)}) == ["1", "2", "4"]


def test_the_limits_of_a_node_stand_once():
    """max_peers and max_prefixes, wherever they are given or defaulted."""
    wrong = [f"{path.relative_to(ROOT)}: {found[0]}"
             for path in sorted((ROOT / "wgpy").rglob("*.py*")) if path.suffix in {".py", ".pyi", ".pyx"}
             for found in re.finditer(r"(?i)\b(?:max|plane)_(peers|prefixes)\W[^\n]{0,20}?\b(1024|131072)\b",
                                     path.read_text(encoding="utf-8"))]
    assert wrong == ["wgpy/constants.py: PLANE_PEERS = 1024", "wgpy/constants.py: PLANE_PREFIXES = 131072"]
