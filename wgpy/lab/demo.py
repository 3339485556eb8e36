"""`python -I -m wgpy.lab.demo`: two sites in namespaces, a daemon in each, real traffic.

Exit status 0 when every step passed, 1 when one failed, 2 when the host lacks
something, 130 or 143 when interrupted. Leaves nothing behind in any case.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from rich.console import Console
from rich.table import Table

from wgpy.errors import WgpyError
from wgpy.lab.netns import need, wait_until
from wgpy.lab.traffic import Throughput, fetch, file_server, iperf3, ping, pinging
from wgpy.lab.two_sites import INSIDE4, INSIDE6, TwoSites
from wgpy.lab.wire import Capture

LINE = 950e6  # P1, bits per second from node to node
FILE_BYTES = 32_000_000
ROAMED_TO = "203.0.113.1"
EXPECTED = (AssertionError, OSError, RuntimeError, WgpyError, HTTPException,
            subprocess.SubprocessError, StopIteration, ValueError)


@dataclass
class Report:
    console: Console
    quiet: bool = False
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def progress(self, mark: str, text: str) -> None:
        if self.quiet:
            return
        if self.console.is_terminal:
            colour = {"ok": "green", "FAIL": "bold red"}.get(mark, "cyan")
            self.console.print(f"[{colour}]{mark:>4}[/] ", end="")
            self.console.print(text, markup=False)
        else:
            print(f"{mark:>4} {text}", flush=True)

    def row(self, what: str, value: str, note: str = "") -> None:
        self.rows.append((what, value, note))

    def step(self, title: str, action, *arguments) -> bool:
        self.progress("..", title)
        began = time.monotonic()
        try:
            action(self, *arguments)
        except EXPECTED as error:
            self.failed.append(title)
            notes = "; ".join(getattr(error, "__notes__", []))
            self.progress("FAIL", f"{title}: {str(error) or type(error).__name__} {notes}".strip())
            self.row(title, "FAILED", str(error))
            return False
        self.progress("ok", f"{title} ({time.monotonic() - began:.1f} s)")
        return True

    def table(self) -> None:
        self.row("P1", f"{LINE / 1e6:.0f} Mbit/s", "the line to measure throughput against")
        if self.quiet:
            print(json.dumps({"rows": self.rows, "failed": self.failed}, indent=1))
        elif self.console.is_terminal:
            table = Table("what", "measured", "note")
            for row in self.rows:
                table.add_row(*row)
            self.console.print(table)
        else:
            widths = [max(len(r[i]) for r in self.rows) for i in (0, 1)]
            for what, value, note in self.rows:
                print(f"{what:<{widths[0]}}  {value:<{widths[1]}}  {note}".rstrip())


def handshake(report: Report, sites: TwoSites) -> None:
    for name, tunnel in (("a", sites.a), ("b", sites.b)):
        report.row(f"daemon {name} ready", f"{tunnel.ready_seconds * 1e3:.0f} ms",
                   tunnel.impl.name)
    began = time.monotonic()
    first = ping(sites.a.host, INSIDE4[1], count=1)
    sites.a.wait_handshake()
    sites.b.wait_handshake()
    assert first.lost == 0, "the first packet did not come back"
    report.row("handshake and first packet", f"{first.p50:.1f} ms",
               f"seen by `wg show` after {time.monotonic() - began:.2f} s")


def echo(report: Report, sites: TwoSites) -> None:
    for here, there, address in ((sites.a, sites.b, INSIDE4[1]), (sites.b, sites.a, INSIDE6[0])):
        size = here.mtu - (48 if ":" in address else 28)
        result = ping(here.host, address, count=100, interval=0.01)
        full = ping(here.host, address, count=10, interval=0.01, size=size)
        lost = result.lost + full.lost
        report.row(f"ping {here.host.name} to {there.host.name} ({address})",
                   f"{result.p50 * 1e3:.0f} us p50", f"{lost} of 110 lost")
        assert lost == 0, f"{lost} of 110 pings to {address} lost"


def files(report: Report, sites: TwoSites) -> None:
    with tempfile.TemporaryDirectory() as directory:
        content = os.urandom(FILE_BYTES)
        (Path(directory) / "file").write_bytes(content)
        exchange(report, sites, directory, hashlib.sha256(content).hexdigest())


def exchange(report: Report, sites: TwoSites, directory: str, expected: str) -> None:
    for server, client, address in ((sites.b, sites.a, INSIDE4[1]), (sites.a, sites.b, INSIDE6[0])):
        with file_server(server.host, directory, address) as netloc:
            got = fetch(client.host, netloc, "/file")
        assert got.sha256 == expected, f"the file from {address} arrived changed"
        report.row(f"file over HTTP {server.host.name} to {client.host.name}",
                   f"{got.size / 1e6:.1f} MB in {got.seconds:.2f} s", f"sha256 {expected[:16]}… equal")


def _unread(tunnel) -> int:
    """Datagrams that full sockets of the namespace dropped, except the tunnel's own."""
    values = tunnel.host.run("cat", "/proc/net/snmp").stdout.split("\nUdp: ")[2].split()
    sockets = [line.split() for line in tunnel.host.run("cat", "/proc/net/udp").stdout.splitlines()]
    own = sum(int(s[-1]) for s in sockets if s[1].endswith(f":{tunnel.port:04X}"))
    return int(values[4]) - own


def throughput(report: Report, sites: TwoSites, seconds: int) -> None:
    big, small = {"udp": True, "length": 1372}, {"udp": True, "length": 64}
    runs = (("TCP 1 stream a to b", INSIDE4[1], {}),
            ("TCP 1 stream b to a", INSIDE4[1], {"reverse": True}),
            ("TCP 4 streams a to b", INSIDE4[1], {"streams": 4}),
            ("UDP 1372 B at 950 Mbit/s", INSIDE4[1], big | {"bitrate": "950M"}),
            ("the same without a tunnel", sites.outside[1], big | {"bitrate": "950M"}),
            ("UDP 64 B at 20 kpps", INSIDE4[1], small | {"bitrate": "10240K"}))
    for title, address, options in runs:
        before, unread = [t.cpu_seconds() for t in (sites.a, sites.b)], _unread(sites.b)
        result: Throughput = iperf3(sites.b.host, sites.a.host, address, seconds=seconds, **options)
        cpu = [t.cpu_seconds() - b for t, b in zip((sites.a, sites.b), before)]
        notes = [] if options.get("length") == 64 else [f"{result.bits_per_second / LINE:.2f} x P1"]
        if options.get("udp"):
            unread = 100 * (_unread(sites.b) - unread) / result.packets
            notes.append(f"{max(0, result.lost_percent - unread):.1f} % lost + {unread:.1f} % "
                         "in iperf3's own socket")
        notes.append(f"CPU {', '.join(f'{n} {100 * c / result.seconds:.0f} %' for n, c in zip('ab', cpu))}")
        report.row(title, f"{result.bits_per_second / 1e6:.0f} Mbit/s", "; ".join(notes))
        report.progress("", f"{title}: {result.bits_per_second / 1e6:.0f} Mbit/s; {'; '.join(notes)}")
        assert result.bits_per_second > 0, f"{title}: nothing arrived"


def rekey(report: Report, sites: TwoSites) -> None:
    old = sites.b.peer().handshake
    wait_until(lambda: time.time() >= old + 1, 20, "another second on the clock")
    with Capture(sites.b.host) as capture, pinging(sites.a.host, INSIDE4[1], interval=0.02) as seen:
        time.sleep(0.4)
        sites.a.forget_and_relearn()
        new = sites.b.wait_handshake(after=old)
        time.sleep(0.4)
    indices = capture.indices(outgoing=False)
    assert len(indices) == 2, f"transport indices under ping: {indices}"
    assert seen[0].lost <= 1, f"{seen[0].lost} of {seen[0].sent} pings lost during the rekey"
    report.row("live rekey under ping", f"{seen[0].lost} of {seen[0].sent} lost",
               f"index {indices[0]:08x} to {indices[1]:08x}, handshake {new - old} s newer")


def roam(report: Report, sites: TwoSites) -> None:
    before = sites.b.peer()
    sites.b.host.ip("route", "add", "203.0.113.0/24", "dev", "eth0")
    with pinging(sites.a.host, INSIDE4[1], interval=0.02) as seen:
        time.sleep(0.4)
        sites.a.host.batch(f"address add {ROAMED_TO}/24 dev eth0",
                           f"address delete {sites.outside[0]}/24 dev eth0",
                           "route add 198.51.100.0/24 dev eth0")
        time.sleep(0.6)
    after = sites.b.peer()
    assert after.endpoint.startswith(ROAMED_TO), f"b still answers to {after.endpoint}"
    assert seen[0].lost <= 1, f"{seen[0].lost} of {seen[0].sent} pings lost while roaming"
    assert after.handshake == before.handshake, "roaming renegotiated the session"
    report.row("roam to another network under ping", f"{seen[0].lost} of {seen[0].sent} lost",
               f"{before.endpoint} to {after.endpoint}, no new handshake")


def daemons(report: Report, sites: TwoSites) -> None:
    for name, tunnel in (("a", sites.a), ("b", sites.b)):
        memory, cpu = tunnel.resident_bytes() / 1e6, tunnel.cpu_seconds()
        status = tunnel.stop()
        report.row(f"daemon {name} in all", f"{cpu:.2f} s CPU", f"{memory:.1f} MB resident")
        assert status == 0, f"daemon {name} ended with status {status} on SIGTERM"


def run(report: Report, left: str, right: str, seconds: int) -> None:
    need("ip", "nsenter", "unshare", "wg", "ping", "iperf3")
    with TwoSites(left, right) as sites:
        report.progress("ok", "two namespaces, a veth, a daemon in each")
        if not report.step("handshake", handshake, sites):
            return
        report.step("ping", echo, sites)
        report.step("a file each way", files, sites)
        report.step("throughput", throughput, sites, seconds)
        report.step("live rekey", rekey, sites)
        report.step("roaming", roam, sites)
        report.step("daemons end", daemons, sites)


def present(name: str, report: Report, play: Callable[[], None]) -> int:
    """Plays a demo and shows its table. The exit status: 1 when a step failed, 2 when it
    could not be played, 130 and 143 when it was interrupted."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        play()
    except KeyboardInterrupt:
        print(f"{name}: interrupted; everything it made is gone", file=sys.stderr)
        return 130
    except (WgpyError, OSError, subprocess.SubprocessError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    report.table()
    if report.failed:
        print(f"{name}: failed: {', '.join(report.failed)}", file=sys.stderr)
        return 1
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="wgpy.lab.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--left", default="wgpyd", help="implementation of site a (default wgpyd)")
    parser.add_argument("--right", help="implementation of site b (default: as site a)")
    parser.add_argument("--seconds", type=int, default=3, help="length of each iperf3 run")
    parser.add_argument("--json", action="store_true", help="only the result, as JSON")
    options = parser.parse_args(argv)
    report = Report(Console(), quiet=options.json)
    return present("demo", report, lambda: run(report, options.left, options.right or options.left,
                                               options.seconds))


if __name__ == "__main__":
    sys.exit(main())
