"""The distribution of idle round trips: all rounds of an implementation together."""
from pathlib import Path

from report import COLOURS, canvas, finish
from workloads import percentiles


def samples(runs: list[dict], peer: str) -> list[int]:
    """Round trips in µs, in ascending order."""
    return sorted(t for r in runs if r["peer"] == peer for t in r["samples"].get("ping_us", ()))


def summary(runs: list[dict], peers: list[str]) -> dict[str, dict]:
    """peer -> n, ping_p50, ping_p90, ping_p99 in µs, for those that answered."""
    return {peer: {"n": len(got), **percentiles(got)} for peer in peers if (got := samples(runs, peer))}


def plot(result: dict, path: Path) -> None:
    """The share of round trips that took no longer than a time, a line an implementation."""
    figure, ((axis,),) = canvas(1, 1, (8, 4))
    for peer, p in result["latency"].items():
        times = samples(result["runs"], peer)
        share = [(i + 1) / len(times) for i in range(len(times))]
        axis.step(times, share, where="post", label=f"{peer}: {p['ping_p50']:.0f}, {p['ping_p99']:.0f}",
                  color=COLOURS.get(peer), linewidth=2 if peer.startswith("wgpy") else 1)
    for level in (0.5, 0.9, 0.99):
        axis.axhline(level, color="#6c757d", linewidth=0.5, linestyle=":")
    axis.set_xscale("log")
    axis.set_yticks((0, 0.25, 0.5, 0.75, 0.9, 0.99))
    axis.set_xlabel("round trip of one ping, idle, µs", fontsize=8)
    axis.set_title("share of round trips within; p50 and p99 in µs", fontsize=8)
    axis.legend(fontsize=8, loc="lower right", frameon=False)
    finish(figure, path, result["machine"])
