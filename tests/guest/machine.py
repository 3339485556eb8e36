"""One guest under QEMU's TCG, booted for what it says on its console."""

import os
import re
import subprocess
from pathlib import Path

import system
from images_under_test import Built
from needs import need

from wgpy.vms import newc, qemu

SECONDS = 600
RING = 4 << 20


def boot(built: Built, room: str, scratch: Path, rings: int, network: bool, files: dict[str, tuple[int, bytes]] | None = None,
         words: str = "", options: tuple[str, ...] = ()) -> tuple[int, str]:
    """(exit status, console). `words`: more of the kernel's command line, `options`: of QEMU's. TimeoutExpired when it
    neither powers off nor ends."""
    machine = system.MACHINES[built.arch]
    need(qemu.PROGRAMS[machine])
    image, folder = scratch / "image", built.folder
    packed = (folder / f"{room}.cpio.zst").read_bytes()
    image.write_bytes(newc.appended(packed, {name: newc.Entry(*entry) for name, entry in (files or {}).items()}))
    devices = [["-serial", "stdio"], qemu.entropy(), qemu.console(None)]
    for n in range(rings):
        memory = os.memfd_create("ring")
        os.ftruncate(memory, RING)
        os.set_inheritable(memory, True)
        devices.append(["-object", f"memory-backend-file,id=m{n},size={RING},share=on,mem-path={qemu.opened(memory)}",
                        "-device", f"ivshmem-plain,memdev=m{n}"])
    if network:
        devices.append(["-netdev", "user,id=n0,restrict=on", "-device", "virtio-net-pci,netdev=n0,romfile="])
    line = f"{(folder / 'command-line').read_text().strip()} {words}".strip()
    command = qemu.Machine(str(folder / "vmlinuz"), str(image), line, devices=qemu.joined(devices), machine=machine).command()
    done = subprocess.run([*command, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, close_fds=False,
                          timeout=SECONDS)
    said = done.stdout.decode(errors="replace").replace("\r", "")
    return done.returncode, re.sub(r"\x1b(\[[?0-9;]*[a-zA-Z]|c)", "\n", said)  # the firmware clears its screen
