"""The threads of a standalone tunnel: tun -> seal -> udp and udp -> open -> tun, each a
group of as many threads as the plane has queues. Pumps are built anew for each set of
sockets; counters carry on."""

import threading
from collections import Counter
from collections.abc import Callable

from wgpy._fast.plane import CryptoStage, Plane
from wgpy._fast.ports import Pump, TunPort, UdpPort
from wgpy.errors import HostError
from wgpy.red.tun import Tun


class Pumps:
    """`on_end(source, errno)` is called from a pump's thread when its source port is
    gone without stop()."""

    def __init__(self, plane: Plane, queues: int, tun: Tun, on_end: Callable[[str, int], None]):
        self.queues = queues
        self._plane, self._tun, self._on_end = plane, tun, on_end
        self._pumps: list[Pump] = []
        self._threads: list[threading.Thread] = []
        self._ports: dict[str, TunPort | UdpPort] = {}
        self._seals: list[CryptoStage] = []
        self._past: Counter[str] = Counter()

    def start(self, fds: tuple[int, int, int, int], mtu: int) -> None:
        """`fds`: as of UdpSockets. HostError, and no thread runs then."""
        try:
            self._start(fds, mtu)
        except (RuntimeError, MemoryError) as e:  # no thread, no memory
            self.stop()
            raise HostError(f"the packet threads cannot be started: {e or 'no memory'}") from None

    def _start(self, fds: tuple[int, int, int, int], mtu: int) -> None:
        tun = TunPort(self._tun.fd, merge_tcp=self._tun.merge_tcp, merge_udp=self._tun.merge_udp,
                      bare=self._tun.bare)
        udp = UdpPort(*fds)
        self._ports = {"tun": tun, "udp": udp}
        self._seals = [self._plane.seal_stage(queue, mtu) for queue in range(self.queues)]
        self._launch("tun", Pump(tun, self._seals, udp))
        self._launch("udp", Pump(udp, [self._plane.open_stage(queue) for queue in range(self.queues)], tun))

    def stop(self) -> None:
        """Returns when no thread uses a descriptor any more."""
        for pump in self._pumps:
            pump.stop()
        for thread in self._threads:
            thread.join()
        self._past = self.counters()
        self._pumps, self._threads, self._ports, self._seals = [], [], {}, []

    def set_mtu(self, mtu: int) -> None:
        """Of the tunnel, bytes: seal pads no packet beyond it."""
        for stage in self._seals:
            stage.mtu = mtu

    def counters(self) -> Counter[str]:
        """Since the daemon's start: drop_REASON, and tun_… and udp_… of the ports."""
        total = Counter(self._past)
        for pump in self._pumps:
            total.update({f"drop_{k}": v for k, v in pump.drops().items()})
        for name, port in self._ports.items():
            total.update({f"{name}_{k}": v for k, v in port.stats().items()})
        return total

    def _launch(self, source: str, pump: Pump) -> None:
        self._pumps.append(pump)
        for i in range(pump.threads):
            thread = threading.Thread(target=self._run, args=(source, pump, i), daemon=True, name=f"{source}-{i}")
            self._threads.append(thread)
            thread.start()

    def _run(self, source: str, pump: Pump, thread: int) -> None:
        code = pump.run(thread)
        if code:
            self._on_end(source, code)
