"""The supervisor of a node's three guests: makes what joins them, starts them in any order, restarts
what ends. It runs as root, and handles neither packets nor keys.

Wires come before guests and are closed after them; the ports of the host are taken last and given
back first. Whatever happens to it, nothing is left: its guests end with it, and wires, taps and
regions are its own descriptors.
"""

import fcntl
import json
import logging
import os
import signal
import socket
import time
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from wgpy.config.site_model import LINK_MTU, Site
from wgpy.loop import Loop
from wgpy.node.timers import Timers, try_start
from wgpy.node.users import Users
from wgpy.vms import beside, disk, host, newc, qemu
from wgpy.vms.guest import Guest, Start
from wgpy.vms.images import ROOMS, Images, own_files
from wgpy.vms.regions import CRYPTO, NEIGHBOUR, Region
from wgpy.vms.reload import RELOAD, Reload, listen
from wgpy.vms.wires import Wire

log = logging.getLogger(__name__)

TICK = 2.0  # s
STATUS, SOCKET = "status.json", "crypto.sock"
_END_SECONDS, _KILLED_SECONDS = 5.0, 60.0
UP_SECONDS = 300.0  # within which all guests are up, on the slowest host
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Supervisor:
    """`passed`: network cards that are passed through, by kind (wan, lan), as host.need_passed() gives
    them. `accelerator`: qemu.KVM or TCG. `unlock`: a command that gives crypto what opens its keys, to be run whenever
    it asks; without one a person does. `on_ready()` is called once, when all guests are up;
    `on_failed(reason)` instead when one ends before that; `on_change(room, text)` for a person who waits."""

    def __init__(self, site: Site, text: bytes, images: Images, run_dir: Path, *, accelerator: str,
                 passed: dict[str, tuple[str, Path]], order: Iterable[str] = ROOMS, unlock: list[str] | None = None):
        self.loop, self.site = Loop(), site
        self.timers = Timers(self.loop)
        self.on_ready: Callable[[], object] = lambda: None
        self.on_failed: Callable[[str], None] = lambda reason: None
        self.on_change: Callable[[str, str], None] = lambda room, state: None
        self._text, self._images, self._run_dir = text, images, run_dir
        self._accelerator, self._passed, self._order = accelerator, passed, tuple(order)
        self.up = self._stopping = self._lock = self._unlocking = False
        self._unlock = unlock
        # With crypto that asks, nobody but a person can go on.
        self._wanted = {room: {"ready", "asking"} if room == "crypto" and unlock is None else {"ready"} for room in ROOMS}
        self.guests: dict[str, Guest] = {}
        self._regions: dict[str, Region] = {}
        self._wires: list[Wire] = []
        self._cards: dict[str, list[tuple[int, int]]] = {room: [] for room in ROOMS}  # (slot, tap)
        self._boot: dict[str, int] = {}  # kernel and RAM disks, as memfds
        self._packed: dict[str, int] = {}  # bytes of a RAM disk that are the image's
        self._renewed: set[str] = set()  # rooms whose guests end because they were told to
        self._reload: Reload | None = None
        self._disk, self._console = -1, socket.socket(socket.AF_UNIX)
        self._users: Users | None = None
        self._written = ""

    # life

    def build(self) -> None:
        """Everything, then the guests. WgpyError, OSError; nothing stays behind then."""
        try:
            self._users = Users(self.site.node.name)
            self._lock = host.lift_memory_lock()
            if not self._lock:
                log.warning("crypto's memory cannot be locked, for want of CAP_SYS_RESOURCE: it goes to swap where the host has some")
            self._disk = disk.open_disk(self.site)
            self._boot = {"kernel": self._readable("kernel", self._images.kernel, None)}
            for room in ROOMS:
                packed = self._images.packed(room)
                self._packed[room] = len(packed)
                self._boot[room] = self._ramdisk(room, packed, self.site, self._text)
            self._regions = {neighbour: Region(neighbour) for neighbour in qemu.RINGS["crypto"]}
            listen(self._console, self.console)
            self._reload = Reload(self, self._run_dir / RELOAD)
            self._make_wires()
            for room in self._order:
                self.guests[room] = Guest(self.loop, room, self._users.uid[room], partial(self._give, room),
                                          self._run_dir / f"{room}.log", self._changed)
            for guest in self.guests.values():
                guest.start()
        except BaseException:
            self.close()
            raise
        self.timers.every(TICK, self._tick)
        self.timers.after(UP_SECONDS, self._late)
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.on_signal(number, self.loop.stop)

    def run(self) -> None:
        """Until SIGTERM or SIGINT, or until a guest could not come up."""
        self.loop.run()

    def close(self) -> None:
        """Ends the guests, gives the ports back. Idempotent."""
        self._stopping = True
        for how, seconds in ((Guest.end, _END_SECONDS), (Guest.kill, _KILLED_SECONDS)):
            for guest in self.guests.values():
                how(guest)
            until = time.monotonic() + seconds
            while any(g.pid for g in self.guests.values()) and time.monotonic() < until:
                self.loop.turn(0.05)
        for part in (self._reload, *self._wires, *self._regions.values(), *self.guests.values(), self._users):
            if part is not None:
                part.close()
        for fd in (*self._boot.values(), self._disk):
            if fd >= 0:
                os.close(fd)
        self._console.close()
        self.console.unlink(missing_ok=True)
        self._reload = None
        self._wires, self._regions, self._users, self._boot, self._disk, self.guests = [], {}, None, {}, -1, {}

    @property
    def console(self) -> Path:
        """Crypto's, a socket."""
        return self._run_dir / SOCKET

    def _make_wires(self) -> None:
        """The ports of the host join when their wires and the guests' taps are there."""
        ports = []
        for kind, room, port in (("wan", "black", self.site.wan.interface), ("lan", "red", self.site.lan.interface)):
            if kind in self._passed:
                continue
            mtu = host.need_port(port, f"{kind}.interface")
            wire = self._wire(self.site.wan.mtu if kind == "wan" else mtu)
            self._cards[room].append((qemu.OUTSIDE, wire.tap(f"{kind}-{room}")))
            ports.append((wire, port))
        if self.site.small:
            wire = self._wire(LINK_MTU)
            for room in ("black", "red"):
                self._cards[room].append((qemu.CLEAR, wire.tap(f"clear-{room}")))
        for wire, port in ports:
            wire.plug(port)

    def _wire(self, mtu: int) -> Wire:
        self._wires.append(Wire(mtu))
        return self._wires[-1]

    # guests

    def _readable(self, name: str, data: bytes, room: str | None) -> int:
        """What a QEMU reads by a path: of one room's user, or of anybody's."""
        fd = os.memfd_create(f"wgpy-vms-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(data)
        os.fchmod(fd, 0o444 if room is None else 0o400)
        if room is not None and self._users is not None:
            os.fchown(fd, self._users.uid[room], 0)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        return fd

    def _ramdisk(self, room: str, packed: bytes, site: Site, text: bytes) -> int:
        return self._readable(room, newc.appended(packed, own_files(room, site, text)), room)

    def ramdisks(self, site: Site, text: bytes) -> dict[str, int]:
        """Of the images with which the node came up, with another site file. OSError."""
        made: dict[str, int] = {}
        try:
            for room in ROOMS:
                made[room] = self._ramdisk(room, os.pread(self._boot[room], self._packed[room], 0), site, text)
        except BaseException:
            for fd in made.values():
                os.close(fd)
            raise
        return made

    def take(self, site: Site, ramdisks: dict[str, int]) -> None:
        """Whichever guest starts from now on has these."""
        for room, fd in ramdisks.items():
            os.close(self._boot[room])
            self._boot[room] = fd
        self.site = site

    def restart(self, room: str) -> None:
        """Ends a guest, which starts again at once; one that is down already does so when its pause is over."""
        guest = self.guests[room]
        if pid := guest.pid:
            self._renewed.add(room)
            guest.end()
            self.timers.after(_END_SECONDS, lambda: guest.kill() if guest.pid == pid else None)

    def _give(self, room: str, log_fd: int) -> Start:
        fds: list[int] = []

        def passing(fd: int) -> int:
            fds.append(fd)
            return fd

        try:
            parts, opened = self._devices(room, passing)
            kernel_fd, ramdisk = passing(os.dup(self._boot["kernel"])), passing(os.dup(self._boot[room]))
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        machine = qemu.Machine(qemu.opened(kernel_fd), qemu.opened(ramdisk), self._images.command_line, self._accelerator,
                               locked=room == "crypto" and self._lock, devices=qemu.joined([qemu.log(log_fd), *parts]))
        return Start(machine.command(), fds, opened)

    def _devices(self, room: str, passing: Callable[[int], int]) -> tuple[list[list[str]], tuple[str, ...]]:
        """A guest's, and those of the host that its QEMU opens."""
        parts, opened = [qemu.entropy()], ["/dev/kvm"] if self._accelerator == qemu.KVM else []
        for neighbour, slot in qemu.RINGS[room].items():
            region, side = (self._regions[neighbour], CRYPTO) if room == "crypto" else (self._regions[room], NEIGHBOUR)
            parts.append(qemu.ring(slot, passing(region.plug(side))))
        parts += [qemu.network(slot, passing(os.dup(tap)), self._mac(room, slot)) for slot, tap in self._cards[room]]
        kind = {"black": "wan", "red": "lan"}.get(room)
        if kind in self._passed:
            address, group = self._passed[kind]
            opened += ["/dev/vfio/vfio", str(group)]
            parts.append(qemu.passed_through(qemu.OUTSIDE, address))
        if room == "crypto":
            parts += [qemu.console(passing(os.dup(self._console.fileno()))), qemu.disk(passing(os.dup(self._disk)))]
        return parts, tuple(opened)

    def _mac(self, room: str, slot: int) -> str:
        """Of a card: another for each node, the same at each start. Locally administered."""
        number = zlib.crc32(f"{self.site.node.name} {room} {slot}".encode())
        return ":".join(f"{byte:02x}" for byte in (0x02, 0x77, *number.to_bytes(4, "big")))

    def _changed(self, guest: Guest) -> None:
        if self._stopping:
            return
        if guest.state == "ready" and guest.boot_seconds is not None:
            log.info("%s: ready after %.1f s", guest.room, guest.boot_seconds)
        elif guest.state != "starting":
            log.info("%s: %s", guest.room, guest.state)
        self.on_change(guest.room, guest.state)
        if guest.state == "stopped":
            self._ended(guest)
        elif guest.state == "asking" and self._unlock is not None:
            self._answer(self._unlock)
        elif not self.up and all(g.state in self._wanted[room] for room, g in self.guests.items()):
            self.up = True
            self.on_ready()
        if self._reload is not None:
            self._reload.changed(guest)
        self.write_status()

    def _ended(self, guest: Guest) -> None:
        if guest.room in self._renewed:
            self._renewed.discard(guest.room)
            self.timers.after(0, lambda: self._start(guest))
            return
        log.error("%s ended: %s", guest.room, guest.last_line)
        if self.up:
            self.timers.after(guest.pause(), lambda: self._start(guest))
        else:
            self._fail(f"{guest.room} ended: {guest.last_line or 'it said nothing'}")

    def _late(self) -> None:
        late = [g for room, g in self.guests.items() if g.state not in self._wanted[room]]
        if late and not self.up:
            self._fail(f"{late[0].room} is not up after {UP_SECONDS:.0f} s; its last line: {late[0].last_line or 'none'}")

    def _fail(self, reason: str) -> None:
        self.on_failed(f"{reason} (logs: {self._run_dir})")
        self.loop.stop()

    def _start(self, guest: Guest) -> None:
        try_start(self.timers, guest.room, guest, lambda: self._stopping)

    def _answer(self, command: list[str]) -> None:
        """In a process of its own: it waits for crypto, and this one never holds what opens keys."""
        if not self._unlocking:
            beside.run(self.loop, self.timers, command, self._answered)
            self._unlocking = True

    def _answered(self, status: int, said: str) -> None:
        self._unlocking = False
        if status:
            log.error("crypto is not unlocked: %s", said)
            if not self.up:
                self._fail(said.removeprefix("wgpy: ") or "crypto is not unlocked")

    def _tick(self) -> None:
        for guest in self.guests.values():
            guest.tick()
        self.write_status()

    # what is seen of it

    def describe(self) -> dict[str, Any]:
        """The document of status.json."""
        return {"node": self.site.node.name, "mode": self.site.node.mode, "pid": os.getpid(), "up": self.up,
                "accelerator": self._accelerator, "images": str(self._images.folder), "kernel": self._images.kernel_version,
                "guests": {room: self.guests[room].facts() | {
                    "memory_mib": qemu.MEMORY,
                    "regions": {neighbour: self._regions[neighbour if room == "crypto" else room].size for neighbour in qemu.RINGS[room]},
                } for room in ROOMS if room in self.guests}}

    def write_status(self) -> None:
        """When it is another one than the last."""
        text = json.dumps(self.describe()) + "\n"
        if text == self._written:
            return
        fresh = self._run_dir / f"{STATUS}.new"
        try:
            fresh.write_text(text)
            fresh.replace(self._run_dir / STATUS)
            self._written = text
        except OSError as e:
            log.error("%s: %s", STATUS, e.strerror)
