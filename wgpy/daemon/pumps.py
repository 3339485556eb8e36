"""The threads of a standalone tunnel: for each queue tun -> seal -> udp and
udp -> open -> tun. Pumps are built anew for each set of sockets; counters carry on."""

import threading
from collections import Counter
from typing import Callable

from wgpy._fast.ports import Pump, TunPort, UdpPort
from wgpy.red.tun import Tun


class Pumps:
    """`on_end(source, errno)` is called from a pump's thread when its source port is
    gone without stop()."""

    def __init__(self, plane, tun: Tun, on_end: Callable[[str, int], None]):
        self._plane, self._tun, self._on_end = plane, tun, on_end
        self._running: list[tuple[Pump, threading.Thread]] = []
        self._ports: list[tuple[str, TunPort | UdpPort]] = []
        self._stages: list = []
        self._past: Counter = Counter()

    def start(self, fds: list[tuple[int, int]], mtu: int) -> None:
        """`fds` has an (IPv4, IPv6) pair of sockets for each queue of the TUN."""
        for queue, (tun_fd, pair) in enumerate(zip(self._tun.fds, fds, strict=True)):
            tun = TunPort(tun_fd, merge_tcp=self._tun.merge_tcp, merge_udp=self._tun.merge_udp)
            udp = UdpPort(*pair)
            seal = self._plane.seal_stage(queue, mtu)
            self._stages.append(seal)
            self._ports += [("tun", tun), ("udp", udp)]
            self._launch("tun", queue, Pump(tun, seal, udp))
            self._launch("udp", queue, Pump(udp, self._plane.open_stage(queue), tun))

    def stop(self) -> None:
        """Returns when no thread uses a descriptor any more."""
        running, self._running = self._running, []
        for pump, _ in running:
            pump.stop()
        for _, thread in running:
            thread.join()
        self._past += self._count(running)
        self._ports, self._stages = [], []

    def set_mtu(self, mtu: int) -> None:
        for stage in self._stages:
            stage.mtu = mtu

    def counters(self) -> Counter:
        """Since the daemon's start: drop_REASON, and tun_… and udp_… of the ports."""
        return self._past + self._count(self._running)

    def _count(self, running: list) -> Counter:
        total: Counter = Counter()
        for pump, _ in running:
            total.update({f"drop_{k}": v for k, v in pump.drops().items()})
        for name, port in self._ports:
            total.update({f"{name}_{k}": v for k, v in port.stats().items()})
        return total

    def _launch(self, source: str, queue: int, pump: Pump) -> None:
        thread = threading.Thread(target=self._run, args=(source, pump), daemon=True,
                                  name=f"{source}-{queue}")
        self._running.append((pump, thread))
        thread.start()

    def _run(self, source: str, pump: Pump) -> None:
        code = pump.run()
        if code:
            self._on_end(source, code)
