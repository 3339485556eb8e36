"""F3: whoever reads stderr, and stops reading, holds no program up."""

import subprocess
import sys

LINES = 5000
TALKS = f"""
import logging
import wgpy.logs
wgpy.logs.begin(wgpy.logs.Stderr(), "wg0", when=False)
for i in range({LINES}):
    logging.info("line %d", i)
print(logging.getLogger().handlers[0].lost, flush=True)
input()
logging.info("x" * 9000)
logging.info("the last")
"""


def test_a_full_pipe_loses_lines_and_says_how_many():
    with subprocess.Popen([sys.executable, "-I", "-c", TALKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as p:
        lost = int(p.stdout.readline())  # comes although nobody has read a line of the log
        arrived = [p.stderr.readline() for _ in range(LINES - lost)]
        _, rest = p.communicate("\n", timeout=60)
    assert 0 < lost < LINES
    assert arrived == [f"wg0 INFO: line {i}\n" for i in range(LINES - lost)]
    assert rest == f"wg0 INFO: {'x' * 9000} (lines lost before this one: {lost})\nwg0 INFO: the last\n"
    assert p.returncode == 0


def test_a_reader_that_is_gone_ends_nobody():
    with subprocess.Popen([sys.executable, "-I", "-c", TALKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as p:
        p.stderr.close()
        p.stderr = None
        out, _ = p.communicate("\n", timeout=60)
    assert int(out) == LINES and p.returncode == 0
