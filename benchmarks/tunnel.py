"""Compares tunnels: this project, its peers and a bare veth, interleaved.

Two network namespaces, a veth, a daemon in each. In every round each workload runs on
each implementation in turn, so that drift of the machine meets all alike; ratios are
taken within a round. Needs root. Results go to benchmarks/results/.
"""
import argparse
import json
import os
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

import latency
import machine
import report
import workloads
from peers import PEERS, REFERENCE, available, joined, version, with_suite
from workloads import WORKLOADS, Effort

from wgpy.errors import HostError
from wgpy.lab.netns import need

QUICK, FULL = Effort(1.0, 0.4, 5, 100), Effort(3.0, 0.8, 7, 400)


def options() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--quick", action="store_true", help="short runs: an impression, no result")
    p.add_argument("--only", metavar="W,W", help="workloads: " + ", ".join(w.name for w in WORKLOADS))
    p.add_argument("--peers", metavar="P,P", help="implementations: " + ", ".join(p.name for p in PEERS))
    p.add_argument("--suite", action="append", default=[], metavar="LIBRARY", help="the encryptor with this suite, too; may be repeated")
    p.add_argument("--rounds", type=int, help="interleaved rounds (3; quick 2)")
    p.add_argument("--seconds", type=float, help="of each TCP run (3; quick 1)")
    p.add_argument("--congestion", metavar="NAME", help="TCP's algorithm (the host's own)")
    p.add_argument("--patience", type=float, default=3.0,
                   help="seconds to wait for a quiet moment before each measurement (3)")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p.add_argument("--name", default="tunnel", help="of the files in benchmarks/results/ (tunnel)")
    p.add_argument("--readme", action="store_true", help="put the result into docs/performance.md, a part of it into README.md")
    p.add_argument("--again", action="store_true",
                   help="measure nothing: write and show anew what results/NAME.json has")
    args = p.parse_args()
    for given, known, what in ((args.only, [w.name for w in WORKLOADS], "workload"),
                               (args.peers, [q.name for q in PEERS], "implementation")):
        for name in (given or "").split(","):
            if name and name not in known:
                p.error(f"unknown {what} {name!r}; known: {', '.join(known)}")
    return args


def measure(tunnels: dict, todo: list, rounds: int, effort: Effort, patience: float,
            others: list[float]) -> list[dict]:
    runs = []
    for number in range(1, rounds + 1):
        for workload in todo:
            for name, tunnel in tunnels.items():
                others.append(machine.settle(patience))
                run = {"round": number, "workload": workload.name, "peer": name,
                       "others": round(others[-1], 3), "figures": {}, "samples": {}}
                try:
                    for key, value in workload.run(tunnel, effort).items():
                        run["samples" if isinstance(value, list) else "figures"][key] = value
                except (RuntimeError, HostError, TimeoutError) as error:
                    run["error"] = str(error)
                runs.append(run)
                shown = "  ".join(f"{k} {v:.4g}" for k, v in run["figures"].items())
                print(f"round {number}  {name:<20} {shown or run.get('error', 'nothing to measure')}",
                      file=sys.stderr, flush=True)
    return runs


def compare(args: argparse.Namespace) -> dict:
    known = [*PEERS, *map(with_suite, args.suite)]
    wanted = [*(args.peers.split(",") if args.peers else [p.name for p in PEERS]), *(p.name for p in known[len(PEERS):])]
    only = args.only.split(",") if args.only else [w.name for w in WORKLOADS]
    quick = QUICK if args.quick else FULL
    effort = Effort(args.seconds or quick.seconds, quick.probe, quick.steps, quick.pings, args.congestion)
    rounds = args.rounds or (2 if args.quick else 3)
    absent = {p.name: why for p in known if p.name in wanted and (why := available(p))}
    peers = [p for p in known if p.name in wanted and p.name not in absent]
    runs: list[dict] = []
    others: list[float] = []
    for jumbo in (False, True):
        todo = [w for w in WORKLOADS if w.name in only and w.jumbo == jumbo]
        if not todo:
            continue
        with ExitStack() as stack:
            tunnels = {}
            for peer in peers:
                try:
                    tunnels[peer.name] = stack.enter_context(joined(peer, jumbo))
                except (TimeoutError, HostError) as error:
                    absent[f"{peer.name}{' at MTU 8920' if jumbo else ''}"] = str(error)
            runs += measure(tunnels, todo, rounds, effort, args.patience, others)
    names = [p.name for p in peers]
    return {
        "machine": machine.describe(args.congestion), "peers": names, "reference": REFERENCE,
        "versions": {p.name: version(p) for p in peers}, "absent": absent,
        "rounds": rounds, "seconds": effort.seconds,
        "others": {"median": statistics.median(others), "worst": max(others), "limit": machine.QUIET},
        "summary": report.summary(runs, names), "latency": latency.summary(runs, names), "runs": runs,
    }


def save(result: dict, name: str, readme: bool) -> list[Path]:
    """What was written. If asked to, docs/performance.md shows all of it and README.md the
    part for whoever has a minute."""
    table, notes = report.table(result), report.notes(result)
    *written, whole = report.save(result, name, f"{table}\n\n{notes}")
    picture, round_trips = (report.RESULTS / f"{name}{end}" for end in (".svg", "-latency.png"))
    plots = [path for path in (whole, picture) if report.plot(
        result, path, report.PICTURE if path == picture else report.PLOTTED)]
    if result["latency"]:
        latency.plot(result, round_trips)
        plots.append(round_trips)
    written += plots
    if readme:
        shown = [f"![{path.stem}](../benchmarks/results/{path.name})" for path in plots if path != picture]
        report.embed(report.PERFORMANCE, "comparison", "\n\n".join((table, *shown, notes)))
        shown = [f"![TCP, small packets and round trips](benchmarks/results/{picture.name})"] * (picture in plots)
        report.embed(report.README, "comparison", "\n\n".join(
            (*shown, report.short_table(result), report.short_notes(result))))
        written += [report.PERFORMANCE, report.README]
    return written


def main() -> int:
    args = options()
    try:
        if args.again:
            result = report.saved(args.name)
        else:
            need("ip", "nsenter", "unshare", "wg", "iperf3", "ping", "cc")
            workloads.build()
            with machine.weight(-10):
                result = compare(args)
    except HostError as error:
        print(f"tunnel.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    paths = save(result, args.name, args.readme)
    if args.json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        print(report.table(result), report.notes(result), sep="\n\n")
        print("\nwrote", *(os.path.relpath(p) for p in paths))
    return 0


if __name__ == "__main__":
    sys.exit(main())
