"""Did anything protected leave in clear (F10)? Marked traffic from host to host, and a
capture of every wire on the Internet side that looks for it."""

import select
import socket
import threading
import time
from contextlib import ExitStack
from ipaddress import ip_address, ip_network

from wgpy.lab.encryptors import MARKER, Pair
from wgpy.lab.netns import wait_until
from wgpy.lab.wire import Capture, Seen

OPEN_MARKER = b"CLEARTEXT-FOR-THE-INTERNET"
_PORT = 7
_PERIOD = 0.01  # s between marked datagrams, each way
_WHOLE = 65536  # bytes of a packet that is not cut, however large an offload made it


class Wiretap:
    """Everything that passes between the encryptors' black rooms and the Internet while
    the block lasts."""

    def __init__(self, pair: Pair):
        self._captures = [Capture(pair.internet, f"to-{node.name}", _WHOLE) for node in pair.nodes]
        self._networks = [ip_network(n) for n in pair.protected]
        self._stack = ExitStack()

    def __enter__(self) -> "Wiretap":
        for capture in self._captures:
            self._stack.enter_context(capture)
        return self

    def __exit__(self, *exc) -> None:
        self._stack.close()

    @property
    def missed(self) -> int:
        """Packets that the capture was too slow for; after the block."""
        return sum(c.missed for c in self._captures)

    def frames(self, *kinds: int) -> list[Seen]:
        return [s for c in self._captures for s in c.frames(*kinds)]

    def leaks(self) -> list[Seen]:
        """Packets with the marker of protected traffic in them, or an address of a
        protected network on them."""
        return [s for s in self.frames() if MARKER in s.payload or
                any(ip_address(end[0]) in n for end in (s.source, s.destination) for n in self._networks)]

    def in_clear(self) -> int:
        """Packets with the marker of traffic that may leave in clear: a search that finds
        none of those would find no leak."""
        return sum(OPEN_MARKER in s.payload for s in self.frames())


class Heartbeat:
    """Marked datagrams between two LAN hosts, both ways at once, 100 a second each."""

    def __init__(self, pair: Pair):
        self._ends = []
        for node, other in (pair.nodes, pair.nodes[::-1]):
            with node.host.entered():
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind((node.address, _PORT))
            s.setblocking(False)
            self._ends.append((s, (other.address, _PORT)))
        self._arrived: dict[socket.socket, list[float]] = {s: [] for s, _ in self._ends}
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *exc) -> None:
        self._stop = True
        self._thread.join()
        for s, _ in self._ends:
            s.close()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop:
            for s, to in self._ends:
                try:
                    s.sendto(MARKER * 20, to)
                except OSError:
                    pass  # a host that has lost its neighbour for a moment
            due = max(due + _PERIOD, time.monotonic())
            while (left := due - time.monotonic()) > 0:
                for s in select.select([s for s, _ in self._ends], [], [], left)[0]:
                    self._receive(s)

    def _receive(self, s: socket.socket) -> None:
        try:
            s.recv(2048)
        except OSError:
            return
        self._arrived[s].append(time.monotonic())

    def beats(self, since: float) -> bool:
        """Whether something has arrived at both ends after `since`."""
        return all(times and times[-1] > since for times in self._arrived.values())

    def wait(self, timeout: float, since: float | None = None) -> None:
        """Until both ends hear each other again; TimeoutError."""
        since = time.monotonic() if since is None else since
        wait_until(lambda: self.beats(since), timeout, "traffic both ways")

    def outage(self, since: float) -> float:
        """The longest silence at either end from `since` until now, in seconds."""
        longest = 0.0
        for times in self._arrived.values():
            marks = [since, *(t for t in times if t > since), time.monotonic()]
            longest = max(longest, *(b - a for a, b in zip(marks, marks[1:])))
        return longest


def speak_openly(pair: Pair, address: str, count: int = 5) -> None:
    """Marked datagrams to the Internet, which may leave in clear."""
    with pair.a.host.entered():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with s:
        for _ in range(count):
            s.sendto(OPEN_MARKER, (address, 9))
