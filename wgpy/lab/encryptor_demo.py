"""`python -I -m wgpy.lab.encryptor_demo`: two encryptors of three rooms, LAN hosts behind
them, an Internet between them, faults under traffic, and a capture of black's wires.

Exit status 0 when every step passed, 1 when one failed, 2 when the host lacks
something, 130 or 143 when interrupted. Leaves nothing behind in any case.
"""

import argparse
import hashlib
import os
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from wgpy.lab.demo import LINE, Report, present
from wgpy.lab.encryptors import MARKER, ROOMS, WEB, Node, Pair
from wgpy.lab.leaks import OPEN_MARKER, Heartbeat, Wiretap, speak_openly
from wgpy.lab.netns import need, wait_until
from wgpy.lab.traffic import fetch, file_server, iperf3, ping, pinging

_SETTLED = 0.3     # s that a fault is given to show before its end is looked for
_HANDSHAKES = (1, 2)


@dataclass(frozen=True)
class Pace:
    """What is asked of the encryptors, and how much time they have for it."""
    blocks: int = 32_000       # of a file, a kilobyte each
    patience: float = 20       # s for the first packet, session included
    back_within: float = 5.0   # s from a fault to traffic both ways
    interval: float = 0.01     # s between pings
    bitrate: int = 950         # Mbit/s of UDP


PROCESSES = Pace()


@contextmanager
def watched(report: Report, pair: Pair, what: str):
    """The block's traffic on black's wires, searched; AssertionError for a leak."""
    with Wiretap(pair) as tap:
        yield tap
    leaks = tap.leaks()
    assert not leaks, f"{len(leaks)} packets in clear, first {leaks[0].source} to {leaks[0].destination}"
    assert not tap.missed, f"the capture missed {tap.missed} packets"
    report.row(f"black's wires, {what}", f"{len(leaks)} protected in clear",
               f"of {len(tap.frames())} captured, {len(tap.frames(4))} of them transport messages")


def transparent(report: Report, pair: Pair, pace: Pace = PROCESSES) -> None:
    for node in pair.nodes:
        routes = node.host.ip("route").splitlines()
        assert len(routes) == 2, f"routes of {node.host.name}: {routes}"
        report.row(f"all that {node.host.name} knows", f"{node.address}/24", f"default via {node.inner}")
    first = ping(pair.a.host, pair.b.address, count=1, wait=pace.patience)
    assert first.lost == 0, "the first packet did not come back"
    report.row("handshake and first packet", f"{first.p50:.1f} ms")


def through(report: Report, pair: Pair, directory: Path, pace: Pace = PROCESSES) -> None:
    with watched(report, pair, "host to host"):
        result = ping(pair.a.host, pair.b.address, count=100, interval=pace.interval)
        assert result.lost == 0, f"{result.lost} of 100 pings lost"
        report.row("ping host to host", f"{result.p50 * 1e3:.0f} us p50", "0 of 100 lost")
        for node, other in (pair.nodes, pair.nodes[::-1]):
            content = (MARKER + os.urandom(1000 - len(MARKER))) * pace.blocks
            download(report, node.host, other.host, other.address, directory, content)


def download(report: Report, client, server, address: str, directory: Path, content: bytes) -> None:
    (directory / "file").write_bytes(content)
    with file_server(server, directory, address) as netloc:
        got = fetch(client, netloc, "/file")
    assert got.sha256 == hashlib.sha256(content).hexdigest(), f"the file from {address} arrived changed"
    report.row(f"file over HTTP {server.name} to {client.name}", f"{got.size / 1e6:.1f} MB in {got.seconds:.2f} s",
               f"sha256 {got.sha256[:16]}… equal")


def beside(report: Report, pair: Pair, directory: Path) -> None:
    """The control of the search for leaks, too: what may leave in clear is found by it."""
    with watched(report, pair, "host to Internet") as tap:
        result = ping(pair.a.host, WEB)
        assert result.lost == 0, f"{result.lost} of 3 pings to {WEB} lost"
        speak_openly(pair, WEB)
        download(report, pair.a.host, pair.internet, WEB, directory, OPEN_MARKER * 1000)
    if pair.a.mode == "small":
        assert tap.in_clear(), "nothing of it was seen in clear"
        report.row("host to Internet", f"{tap.in_clear()} in clear", f"found by their marker; ping {result.p50:.2f} ms")
    else:
        assert not tap.in_clear(), "something left in clear through black"
        report.row("host to Internet", "not through black", "the site router's own way")


def faults(report: Report, pair: Pair, pace: Pace = PROCESSES) -> None:
    with watched(report, pair, "rooms killed"), Heartbeat(pair) as heart:
        heart.wait(20)
        for room in ("crypto", "black", "red"):
            outage = kill(pair.a, room, heart, pace.back_within)
            report.row(f"{room} of a killed under traffic", f"back in {outage:.2f} s", "longest silence of a host")
            assert outage < pace.back_within, f"{room}: no traffic for {outage:.1f} s"


def kill(node: Node, room: str, heart: Heartbeat, within: float) -> float:
    """Seconds without traffic. TimeoutError when there is none again."""
    old, began = node.pid(room), time.monotonic()
    assert old, f"{room} does not run"
    node.signal(room, signal.SIGKILL)
    time.sleep(_SETTLED)
    wait_until(lambda: node.pid(room) not in (0, old), within, f"{room} starts again")
    node.back(room)
    heart.wait(2 * within)
    time.sleep(_SETTLED)
    return heart.outage(began)


def roam(report: Report, pair: Pair, node: Node) -> None:
    other, = (n for n in pair.nodes if n is not node)
    interval = 0.02
    with watched(report, pair, "roaming") as tap:
        with pinging(node.host, other.address, interval=interval) as seen:
            time.sleep(0.4)
            homeless = node.lease(node.away) / interval
            time.sleep(0.6)
    sources = {s.source[0] for s in tap.frames(4)}
    assert {node.home.address, node.away.address} <= sources, f"transport messages came from {sources}"
    assert seen[0].lost <= 1 + homeless, f"{seen[0].lost} of {seen[0].sent} pings lost while roaming"
    assert not tap.frames(*_HANDSHAKES), "roaming renegotiated the session"
    report.row("roam to another network under ping", f"{seen[0].lost} of {seen[0].sent} lost",
               f"{node.home.address} to {node.away.address}, no new handshake")


def _unread(host) -> int:
    """Datagrams that the host's own sockets were too full for."""
    return int(host.run("cat", "/proc/net/snmp").stdout.split("\nUdp: ")[2].split()[4])


def throughput(report: Report, pair: Pair, seconds: int, pace: Pace = PROCESSES) -> None:
    a, b = pair.nodes
    for title, options in (("TCP 1 stream a to b", {}), ("TCP 1 stream b to a", {"reverse": True})):
        result = iperf3(b.host, a.host, b.address, seconds=seconds, **options)
        rate(report, title, result.bits_per_second, f"{result.bits_per_second / LINE:.2f} x P1")
    unread = _unread(b.host)
    result = iperf3(b.host, a.host, b.address, seconds=seconds, udp=True, length=1372, bitrate=f"{pace.bitrate}M")
    unread = (_unread(b.host) - unread) / result.packets
    lost = max(0.0, result.lost_percent / 100 - unread)
    offered = result.packets * 1372 * 8 / result.seconds
    rate(report, f"UDP 1372 B at {pace.bitrate} Mbit/s", offered * (1 - lost),
         f"{offered / 1e6:.0f} offered by iperf3, {100 * lost:.1f} % lost; then {100 * unread:.1f} % by iperf3's socket")


def rate(report: Report, title: str, bits_per_second: float, note: str) -> None:
    assert bits_per_second > 0, f"{title}: nothing arrived"
    report.row(title, f"{bits_per_second / 1e6:.0f} Mbit/s", note)
    report.progress("", f"{title}: {bits_per_second / 1e6:.0f} Mbit/s; {note}")


def taken_down(report: Report, pair: Pair) -> None:
    for node in pair.nodes:
        restarts = {room: node.restarts(room) for room in ROOMS}
        node.stop()
        left = node.box.ip("netns").split()
        assert not left, f"{node.name} left {left}"
        report.row(f"encryptor {node.name} ends", "status 0",
                   "restarts: " + ", ".join(f"{room} {n}" for room, n in restarts.items()))


def run(report: Report, mode: str, seconds: int) -> None:
    need("ip", "nsenter", "unshare", "ping", "nft", "iperf3")
    with tempfile.TemporaryDirectory(prefix="wgpy-demo-") as name:
        directory, began = Path(name), time.monotonic()
        pair = Pair(directory, mode, routers=mode == "large")
        pair.a.write_site([pair.b], dhcp=True)
        served = directory / "served"
        served.mkdir()
        with pair:
            report.progress("ok", f"two encryptors of three rooms in {mode} mode, two hosts, an Internet")
            report.row("both encryptors up", f"{time.monotonic() - began:.2f} s", f"{mode} mode, namespaces included")
            if not report.step("host to host", transparent, pair):
                return
            report.step("through the tunnel, with black's wires captured", through, pair, served)
            report.step("beside the tunnel", beside, pair, served)
            report.step("each room killed under traffic", faults, pair)
            report.step("roaming", roam, pair, pair.a)
            report.step("throughput", throughput, pair, seconds)
            report.step("encryptors end", taken_down, pair)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="wgpy.lab.encryptor_demo", description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=("small", "large"), default="small")
    parser.add_argument("--seconds", type=int, default=3, help="length of each iperf3 run")
    parser.add_argument("--json", action="store_true", help="only the result, as JSON")
    options = parser.parse_args(argv)
    report = Report(Console(), quiet=options.json)
    return present("encryptor_demo", report, lambda: run(report, options.mode, options.seconds))


if __name__ == "__main__":
    sys.exit(main())
