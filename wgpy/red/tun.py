"""The TUN device: created through python-pytun or adopted, offloads probed.

Linux drivers/net/tun.c: one queue, with a virtio-net header in front of each packet.
"""

import errno
import fcntl
import os
import socket
import struct
from dataclasses import dataclass

import pytun

from wgpy.constants import DEFAULT_MTU
from wgpy.errors import HostError

TUNSETOFFLOAD, TUNGETIFF = 0x400454D0, 0x800454D2
TUNGETVNETHDRSZ, TUNSETVNETHDRSZ, TUNGETDEVNETNS = 0x800454D7, 0x400454D8, 0x54E3
_CSUM, _TSO, _ECN, _USO = 0x01, 0x02 | 0x04, 0x08, 0x20 | 0x40
_FLAGS = pytun.IFF_TUN | pytun.IFF_NO_PI | pytun.IFF_VNET_HDR
_VNET_HEADER = 10
_SIOCSIFTXQLEN = 0x8943
QUEUE_LENGTH = 2000  # packets; super-packets count as one

_REMEDY = {
    errno.EPERM: "creating it needs CAP_NET_ADMIN: run as root",
    errno.EACCES: "creating it needs CAP_NET_ADMIN: run as root",
    errno.EBUSY: "the interface is in use by another process",
    errno.EINVAL: "the name is taken by another kind of interface, or bad",
    errno.ENOENT: "/dev/net/tun is missing: load the tun module",
    errno.ENODEV: "the kernel has no TUN driver: load the tun module",
}


@dataclass
class Tun:
    """merge_tcp/merge_udp: the merged packets the kernel takes. `bare`: without a virtio
    header, as others may have opened it; there is no offload then."""
    fd: int
    merge_tcp: bool
    merge_udp: bool
    bare: bool = False
    _device: pytun.TunTapDevice | None = None

    def name(self) -> str | None:
        """The present name, or None when the interface is gone."""
        return interface_of(self.fd)[0]

    def namespace(self) -> int:
        """A new descriptor of the network namespace that the interface is in now;
        the caller closes it (it keeps the namespace alive). Linux 5.2; OSError."""
        return fcntl.ioctl(self.fd, TUNGETDEVNETNS)

    def copies(self) -> tuple[dict[str, bool], dict[str, int]]:
        """Options for red, and a new descriptor by its name."""
        return {"merge_tcp": self.merge_tcp, "merge_udp": self.merge_udp}, {"tun": os.dup(self.fd)}

    def close(self) -> None:
        """Idempotent. Without another descriptor the interface is gone."""
        if self._device is not None:
            self._device.close()
        elif self.fd >= 0:
            os.close(self.fd)
        self.fd, self._device = -1, None


def interface_of(fd: int) -> tuple[str | None, int]:
    """Name and IFF_* flags of a TUN descriptor; (None, 0) when its interface was
    deleted (EBADFD). Tells deletion from a move into another namespace."""
    try:
        answer = fcntl.ioctl(fd, TUNGETIFF, bytes(40))
    except OSError as e:
        if e.errno == errno.EBADFD:
            return None, 0
        raise
    return answer[:16].partition(b"\0")[0].decode("ascii", "replace"), struct.unpack_from("=H", answer, 16)[0]


def create(name: str, mtu: int = DEFAULT_MTU) -> Tun:
    """Creates the interface. Raises HostError with the remedy."""
    device = None
    try:
        device = pytun.TunTapDevice(name=name, flags=_FLAGS)
        os.set_inheritable(device.fileno(), False)
        device.mtu = mtu
        _set_queue_length(name)
    except OSError as e:
        if device is not None:
            device.close()
        raise HostError(f"{name}: {_REMEDY.get(e.errno or 0, e.strerror or e.args[0])}") from None
    tun = _ready(device.fileno())
    tun._device = device
    return tun


def _set_queue_length(name: str) -> None:
    """The default of 500 packets overflows while a pump waits for its core."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, _SIOCSIFTXQLEN, struct.pack("=16si20x", name.encode(), QUEUE_LENGTH))


def adopt(fd: int) -> Tun:
    """Takes over a TUN that somebody else opened (WG_TUN_FD). Raises HostError."""
    try:
        name, flags = interface_of(fd)
        os.set_inheritable(fd, False)
    except OSError as e:
        raise HostError(f"WG_TUN_FD: descriptor {fd} is no TUN: {e.strerror}") from None
    if name is None:
        raise HostError(f"WG_TUN_FD: descriptor {fd} has no interface")
    plain = pytun.IFF_TUN | pytun.IFF_NO_PI
    if flags & (plain | pytun.IFF_TAP) != plain:
        raise HostError("WG_TUN_FD: the TUN must be opened with IFF_TUN and IFF_NO_PI")
    if not flags & pytun.IFF_VNET_HDR:
        os.set_blocking(fd, False)
        return Tun(fd, False, False, bare=True)
    return _ready(fd)


def _ready(fd: int) -> Tun:
    offloads = _offloads(fd)
    os.set_blocking(fd, False)
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("=i", _VNET_HEADER))
    return Tun(fd, bool(offloads & _TSO), bool(offloads & _USO))


def _offloads(fd: int) -> int:
    """Turns on as much as the kernel takes and returns that set."""
    for wanted in (_CSUM | _TSO | _ECN | _USO, _CSUM | _TSO | _USO, _CSUM | _TSO | _ECN,
                   _CSUM | _TSO, _CSUM, 0):
        try:
            fcntl.ioctl(fd, TUNSETOFFLOAD, wanted)
            return wanted
        except OSError as e:
            if e.errno != errno.EINVAL:
                raise HostError(f"TUNSETOFFLOAD: {e.strerror}") from None
    return 0
