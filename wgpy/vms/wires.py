"""What joins a network card of a guest to a port of the host, or to another guest's: a bridge in a
network namespace of its own, with two ports.

The namespace has no name, no address and no IPv6, so that the host can neither answer nor forward
there, and WAN and LAN have nothing in common but the guests. It goes when the process that made it
ends, however that ends; the port then is the host's again, down. Of a port that is no hardware the kernel would
make an end together with the namespace: a process waits there that gives it back when ours was killed.
"""

import fcntl
import logging
import os
import struct
import subprocess
from pathlib import Path

from wgpy.errors import HostError
from wgpy.isolate import kernel
from wgpy.node import here, ip_lines
from wgpy.node.namespaces import entered

log = logging.getLogger(__name__)

_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_BRIDGE = "wire"
# It learns nothing, holds nothing back and floods: a wire.
_AS_A_WIRE = "stp_state 0 forward_delay 0 mcast_snooping 0 ageing_time 0"
# Its input ends with whoever holds the other end. Arguments: a port, a descriptor of the host's namespace.
_GIVE_BACK = """trap '' TERM; read -r _; ip link set "$1" nomaster down; exec ip link set "$1" netns "/proc/self/fd/$2" """
_END_SECONDS = 5.0


class Wire:
    """One wire of `mtu` bytes; what is plugged in comes up at once."""

    def __init__(self, mtu: int):
        """HostError, OSError."""
        self._mtu, self._port = mtu, ""
        self._taps: list[int] = []
        self._heir: subprocess.Popen[bytes] | None = None
        self._home, self._namespace = _own(), -1
        try:
            self._namespace = _fresh(self._home)
            with entered(self._namespace):
                here.sysctls(forward=False)
                _no_ipv6()
                here.run("ip", "link", "add", "name", _BRIDGE, "mtu", str(mtu), "type", "bridge", *_AS_A_WIRE.split())
                here.run("ip", "link", "set", _BRIDGE, "up")
        except BaseException:
            self.close()
            raise

    def tap(self, name: str) -> int:
        """A tap on the wire, up, for a guest; the descriptor stays the wire's. HostError, OSError."""
        with entered(self._namespace):
            try:
                fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
            except OSError as e:
                raise HostError(f"/dev/net/tun: {e.strerror}: modprobe tun; in a container pass the device in") from None
            self._taps.append(fd)
            fcntl.ioctl(fd, _TUNSETIFF, struct.pack("=16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
            here.run("ip", "link", "set", name, "mtu", str(self._mtu), "master", _BRIDGE, "up")
        return fd

    def plug(self, port: str) -> None:
        """Takes a port of this host, last of all. HostError."""
        with entered(self._namespace):
            self._heir = subprocess.Popen(["sh", "-c", _GIVE_BACK, "sh", port, str(self._home)], stdin=subprocess.PIPE, cwd="/",
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(self._home,),
                                          start_new_session=True)
        here.run("ip", "link", "set", port, "down")
        here.run("ip", "link", "set", port, "netns", f"/proc/{os.getpid()}/fd/{self._namespace}")
        self._port = port
        with entered(self._namespace):
            here.run("ip", "link", "set", port, "mtu", str(self._mtu), "master", _BRIDGE, "up")

    def close(self) -> None:
        """Gives the port back, down; all else goes. Idempotent."""
        if self._port:
            with entered(self._namespace):
                lines = [f"link set {self._port} nomaster down", f"link set {self._port} netns /proc/{os.getpid()}/fd/{self._home}"]
                for line, reason in ip_lines.failures(lines).items():
                    log.error("%s: cannot be given back: %s: %s", self._port, line, reason)
            self._port = ""
        if self._heir is not None:
            self._dismiss(self._heir)
            self._heir = None
        for fd in (*self._taps, self._namespace, self._home):
            if fd >= 0:
                os.close(fd)
        self._taps, self._namespace, self._home = [], -1, -1


    def _dismiss(self, heir: subprocess.Popen[bytes]) -> None:
        """It finds no port, or tries once more."""
        try:
            heir.communicate(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            heir.kill()
            heir.wait()


def _own() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _fresh(home: int) -> int:
    kernel.unshare(kernel.CLONE_NEWNET)
    try:
        return _own()
    finally:
        kernel.setns(home, kernel.CLONE_NEWNET)


def _no_ipv6() -> None:
    for scope in ("all", "default"):
        try:
            Path("/proc/sys/net/ipv6/conf", scope, "disable_ipv6").write_text("1")
        except FileNotFoundError:  # a kernel without IPv6
            pass
