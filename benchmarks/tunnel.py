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
from peers import PEERS, REFERENCE, available, joined, version
from wgpy.errors import HostError
from wgpy.lab.netns import need
from workloads import WORKLOADS, Effort

QUICK, FULL = Effort(1.0, 0.4, 5, 100), Effort(3.0, 0.8, 7, 400)


def options() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--quick", action="store_true", help="short runs: an impression, no result")
    p.add_argument("--only", metavar="W,W", help="workloads: " + ", ".join(w.name for w in WORKLOADS))
    p.add_argument("--peers", metavar="P,P", help="implementations: " + ", ".join(p.name for p in PEERS))
    p.add_argument("--rounds", type=int, help="interleaved rounds (3; quick 2)")
    p.add_argument("--seconds", type=float, help="of each TCP run (3; quick 1)")
    p.add_argument("--congestion", metavar="NAME", help="TCP's algorithm (the host's own)")
    p.add_argument("--patience", type=float, default=3.0,
                   help="seconds to wait for a quiet moment before each measurement (3)")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p.add_argument("--name", default="tunnel", help="of the files in benchmarks/results/ (tunnel)")
    p.add_argument("--readme", action="store_true", help="put the result into README.md too")
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
    wanted = args.peers.split(",") if args.peers else [p.name for p in PEERS]
    only = args.only.split(",") if args.only else [w.name for w in WORKLOADS]
    quick = QUICK if args.quick else FULL
    effort = Effort(args.seconds or quick.seconds, quick.probe, quick.steps, quick.pings, args.congestion)
    rounds = args.rounds or (2 if args.quick else 3)
    absent = {p.name: why for p in PEERS if p.name in wanted and (why := available(p))}
    peers = [p for p in PEERS if p.name in wanted and p.name not in absent]
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
    """What was written to benchmarks/results/; README.md shows it if asked to."""
    table, notes = report.table(result), report.notes(result)
    paths = report.save(result, name, f"{table}\n\n{notes}")
    report.plot(result, paths[-1])
    plots = [f"![plot](benchmarks/results/{name}.png)"]
    if result["latency"]:
        paths.append(report.RESULTS / f"{name}-latency.png")
        latency.plot(result, paths[-1])
        plots.append(f"![round trips](benchmarks/results/{name}-latency.png)")
    if readme:
        report.embed("README.md", "\n\n".join((table, *plots, notes)))
    return paths


def main() -> int:
    args = options()
    try:
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
