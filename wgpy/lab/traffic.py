"""Traffic to run through a tunnel and what it measured."""

import hashlib
import http.client
import json
import math
import os
import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from statistics import median

from wgpy.lab.netns import meanwhile

_LATE = 1.0  # s


@dataclass(frozen=True)
class Ping:
    """Times in milliseconds, in order of arrival."""
    sent: int
    times: tuple[float, ...]

    @property
    def lost(self) -> int:
        return self.sent - len(self.times)

    @property
    def p50(self) -> float:
        return median(self.times) if self.times else float("nan")


def _parse_ping(text: str, count: int) -> Ping:
    """The first `count` probes."""
    replies = re.findall(r"icmp_seq=(\d+).* time[=<]([\d.]+) ms(?! \(DUP)", text)
    return Ping(count, tuple(float(time) for number, time in replies if int(number) <= count))


def ping(host, address: str, *, count: int = 3, interval: float = 0.05, size: int = 56,
         wait: float = 10) -> Ping:
    """`size` is the ICMP payload in bytes, `interval` seconds; `wait` is how long the last
    answer may take, in seconds, and costs time only where it does not come. Loss is in the
    result, not an error."""
    # with -W alone ping waits only two round trips for the last answer; with -w it goes
    # on sending until `count` answers are there, and the surplus is not counted
    deadline = math.ceil(count * interval + wait)
    done = host.run("ping", "-c", count, "-w", deadline, "-i", interval, "-s", size, address,
                    check=False, timeout=deadline + 60)
    return _parse_ping(done.stdout, count)


@contextmanager
def pinging(ns, address: str, *, interval: float = 0.05, size: int = 56):
    """Pings in the background for the length of the block; yields a list that holds the
    `Ping` afterwards. Of the probes that ping had told of at its end, those count as lost whose
    answer takes a second more."""
    result: list[Ping] = []
    with open(os.memfd_create("ping"), "w+") as said:  # a pipe that is full would hold ping up
        process = ns.popen("ping", "-O", "-i", interval, "-s", size, address, stdout=said)
        # a machine's process keeps what it said there
        so_far = getattr(process, "so_far", lambda: Path(f"/proc/self/fd/{said.fileno()}").read_text())
        try:
            yield result
        finally:
            told, deadline = _told(so_far()), time.monotonic() + _LATE
            while _parse_ping(so_far(), told).lost and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            process.communicate()
            result.append(_parse_ping(so_far(), told))


def _told(text: str) -> int:
    """The newest probe that was answered or is missed."""
    return max(map(int, re.findall(r"icmp_seq=(\d+)", text)), default=0)


@contextmanager
def one_way(source, target, address: str, *, port: int = 9, interval: float = 0.02):
    """IPv4 datagrams in the background for the length of the block, to a socket that
    never answers; yields the growing list of when they arrived, time.monotonic()."""
    arrived: list[float] = []
    ends = []
    for ns in (source, target):
        with ns.entered():
            ends.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def run(over):
        while not over.is_set():
            try:
                ends[0].sendto(b"one way", (address, port))
                ends[1].recv(64)
                arrived.append(time.monotonic())
            except OSError:
                pass  # nothing came in time, or there is no route for a moment
            over.wait(interval)

    ends[1].bind((address, port))
    ends[1].settimeout(interval)
    with ends[0], ends[1], meanwhile(run):
        yield arrived


@dataclass(frozen=True)
class Throughput:
    bits_per_second: float
    lost_percent: float
    packets: int
    seconds: float


def iperf3(server, client, address: str, *, seconds: int = 3,
           megabytes: float | None = None, udp: bool = False, bitrate: str = "0",
           length: int | None = None, streams: int = 1, reverse: bool = False,
           port: int = 5201, congestion: str | None = None, patience: float = 20) -> Throughput:
    """Received throughput from client to server, or back with `reverse`. `server` None
    means that one is running at the address already; `congestion` is TCP's algorithm, None
    the host's; `patience` seconds may pass until it is connected. RuntimeError in iperf3's words."""
    process = None
    if server is not None:
        process = server.popen("iperf3", "-s", "-1", "-p", port, "--forceflush",
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        while "listening" not in (line := process.stdout.readline()):
            if not line:
                raise RuntimeError("iperf3 server: ended before it listened")
    argv = ["iperf3", "-c", address, "-p", port, "-J", "-P", streams, "--connect-timeout", round(patience * 1e3)]
    argv += ["-n", f"{int(megabytes * 1e6)}"] if megabytes else ["-t", seconds]
    argv += ["-u"] if udp else []
    argv += ["-b", bitrate] if udp or bitrate != "0" else []
    argv += ["-l", length] if length else []
    argv += ["-C", congestion] if congestion else []
    argv += ["-R"] if reverse else []
    try:
        report = _until_accepted(client, argv, seconds + 60)
    finally:
        if process:
            process.kill()
            process.communicate()
    end = report["end"]
    total = end["sum"] if udp else end["sum_received"]
    return Throughput(total["bits_per_second"] * (1 - total.get("lost_percent", 0) / 100),
                      total.get("lost_percent", 0.0), total.get("packets", 0), total["seconds"])


def _until_accepted(client, argv: list, timeout: float) -> dict:
    """The JSON report; between two tests a permanent server refuses for a moment."""
    deadline = time.monotonic() + 20
    while True:
        done = client.run(*argv, check=False, timeout=timeout)
        try:
            report = json.loads(done.stdout)
        except ValueError:
            raise RuntimeError(f"iperf3: {(done.stdout + done.stderr).strip()}") from None
        if "error" not in report:
            return report
        if "refused" not in report["error"] or time.monotonic() > deadline:
            raise RuntimeError(f"iperf3: {report['error']}")
        time.sleep(0.05)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def file_server(ns, directory, address: str, port: int = 8080):
    """Serves a directory over HTTP from inside the namespace; yields host:port."""
    with ns.entered():
        kind = type("Server", (ThreadingHTTPServer,),
                    {"address_family": 10 if ":" in address else 2, "daemon_threads": True,
                     "server_bind": TCPServer.server_bind})  # HTTPServer's asks the DNS
        server = kind((address, port), partial(_Quiet, directory=str(directory)))
    ns.start(server.serve_forever, 0.05)
    try:
        yield f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Fetched:
    sha256: str
    size: int
    seconds: float


def fetch(ns, netloc: str, path: str, timeout: float = 60) -> Fetched:
    """Reads a file over HTTP from inside the namespace. OSError, HTTPException."""
    began, digest, size = time.monotonic(), hashlib.sha256(), 0
    with ns.entered():
        connection = http.client.HTTPConnection(netloc, timeout=timeout)
        connection.connect()
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != 200:
            raise http.client.HTTPException(f"{netloc}{path}: status {answer.status}")
        while block := answer.read(1 << 16):
            digest.update(block)
            size += len(block)
    finally:
        connection.close()
    return Fetched(digest.hexdigest(), size, time.monotonic() - began)
