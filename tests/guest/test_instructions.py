"""A packet costs a room in a guest as many instructions as the same room as a process, hop by hop (journey.py): with the
extension modules, libc and Python of the image, and inside a guest that has booted."""

import re
import stat
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import journey
import pytest
from machine import boot
from needs import need

ALLOWED = 0.05
AEAD = "avx2" if "avx2" in Path("/proc/cpuinfo").read_text().split() else "ssse3"  # valgrind and TCG have no more
BY_INSTRUCTIONS = ("-icount", "shift=0,sleep=off")  # each takes 1 ns of the guest's clock
IN_PLACE_OF_THE_ROOM = f"import sys, journey\ndef main():\n sys.argv[1:] = ['memory', 'clock', '{AEAD}']\n journey.main()\n"
HERE = (sys.executable, "-I")


def data_plane(dump: str) -> int:
    """Instructions of our extension modules and of memcpy for them. Not what a pump clears before it sleeps: a step is
    followed by that, a turn of a busy pump is not."""
    total, file, counts, inclusive = 0, "", False, False
    for line in dump.splitlines():
        if line.startswith("ob="):
            file = line
        elif line.startswith("fn="):
            counts = "/wgpy/_fast/" in file or "memcpy" in line or "memmove" in line
        elif line[:1].isdigit():
            total += int(line.split()[1]) * (counts and not inclusive)
        inclusive = line.startswith("calls=")
    return total


def everything(dump: str) -> int:
    return int(re.search(r"^summary: (\d+)$", dump, re.MULTILINE)[1])


def counted(python: Iterable, ends: str, folder: Path, count: Callable[[str], int]) -> dict[str, float]:
    """Hop -> instructions a packet, by callgrind."""
    folder.mkdir()
    done = subprocess.run(["valgrind", "-q", "--tool=callgrind", "--callgrind-out-file=dump", "--dump-before=getppid",
                           "--compress-strings=no", "--compress-pos=no", *python, journey.__file__, ends, "dumps", AEAD],
                          cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    hops, numbers = re.findall(r"^hop (.*):", done.stdout, re.MULTILINE), defaultdict(list)
    for i, hop in enumerate(hops):
        run, idle = (count((folder / f"dump.{3 * i + part}").read_text()) for part in (2, 3))
        numbers[hop].append((run - idle) / journey.PACKETS)
    return {hop: statistics.median(n) for hop, n in numbers.items()}


def compared(here: dict[str, float], guest: dict[str, float]) -> dict[str, str]:
    """Prints both; those that are not the same within ALLOWED."""
    for hop, n in here.items():
        print(f"{hop:<14} {n:8.0f} here {guest[hop]:8.0f} there, {guest[hop] / n - 1:+.1%}")
    return {hop: f"{n:.0f} here, {guest[hop]:.0f}" for hop, n in here.items() if abs(guest[hop] - n) > ALLOWED * n}


@pytest.mark.slow
def test_a_packet_costs_the_images_modules_what_it_costs_ours(built, tmp_path):
    need("valgrind")
    root = built.unpack("crypto", tmp_path / "root")
    libraries, python = root / "usr/lib/x86_64-linux-gnu", root / "usr/bin/python3.11"
    of_image = (root / "usr/lib64/ld-linux-x86-64.so.2", "--library-path", libraries, "--argv0", python, python, "-IB")
    here = counted(HERE, "kernel", tmp_path / "here", data_plane)
    assert len(here) == 6 and here["seal"] > 2000 and min(here.values()) > 50
    assert not compared(here, counted(of_image, "kernel", tmp_path / "image", data_plane))


@pytest.mark.long
def test_a_packet_costs_a_guest_what_it_costs_a_process(built, tmp_path):
    """Python's part and the guest's kernel's are in it."""
    need("valgrind")
    here = counted(HERE, "memory", tmp_path / "here", everything)
    files = {"usr/lib/python3.11/journey.py": Path(journey.__file__).read_bytes(),
             "usr/lib/python3.11/wgpy/guest/main.py": IN_PLACE_OF_THE_ROOM.encode()}
    _, console = boot(built, "crypto", tmp_path, 0, network=False, options=BY_INSTRUCTIONS,
                      files={name: (stat.S_IFREG | 0o644, data) for name, data in files.items()})
    guest = defaultdict(list)
    for hop, run, idle in re.findall(r"^hop (.*): (\d+) (\d+)$", console, re.MULTILINE):
        guest[hop].append((int(run) - int(idle)) / journey.PACKETS)
    hops = ("seal", "ring to ring", "open")  # at the ends is a port of Python's objects
    assert not compared({hop: here[hop] for hop in hops}, {hop: statistics.median(guest[hop]) for hop in hops}), console
