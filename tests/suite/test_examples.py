"""The suites in examples/suites are built as their READMEs say, without a warning, and pass every
check; what a README shows of sizes is what the library says. F8."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from needs import need

import examples


@pytest.fixture(scope="module", params=examples.NAMES)
def library(request) -> Path:
    return examples.library(request.param)


def wgpy(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-I", "-m", "wgpy.cli", *map(str, words)], capture_output=True, text=True, timeout=900)


@pytest.mark.slow
def test_it_passes_every_check(library):
    need("valgrind")
    done = wgpy("suite", "check", "--json", library)
    report = json.loads(done.stdout)
    bad = [c for c in report["checks"] if c["verdict"] not in ("passed", "noted")]
    assert (done.returncode, report["verdict"], bad) == (0, "passed", [])
    assert report["suite"] == library.stem


def test_its_readme_says_its_sizes(library):
    report = json.loads(wgpy("suite", "check", "--json", "--only", "table", library).stdout)
    text = (examples.FOLDER / library.stem / "README.md").read_text()
    told = dict(re.findall(r"^\| (\w+_\w+) \| (\d+) \|", text, re.MULTILINE))
    assert {name: int(value) for name, value in told.items()} == report["sizes"]
    assert f"`{report['noise']}`" in text and f"`{report['identifier']}`" in text


def test_it_exports_one_name(library):
    need("nm")
    said = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True, timeout=60).stdout
    assert [line.split()[2] for line in said.splitlines()] == ["wgpy_suite"]


def test_there_are_two():
    assert len(examples.NAMES) >= 2
