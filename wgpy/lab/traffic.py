"""Traffic to run through a tunnel and what it measured."""

import hashlib
import http.client
import json
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from statistics import median


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


def _parse_ping(text: str) -> Ping:
    sent = re.search(r"(\d+) packets transmitted", text)
    return Ping(int(sent[1]) if sent else 0,
                tuple(float(t) for t in re.findall(r"time[=<]([\d.]+) ms(?! \(DUP)", text)))


def _ping_argv(address: str, count: int, interval: float, size: int, wait: float) -> tuple:
    return ("ping", "-c", count, "-i", interval, "-s", size, "-W", wait, address)


def ping(host, address: str, *, count: int = 3, interval: float = 0.05, size: int = 56,
         wait: float = 1) -> Ping:
    """`size` is the ICMP payload in bytes, `interval` and `wait` seconds. Loss is in the
    result, not an error."""
    done = host.run(*_ping_argv(address, count, interval, size, wait), check=False,
                    timeout=count * (interval + wait) + 10)
    return _parse_ping(done.stdout)


@contextmanager
def pinging(ns, address: str, *, interval: float = 0.05, size: int = 56):
    """Pings in the background for the length of the block; yields a list that holds the
    `Ping` afterwards."""
    result: list[Ping] = []
    process = ns.popen(*_ping_argv(address, 1_000_000, interval, size, 1), text=True, stdout=-1)
    try:
        yield result
    finally:
        time.sleep(2 * interval)
        process.send_signal(2)
        result.append(_parse_ping(process.communicate()[0]))


@dataclass(frozen=True)
class Throughput:
    bits_per_second: float
    lost_percent: float
    packets: int
    seconds: float


def iperf3(server, client, address: str, *, seconds: float | None = None,
           megabytes: float | None = None, udp: bool = False, bitrate: str = "0",
           length: int | None = None, streams: int = 1, reverse: bool = False,
           port: int = 5201) -> Throughput:
    """Received throughput from client to server, or back with `reverse`. `server` None
    means that one is running at the address already. RuntimeError in iperf3's words."""
    process = None
    if server is not None:
        process = server.popen("iperf3", "-s", "-1", "-p", port, "--forceflush",
                               stdout=-1, stderr=-2, text=True)
        while "listening" not in (line := process.stdout.readline()):
            if not line:
                raise RuntimeError("iperf3 server: ended before it listened")
    argv = ["iperf3", "-c", address, "-p", port, "-J", "-P", streams, "--connect-timeout", 3000]
    argv += ["-n", f"{int(megabytes * 1e6)}"] if megabytes else ["-t", seconds or 3]
    argv += ["-u", "-b", bitrate] if udp else []
    argv += ["-l", length] if length else []
    argv += ["-R"] if reverse else []
    try:
        done = client.run(*argv, check=False, timeout=(seconds or 3) + 20)
    finally:
        if process:
            process.kill()
            process.communicate()
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"iperf3: {(done.stdout + done.stderr).strip()}") from None
    if "error" in report:
        raise RuntimeError(f"iperf3: {report['error']}")
    end = report["end"]
    total = end["sum"] if udp else end["sum_received"]
    return Throughput(total["bits_per_second"] * (1 - total.get("lost_percent", 0) / 100),
                      total.get("lost_percent", 0.0), total.get("packets", 0), total["seconds"])


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def file_server(ns, directory, address: str, port: int = 8080):
    """Serves a directory over HTTP from inside the namespace; yields host:port."""
    with ns.entered():
        kind = type("Server", (ThreadingHTTPServer,),
                    {"address_family": 10 if ":" in address else 2, "daemon_threads": True})
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


def fetch(ns, netloc: str, path: str, timeout: float = 20) -> Fetched:
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
