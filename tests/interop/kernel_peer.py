"""A virtual machine under QEMU's TCG; and Linux's own WireGuard in one, as a lab host.

Commands run one at a time over the machine's second serial port: a line of base64 in, a
line with status, output and errors back.
"""

import base64
import os
import shlex
import socket
import subprocess
from pathlib import Path

from guest_image import image

from wgpy.errors import HostError
from wgpy.lab.netns import Netns

BOOT_SECONDS = 600


def _popen(*command, **options) -> subprocess.Popen:
    return subprocess.Popen([str(word) for word in command], **options)


class Machine:
    """A booted machine whose init ends with `guest_image.COMMANDS`; `run` is as in `Netns`.
    `popen` starts QEMU, whose `devices` may name the descriptors `pass_fds`."""

    name = "machine"

    def __init__(self, kernel: Path, ramdisk: Path, *devices, popen=_popen, pass_fds=()):
        self._control, guest = socket.socketpair()
        self._log = open(os.memfd_create("console"), "w+")
        command = (
            "qemu-system-x86_64", "-M", "q35", "-cpu", "max", "-smp", 1, "-m", 256,
            "-accel", "tcg,thread=multi", "-nographic", "-nodefaults", "-no-reboot",
            "-kernel", kernel, "-initrd", ramdisk, "-append",
            "console=ttyS0 quiet mitigations=off random.trust_cpu=on tsc=reliable panic=-1",
            *devices, "-device", "virtio-rng-pci", "-serial", "stdio",
            "-chardev", f"socket,id=control,fd={guest.fileno()}",
            "-device", "isa-serial,chardev=control")
        self._process = popen(*command, pass_fds=[guest.fileno(), *pass_fds],
                              stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        guest.close()
        self._lines = self._control.makefile("r")
        self._expect(BOOT_SECONDS, "ready")

    def _expect(self, timeout: float, exactly: str | None = None) -> str:
        self._control.settimeout(timeout)
        try:
            while (line := self._lines.readline()) and exactly and line.strip() != exactly:
                pass
        except TimeoutError:
            line = ""
        if not line:
            raise HostError(f"the virtual machine does not answer:\n{self.log()[-2000:]}")
        return line

    def log(self) -> str:
        return Path(f"/proc/self/fd/{self._log.fileno()}").read_text()

    def run(self, *command, input: str | None = None, timeout: float = 120,
            check: bool = True) -> subprocess.CompletedProcess:
        # a path, because the guest's shell prefers its own applets to programs
        text = "/bin/" + shlex.join(map(str, command))
        if input is not None:
            data = base64.b64encode(input.encode()).decode()
            text = f"echo {data} | base64 -d | {text}"
        self._control.sendall(base64.b64encode(text.encode()) + b"\n")
        status, out, err = self._expect(timeout).split()
        done = subprocess.CompletedProcess(command, int(status), _text(out), _text(err))
        if check and done.returncode:
            error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
            error.add_note(f"in {self.name}: {done.stderr.strip()}")
            raise error
        return done

    def popen(self, *command, **_) -> "GuestProcess":
        return GuestProcess(self, command)

    def sha256(self, command: str) -> str:
        """Of a shell command's output."""
        return self.run("sh", "-c", f"{command} | sha256sum").stdout.split()[0]

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._control.close()


class KernelPeer(Machine):
    """eth0, a tap in a lab namespace, has an MTU of 9000; port 80 serves a random `/file`, an
    iperf3 server listens on its usual port."""

    name = "kernel"

    def __init__(self, ns: Netns, tap: str = "eth0"):
        kernel, ramdisk = image()
        ns.batch(f"tuntap add mode tap name {tap}", f"link set {tap} mtu 9000 up")
        super().__init__(kernel, ramdisk, "-netdev", f"tap,id=n0,ifname={tap},script=no,downscript=no",
                         "-device", "virtio-net-pci,netdev=n0,host_mtu=9000,romfile=,mac=52:54:00:77:00:02",
                         popen=ns.popen)
        self.file_sha256 = self.sha256("cat /srv/file")


class GuestProcess:
    """The part of subprocess.Popen that a background ping needs."""

    def __init__(self, peer: Machine, command: tuple):
        self._peer, line = peer, shlex.join(map(str, command))
        self._pid = peer.run("sh", "-c", f"/bin/{line} > /tmp/$$ 2>&1 & echo $$ $!").stdout.split()

    def send_signal(self, number: int) -> None:
        self._peer.run("kill", f"-{number:d}", self._pid[1])

    def so_far(self) -> str:
        """What it has said."""
        return self._peer.run("cat", f"/tmp/{self._pid[0]}").stdout

    def communicate(self) -> tuple[str, None]:
        self._peer.run("sh", "-c", f"while kill -0 {self._pid[1]} 2>/dev/null; do usleep 10000; done")
        return self.so_far(), None


def _text(field: str) -> str:
    """The guest appends one '=' so that no field is ever empty."""
    return base64.b64decode(field[:-1]).decode(errors="replace")
