"""What tests of a whole node of three guests look at and do to it."""

import re
import shutil
import socket
import stat
import time
from pathlib import Path

from wgpy.lab.guests import BOOT_SECONDS, GuestNode
from wgpy.lab.leaks import Heartbeat
from wgpy.lab.netns import wait_until
from wgpy.vms import newc

BACK = BOOT_SECONDS  # s: a guest boots anew, translated
HOST_BRIDGE, ISA_BRIDGE = "8086:29c0", "8086:2918"  # which a q35 cannot be without
RING, PORTS, ENTROPY, DISK, CARD = "1af4:1110", "1af4:1003", "1af4:1005", "1af4:1001", "1af4:1000"
_PROGRAM = stat.S_IFREG | 0o755


def devices(node: GuestNode, room: str) -> list[str]:
    """vendor:device of all that the guest's last boot found on its PCI bus, sorted."""
    last = node.said(room).rpartition("Python runs")[2]
    return sorted(re.findall(r"init: device \S+ (\S+) ", last))


def status_of(node: GuestNode, room: str) -> dict[str, str]:
    """/proc/PID/status of the guest's QEMU."""
    text = node.box.run("cat", f"/proc/{node.pid(room)}/status").stdout
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def finds(pid: int, secrets: dict[str, bytes]) -> set[str]:
    """Which of the secrets are in the memory of a process: of a QEMU all of its guest's is."""
    found: set[str] = set()
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            begin, end = (int(x, 16) for x in span.split("-"))
            if not rights.startswith("r") or "[v" in line:
                continue
            found |= _in_span(memory, begin, end, secrets)
    return found


def _in_span(memory, begin: int, end: int, secrets: dict[str, bytes], step: int = 16 << 20) -> set[str]:
    found = set()
    for at in range(begin, end, step):
        try:
            memory.seek(at)
            data = memory.read(min(step + 64, end - at))
        except (OSError, OverflowError, ValueError):
            continue
        found |= {name for name, secret in secrets.items() if secret in data}
    return found


def restarted(node: GuestNode, room: str, how: int) -> None:
    """Ends the guest with a signal to its QEMU, waits until it is ready again; its passphrase is typed."""
    before = node.restarts(room)
    node.signal(room, how)
    node.back(room, before + 1)


def back(heart: Heartbeat) -> None:
    """Traffic both ways, newer than now."""
    heart.wait(BACK, time.monotonic())


def images_with(folder: Path, into: Path, room: str, files: dict[str, bytes]) -> Path:
    """A folder of images of which one room's has other files."""
    shutil.copytree(folder, into)
    path = into / f"{room}.cpio.zst"
    path.write_bytes(newc.appended(path.read_bytes(), {name: newc.Entry(_PROGRAM, data) for name, data in files.items()}))
    return into


class Console:
    """A person at crypto's console."""

    def __init__(self, node: GuestNode):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(node.console))
        self.text = ""

    def __enter__(self) -> "Console":
        return self

    def __exit__(self, *exc) -> None:
        self._socket.close()

    def type(self, line: str) -> None:
        self._socket.sendall(line.encode() + b"\n")

    def wait(self, pattern: str, seconds: float = 60) -> str:
        """What was said since the last match, up to this one's end."""
        self._socket.settimeout(0.2)

        def there():
            try:
                self.text += self._socket.recv(65536).decode(errors="replace")
            except TimeoutError:
                pass
            return re.search(pattern, self.text)
        found = wait_until(there, seconds, f"the console says {pattern!r}, not {self.text[-200:]!r}")
        said, self.text = self.text[:found.end()], self.text[found.end():]
        return said
