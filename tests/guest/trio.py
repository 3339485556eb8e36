"""The three guests of one node under QEMU's TCG, joined by their regions; and around them an
Internet with a peer, and a host on the LAN."""

import base64
import fcntl
import os
import re
import socket
import stat
import struct
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from site_files import with_peer

from wgpy.lab.internet import Internet, uplink
from wgpy.lab.netns import Netns, wait_until
from wgpy.lab.tunnel import PeerConfig, Tunnel, public_key
from wgpy.vms import newc, qemu
from wgpy.vms.regions import CRYPTO, NEIGHBOUR, Region

ROOMS = ("black", "crypto", "red")
SECONDS = 300  # for a boot, on a machine that does much else
PORT = 51820
_TUNSETIFF, _TAP, _PLAIN = 0x400454CA, 0x0002, 0x1000
_SECRET = stat.S_IFREG | 0o600
Files = dict[str, bytes]


def tap(ns: Netns, name: str, address: str) -> int:
    """A tap in the namespace, up; its descriptor."""
    with ns.entered():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("=16sH22x", name.encode(), _TAP | _PLAIN))
    ns.batch(f"address add {address} dev {name}", f"link set {name} up")
    return fd


class Guest:
    """One room's, started at once. `said` are the lines of its console, each with the seconds after
    which it was seen; they are read at once, for a guest waits for whoever reads them."""

    def __init__(self, room: str, command: list[str], inherited: list[int], where: Netns):
        self.room, self.said = room, []
        ours, theirs = socket.socketpair()
        self.process = where.popen(*command, *qemu.log(theirs.fileno()), stdin=subprocess.DEVNULL,
                                   pass_fds=[*inherited, theirs.fileno()])
        theirs.close()
        self._reader = threading.Thread(target=self._read, args=(ours, time.monotonic()), daemon=True)
        self._reader.start()

    def _read(self, console: socket.socket, began: float) -> None:
        with console, console.makefile("rb") as lines:
            for line in lines:
                self.said.append((time.monotonic() - began, line.decode(errors="replace").strip()))

    def lines(self, like: str) -> list[str]:
        return [line for _, line in self.said if re.fullmatch(like, line)]

    def ready(self, times: int = 1) -> None:
        def seen():
            assert self.process.poll() is None, self.said
            return len(self.lines(f"{self.room} guest INFO: ready")) >= times
        try:
            wait_until(seen, SECONDS, f"{self.room} is ready", 0.1)
        except TimeoutError as e:
            e.add_note("\n".join(line for _, line in self.said))
            raise

    def ended(self) -> None:
        self.process.wait(SECONDS)
        self._reader.join(10)

    def end(self) -> None:
        self.process.kill()
        self.ended()


class Trio:
    """`files`: what is put into a room's image besides, by room."""

    def __init__(self, images: Path, directory: Path, files: dict[str, Files] | None = None):
        self._images, self._directory, self._files = images, directory, files or {}
        self.private, self.guests = os.urandom(32), {}
        self.address, self.inner, self.home, self.away = "10.1.0.2", "10.1.0.1", uplink(1), uplink(2)
        with ExitStack() as stack:
            self.internet = stack.enter_context(Internet())
            self.host = stack.enter_context(Netns("host"))
            self.peer = stack.enter_context(Netns("peer"))
            self.internet.attach(self.peer, "peer", self.away)
            self.peer.batch(f"address add {self.away.address}/24 dev wan0", "link set wan0 up",
                            f"route add default via {self.away.gateway}")
            self._nic = {"black": tap(self.internet, "to-node", f"{self.home.gateway}/24"),
                         "red": tap(self.host, "eth0", f"{self.address}/24")}
            self.host.ip("route", "add", "default", "via", self.inner)
            for fd in self._nic.values():
                stack.callback(os.close, fd)
            self.regions = {room: Region(room) for room in ("black", "red")}
            for region in self.regions.values():
                stack.callback(region.close)
            own = public_key(base64.b64encode(self.private).decode())
            self.tunnel = Tunnel(self.peer, "wgpyd", port=PORT, addresses=("10.2.0.2/32",), peers=(
                PeerConfig(own, ("10.1.0.0/24",), f"{self.home.address}:{PORT}"),)).start()
            self._stack = stack.pop_all()

    def site(self) -> str:
        return with_peer(name="a", mode="large", wan=f"{self.home.address}/24", gateway=self.home.gateway,
                         lan=f"{self.inner}/24", peer="b", key=self.tunnel.public_key, networks="10.2.0.0/24",
                         endpoint=self.away.address)

    def room_file(self, room: str) -> str:
        rings = "\n".join(f'{other} = "uio:{qemu.address(slot)}"' for other, slot in qemu.RINGS[room].items())
        rest = {"black": '[links]\nwan = "eth0"', "red": '[links]\nlan = "eth0"', "crypto": '[keys]\nraw = "/etc/wgpy/key"'}
        return f'room = "{room}"\nsite = "/etc/wgpy/site.toml"\n[rings]\n{rings}\n{rest[room]}\n'

    def start(self, *rooms: str) -> None:
        """Anew, too. Returns at once."""
        for room in rooms:
            self.guests[room] = self._boot(room)

    def _boot(self, room: str) -> Guest:
        files = {"etc/wgpy/room.toml": self.room_file(room).encode(), "etc/wgpy/site.toml": self.site().encode()}
        if room == "crypto":
            files["etc/wgpy/key"] = self.private
        files |= self._files.get(room, {})
        packed = (self._images / f"{room}.cpio.zst").read_bytes()
        image = self._directory / room
        image.write_bytes(newc.appended(packed, {name: newc.Entry(_SECRET, data) for name, data in files.items()}))
        fds, devices = [], [qemu.entropy(), qemu.console(None)]
        for other, slot in qemu.RINGS[room].items():
            fds.append(self.regions[other if room == "crypto" else room].plug(CRYPTO if room == "crypto" else NEIGHBOUR))
            devices.append(qemu.ring(slot, fds[-1]))
        if room in self._nic:
            fds.append(os.dup(self._nic[room]))
            devices.append(qemu.network(qemu.OUTSIDE, fds[-1], f"52:54:00:77:01:{ROOMS.index(room):02x}"))
        machine = qemu.Machine(str(self._images / "vmlinuz"), str(image), (self._images / "command-line").read_text().strip(),
                               devices=qemu.joined(devices))
        try:
            return Guest(room, machine.command(), fds, self.internet)
        finally:
            for fd in fds:
                os.close(fd)

    def close(self) -> None:
        for guest in self.guests.values():
            guest.end()
        self._stack.close()
