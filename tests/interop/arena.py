"""Our implementation on one side, any other on the far side, reconfigured for each case."""

import hashlib
import os
from dataclasses import dataclass

from kernel_peer import KernelPeer
from needs import need

from wgpy.lab.netns import Netns, join
from wgpy.lab.traffic import fetch, file_server, iperf3, ping
from wgpy.lab.tunnel import Tunnel, preshared_key, private_key
from wgpy.lab.two_sites import INSIDE4, INSIDE6, OUTSIDE4, OUTSIDE6, pair

UNDER_TEST = os.environ.get("WGPY_UNDER_TEST", "wgpyd")
PEERS = {"self": UNDER_TEST, "wireguard-go": "wireguard-go", "kernel": "kernel"}


def need_peer(name: str) -> None:
    """Skips the test where the far side's program is missing; ours is always there."""
    if name != UNDER_TEST:
        need("qemu-system-x86_64" if name == "kernel" else name)


@dataclass(frozen=True)
class Case:
    """`initiator` is "us" or "them": the only side that knows an endpoint."""
    initiator: str = "us"
    outside: int = 4
    psk: bool = False
    mtu: int = 1420

    def __str__(self) -> str:
        return f"{self.initiator}-v{self.outside}-{'psk' if self.psk else 'nopsk'}-{self.mtu}"


class Arena:
    """Daemons run on from case to case; every case has fresh keys and addresses. Only
    wireguard-go starts anew for another family: that of 2023 sends its first answers over
    IPv6 with the source address of an IPv4 peer, ENETUNREACH."""

    def __init__(self, peer: str, directory):
        self.peer, self.directory = peer, directory
        self.file_sha256 = hashlib.sha256((directory / "file").read_bytes()).hexdigest()
        need_peer(PEERS[peer])
        self.outside: tuple[str, str] | None = None
        self.near = Netns("near")
        try:
            if peer == "kernel":
                self.far = KernelPeer(self.near)
            else:
                self.far = Netns("far")
                join(self.near, self.far, mtu=9000)
        except BaseException:
            self.near.close()
            raise
        env = {"LOG_LEVEL": "verbose"}
        self.ours, self.theirs = (
            Tunnel(host, impl, env=env, addresses=(f"{INSIDE4[i]}/24", f"{INSIDE6[i]}/64"))
            for i, (host, impl) in enumerate(((self.near, UNDER_TEST), (self.far, PEERS[peer]))))

    def close(self) -> None:
        self.far.close()
        self.near.close()

    def prepare(self, case: Case, both_endpoints: bool = False) -> tuple[Tunnel, Tunnel]:
        """Everything but telling the daemons; (initiator, responder)."""
        before, self.outside = self.outside, OUTSIDE4 if case.outside == 4 else OUTSIDE6
        if self.peer == "wireguard-go" and before not in (None, self.outside):
            self.theirs.stop()
        link_mtu = 9000 if case.mtu > 1500 else 1500
        for i, tunnel in enumerate((self.ours, self.theirs)):
            tunnel.host.run("ip", "-batch", "-", input="\n".join((
                "address flush dev eth0 scope global", "route flush dev eth0", f"link set eth0 mtu {link_mtu}",
                f"address add {OUTSIDE4[i]}/24 dev eth0",
                f"address add {OUTSIDE6[i]}/64 dev eth0 nodad")) + "\n")
            tunnel.key, tunnel.mtu = private_key(), case.mtu
        ends = [self.ours, self.theirs]
        outside = list(self.outside)
        if case.initiator == "them":
            ends.reverse()
            outside.reverse()
        pair(*ends, tuple(outside), psk=preshared_key() if case.psk else None,
             both_endpoints=both_endpoints)
        self.responder_first = ends[::-1]
        return tuple(ends)

    def apply(self) -> None:
        for tunnel in self.responder_first:
            tunnel.apply() if tunnel.running else tunnel.start()

    def configure(self, case: Case, **options) -> tuple[Tunnel, Tunnel]:
        ends = self.prepare(case, **options)
        self.apply()
        return ends

    def address(self, tunnel: Tunnel, version: int = 4) -> str:
        """The inside address of a tunnel."""
        return (INSIDE4 if version == 4 else INSIDE6)[tunnel is self.theirs]

    def other(self, tunnel: Tunnel) -> Tunnel:
        return self.ours if tunnel is self.theirs else self.theirs

    def ping(self, sender: Tunnel, version: int = 4, **options):
        return ping(sender.host, self.address(self.other(sender), version), **options)

    def file_hashes(self, reader: Tunnel, version: int) -> tuple[str, str]:
        """SHA-256 of a file as its owner has it and as the other side reads it."""
        owner = self.other(reader)
        address = self.address(owner, version)
        if isinstance(owner.host, KernelPeer):
            netloc = f"[{address}]:80" if version == 6 else f"{address}:80"
            return owner.host.file_sha256, fetch(reader.host, netloc, "/file").sha256
        with file_server(owner.host, self.directory, address) as netloc:
            if isinstance(reader.host, KernelPeer):
                return self.file_sha256, reader.host.sha256(f"wget -qO- http://{netloc}/file")
            return self.file_sha256, fetch(reader.host, netloc, "/file").sha256

    def udp(self, version: int, *, reverse: bool, length: int):
        """iperf3 datagrams from us to them, or back with `reverse`."""
        server = None if isinstance(self.far, KernelPeer) else self.far
        return iperf3(server, self.near, self.address(self.theirs, version), udp=True,
                      megabytes=0.15, bitrate="12M", length=length, reverse=reverse)
