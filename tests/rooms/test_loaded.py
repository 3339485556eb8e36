"""What `make lines` counts for a process is what the running one holds, seen from outside:
names of source files in its memory, which code objects bear, and libraries that are mapped."""

import re
from pathlib import Path

import lines
import pytest

pytestmark = pytest.mark.netns


def held(pid: int) -> tuple[set[str], set[str]]:
    """(Python files of the package in its memory, extension modules of it that are mapped)"""
    sources, extensions = set(), set()
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps.read().splitlines():
            place, rights, *_, name = line.split(maxsplit=5) if line.count(" ") > 4 else [*line.split(), ""]
            if name.startswith(str(lines.PACKAGE)) and name.endswith(".so"):
                extensions.add(Path(name).name)
            if rights.startswith("rw") and not name.startswith("/"):
                begin, end = (int(n, 16) for n in place.split("-"))
                memory.seek(begin)
                try:
                    data = memory.read(end - begin)
                except OSError:  # secret, or not there yet
                    continue
                found = re.findall(re.escape(bytes(lines.PACKAGE)) + rb"/([a-z0-9_/]+\.py)(?![a-z])", data)
                sources |= {name.decode() for name in found}
    return sources, extensions


@pytest.mark.parametrize("process", ["red", "crypto", "black", "supervisor"])
def test_a_process_holds_what_is_counted_for_it(small, process):
    node = small.a
    sources, extensions = held(node.process.pid if process == "supervisor" else node.pid(process))
    paths = lines.loaded(process).values()
    assert sources == {str(p.relative_to(lines.PACKAGE)) for p in paths if p.suffix == ".py" and p.is_relative_to(lines.PACKAGE)}
    assert extensions == {p.name for p in paths if p.suffix == ".so" and p.is_relative_to(lines.PACKAGE)}
