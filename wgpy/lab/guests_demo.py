"""`python -I -m wgpy.lab.guests_demo`: an encryptor whose rooms are three virtual machines against one
whose rooms are three processes, LAN hosts behind them, an Internet between them, guests killed under
traffic, and a capture of black's wires.

Exit status as of wgpy.lab.encryptor_demo. Leaves nothing behind in any case.
"""

import argparse
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from wgpy.lab import encryptor_demo as demo
from wgpy.lab.demo import Report, present
from wgpy.lab.encryptors import ROOMS, Node, Pair
from wgpy.lab.guests import BOOT_SECONDS, GuestNode
from wgpy.lab.netns import meanwhile, need

# Where QEMU translates, a guest boots for up to a minute and a packet takes ten milliseconds.
TRANSLATED = demo.Pace(blocks=8_000, patience=30, back_within=BOOT_SECONDS, interval=0.02, bitrate=20)
ACCELERATED = demo.Pace(patience=30, back_within=60, bitrate=300)
_LOOK = 0.2  # s


@contextmanager
def telling(report: Report, node: GuestNode):
    """Tells what each guest does while the block waits."""
    def tell(over: threading.Event) -> None:
        seen: dict[str, str] = {}
        while not over.wait(_LOOK):
            for room in ROOMS:
                state = node.guest(room).get("state", "")
                if state and state != seen.get(room):
                    seen[room] = state
                    report.progress("..", f"{room} of {node.name}: {state}, {time.monotonic() - began:.0f} s")

    began = time.monotonic()
    with meanwhile(tell):
        yield


def booted(report: Report, pair: Pair) -> None:
    """Rows of what each guest took and has."""
    facts = pair.a.status()
    for room in ROOMS:
        guest = facts["guests"][room]
        shared = ", ".join(f"{size >> 20} MiB with {neighbour}" for neighbour, size in guest["regions"].items())
        report.row(f"guest {room} ready", f"{guest['boot_seconds']:.1f} s", f"{guest['memory_mib']} MiB, shares {shared}")


def run(report: Report, mode: str, seconds: int, images: Path | None) -> None:
    """All of it. HostError, OSError when it cannot be played."""
    need("ip", "nsenter", "unshare", "ping", "nft", "iperf3", "qemu-system-x86_64")
    with tempfile.TemporaryDirectory(prefix="wgpy-demo-") as name:
        directory = Path(name)
        pair = Pair(directory, mode, routers=mode == "large", kinds=(GuestNode, Node))
        pair.a.images = images
        pair.b.write_site([pair.a], dhcp=True)
        served = directory / "served"
        served.mkdir()
        with telling(report, pair.a):
            pair.__enter__()
        try:
            _steps(report, pair, served, seconds)
        finally:
            pair.close()


def _steps(report: Report, pair: Pair, served: Path, seconds: int) -> None:
    kind = pair.a.status()["accelerator"]
    pace = ACCELERATED if kind == "kvm" else TRANSLATED
    report.progress("ok", f"an encryptor of three guests ({kind.upper()}) and one of three processes in {pair.a.mode} mode")
    booted(report, pair)
    if not report.step("host to host", demo.transparent, pair, pace):
        return
    report.step("through the tunnel, with black's wires captured", demo.through, pair, served, pace)
    report.step("beside the tunnel", demo.beside, pair, served)
    report.step("each guest killed under traffic", demo.faults, pair, pace)
    report.step("the other encryptor roams", demo.roam, pair, pair.b)
    report.step("throughput" + (", which says nothing where QEMU translates" if kind != "kvm" else ""),
                demo.throughput, pair, seconds, pace)
    report.step("encryptors end", demo.taken_down, pair)


def main(argv: list[str] | None = None) -> int:
    """The exit status, see present()."""
    parser = argparse.ArgumentParser(prog="wgpy.lab.guests_demo", description=__doc__.split("\n\n")[0])
    parser.add_argument("--mode", choices=("small", "large"), default="small")
    parser.add_argument("--seconds", type=int, default=3, help="length of each iperf3 run")
    parser.add_argument("--images", type=Path, help="where `make guests` left them")
    parser.add_argument("--json", action="store_true", help="only the result, as JSON")
    options = parser.parse_args(argv)
    report = Report(Console(), quiet=options.json)
    return present("guests_demo", report, lambda: run(report, options.mode, options.seconds, options.images))


if __name__ == "__main__":
    sys.exit(main())
