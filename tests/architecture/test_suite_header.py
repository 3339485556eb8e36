"""wgpy_suite.h is all that a suite of one's own needs of wgpy, in C11 and in C++ (F8)."""
import re
import subprocess
from pathlib import Path

import pytest
from needs import need

import wgpy

HEADER = Path(wgpy.__file__).parent / "suite/wgpy_suite.h"
# Included twice, with what a library has to export.
LIBRARY = """
#include "wgpy_suite.h"
#include "wgpy_suite.h"
static struct wgpy_suite table;
const struct wgpy_suite *wgpy_suite(void) { return &table; }
"""


@pytest.mark.parametrize("compiler, language", [("cc", "-xc -std=c11"), ("c++", "-xc++ -std=c++11")])
def test_it_compiles_alone(compiler, language):
    need(compiler)
    done = subprocess.run([compiler, *language.split(), "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                           f"-I{HEADER.parent}", "-"], input=LIBRARY, capture_output=True, text=True, timeout=60)
    assert not done.returncode, done.stderr


def test_it_includes_nothing_of_ours():
    assert set(re.findall(r"#\s*include\s*(\S+)", HEADER.read_text())) == {"<stddef.h>", "<stdint.h>"}
