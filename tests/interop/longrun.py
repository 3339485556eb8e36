"""Pairs of tunnels that are left alone under light traffic past one rekey."""

import time
from concurrent.futures import ThreadPoolExecutor

from arena import UNDER_TEST, need_peer
from kernel_peer import KernelPeer

from wgpy.lab.netns import Netns, join
from wgpy.lab.traffic import Ping, pinging
from wgpy.lab.tunnel import Tunnel
from wgpy.lab.two_sites import INSIDE4, OUTSIDE4, pair
from wgpy.lab.wire import Capture

SECONDS = 126


class LongPair:
    """`near` is ours. `indices` holds, before and after, what each direction used."""

    def __init__(self, name: str, far: str, near_initiates: bool):
        need_peer(far)
        self.name, self.near_initiates, self.address = name, near_initiates, INSIDE4[1]
        ns = Netns(name)
        self.hosts = [ns]
        if far == "kernel":
            self.hosts.insert(0, KernelPeer(ns))
            for i, host in enumerate((ns, self.hosts[0])):
                host.run("ip", "address", "add", f"{OUTSIDE4[i]}/24", "dev", "eth0")
        else:
            self.hosts.append(Netns(f"{name}-far"))
            join(ns, self.hosts[1], a_addresses=(f"{OUTSIDE4[0]}/24",),
                 b_addresses=(f"{OUTSIDE4[1]}/24",))
        other = next(h for h in self.hosts if h is not ns)
        self.near, self.far = (Tunnel(host, impl, addresses=(f"{INSIDE4[i]}/24",))
                               for i, (host, impl) in enumerate(((ns, UNDER_TEST), (other, far))))
        pair(self.near, self.far, OUTSIDE4, both_endpoints=True)
        self.indices: list[tuple[list[int], list[int]]] = []
        self.handshakes: list[int] = []
        self.ping: Ping | None = None
        self._clock = ThreadPoolExecutor(1)

    def start(self) -> None:
        """The first packet comes from the initiator, the rest from the near side, so
        that the responder has every occasion to rekey and must not."""
        for tunnel in (self.far, self.near):
            tunnel.start()
        first, target = (self.near, 1) if self.near_initiates else (self.far, 0)
        first.host.run("ping", "-c", 1, "-W", 10, INSIDE4[target])
        self.began = time.monotonic()
        self._pinging = pinging(self.near.host, self.address, interval=0.2)
        self._result = self._pinging.__enter__()
        self.look()
        self.finished = self._clock.submit(self._finish)

    def look(self) -> None:
        """The indices in use: one each way, unless a rekey is just happening or a busy
        host lets nothing through, so that it looks again."""
        for _ in range(8):
            with Capture(self.near.host) as capture:
                time.sleep(0.6)
            seen = capture.indices(True), capture.indices(False)
            if all(len(way) == 1 for way in seen):
                break
        self.indices.append(seen)
        self.handshakes.append(self.near.peer().handshake)

    def _finish(self) -> None:
        """On time, whatever the suite does meanwhile: later the session would be old."""
        time.sleep(max(0, self.began + SECONDS - time.monotonic()))
        self.look()
        self._pinging.__exit__(None, None, None)
        self.ping = self._result[0]

    def close(self) -> None:
        self._clock.shutdown(cancel_futures=True)
        for host in self.hosts:
            host.close()


class LongRun:
    """Starts in the background, two pairs at a time."""

    def __init__(self):
        self.pairs: list[LongPair] = []
        self._finished = False
        self._executor = ThreadPoolExecutor(2)
        self._starting = [self._executor.submit(self._start, *arguments) for arguments in (
            ("to-kernel", "kernel", True), ("from-kernel", "kernel", False),
            ("to-wireguard-go", "wireguard-go", True),
            ("from-wireguard-go", "wireguard-go", False), ("self", UNDER_TEST, True))]

    def _start(self, name: str, far: str, near_initiates: bool) -> None:
        pair_ = LongPair(name, far, near_initiates)
        self.pairs.append(pair_)
        pair_.start()

    def wait(self) -> None:
        if not self._finished:
            self._finished = True
            for starting in self._starting:
                starting.result()
            for pair_ in self.pairs:
                pair_.finished.result()

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)
        for pair_ in self.pairs:
            pair_.close()
