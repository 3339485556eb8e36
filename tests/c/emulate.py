"""Runs programs on a processor with AVX-512 and IFMA that Bochs emulates, under the kernel of the
kernel-WireGuard peer: `emulate.py PROGRAM...`. Status 0 when each of them ended with 0.

Bochs needs no privilege. It boots from a CD image; the first serial port is a file.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/interop")]

from guest_image import busybox, cpio, libraries, unpacked  # noqa: E402

from wgpy.errors import HostError  # noqa: E402

PACKAGES = "bochs bochs-term bochsbios vgabios isolinux syslinux-common genisoimage"
FIRST, LAST = "the machine is up", "the machine has done its work"
DEADLINE = 480  # seconds; a quiet machine needs less than 120

# Lazy binding saves registers with XSAVEC, whose compact form Bochs 2.7 cannot restore;
# its CPUID also states the sizes of that form and of PKU's state wrongly, so that Linux
# would do without AVX.
INIT = """#!/bin/busybox sh
/bin/busybox mkdir /proc
/bin/busybox mount -t proc proc /proc
export LD_BIND_NOW=1 AEAD_PACKETS=1000 ASAN_OPTIONS=detect_leaks=0
echo "{first}"
for program in {programs}; do /$program; echo "$program: status $?"; done
echo "{last}"
/bin/busybox sleep 1000
"""
# The certificates' RSA and the self-tests of ciphers would take longer than all the rest.
APPEND = ("console=ttyS0 quiet norandmaps panic=-1 clearcpuid=xsavec,xsaves,pku nopku cryptomgr.notests "
          "initcall_blacklist=load_system_certificate_list")
ISOLINUX = f"DEFAULT linux\nPROMPT 0\nLABEL linux\n LINUX linux\n INITRD initrd\n APPEND {APPEND}\n"
BOCHS = """
display_library: term
cpu: model=corei3_cnl, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest=512, host=512
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
ata0-master: type=cdrom, path=cd.iso, status=inserted
boot: cdrom
clock: sync=none
com1: enabled=1, mode=file, dev=serial
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
log: log
panic: action=fatal
"""


def cd(folder: Path, programs: list[Path]) -> None:
    root, kernel = unpacked()
    init = INIT.format(first=FIRST, last=LAST, programs=" ".join(p.name for p in programs))
    files = {"init": init.encode(), "bin/busybox": busybox(root)}
    for path in programs:
        files |= libraries(path) | {path.name: path.read_bytes()}
    contents = folder / "cd"
    contents.mkdir()
    (contents / "linux").write_bytes(kernel.read_bytes())
    (contents / "initrd").write_bytes(cpio(files))
    (contents / "isolinux.cfg").write_text(ISOLINUX)
    for name in ("ISOLINUX/isolinux.bin", "syslinux/modules/bios/ldlinux.c32"):
        shutil.copy(Path("/usr/lib") / name, contents)
    subprocess.run(["genisoimage", "-quiet", "-o", "cd.iso", "-b", "isolinux.bin", "-c", "boot.cat",
                    "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "cd"],
                   cwd=folder, check=True)


def run(folder: Path) -> str:
    """What the machine wrote to its serial port, up to LAST, its end or the deadline."""
    (folder / "bochsrc").write_text(BOCHS)
    (folder / "continue").write_text("c\n")  # Debian's Bochs starts in its debugger
    serial = folder / "serial"
    with (folder / "screen").open("w") as screen:
        bochs = subprocess.Popen(["bochs", "-q", "-f", "bochsrc", "-rc", "continue"], cwd=folder,
                                 env=os.environ | {"TERM": "vt100"}, stdin=subprocess.DEVNULL,
                                 stdout=screen, stderr=screen)
        try:
            end, text = time.monotonic() + DEADLINE, ""
            while LAST not in text and bochs.poll() is None and time.monotonic() < end:
                time.sleep(0.5)
                text = serial.read_text(errors="replace") if serial.exists() else ""
        finally:
            bochs.kill()
            bochs.wait()
    return text


def main(programs: list[Path]) -> int:
    if missing := [n for n in ("bochs", "genisoimage") if not shutil.which(n)]:
        raise HostError(f"not installed: {', '.join(missing)} ({PACKAGES})")
    with tempfile.TemporaryDirectory(prefix="emulate-") as name:
        cd(Path(name), programs)
        text = run(Path(name))
        if LAST not in text:
            wrote = [(Path(name) / file).read_text(errors="replace")[-2000:] for file in ("log", "screen")]
            print("\n".join([text[-2000:], *wrote]) + "\nthe emulated machine did not finish", file=sys.stderr)
            return 1
    said = text.replace("\r", "").partition(FIRST + "\n")[2].partition(LAST)[0]
    print(said, end="")
    return any(f"{p.name}: status 0" not in said.splitlines() for p in programs)


if __name__ == "__main__":
    try:
        sys.exit(main([Path(p) for p in sys.argv[1:]]))
    except HostError as error:
        sys.exit(f"emulate: {error}")
