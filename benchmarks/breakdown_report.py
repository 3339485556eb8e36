"""Tables and plot of what breakdown.py measured."""
from pathlib import Path

import report
from kinds import AEAD, COLOURS, IDLE, OTHERS


def total(run: dict, kind: str) -> float:
    return sum(shares.get(kind, 0) for shares in run["shares"].values())


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if share >= 0.0005 else ""


def shares(run: dict) -> str:
    """Markdown: a row an owner, a column a kind of work, percent of all CPU time."""
    kinds = [k for k in COLOURS if total(run, k) >= 0.0005]
    rows = [(owner, sum(s.values()), [s.get(k, 0) for k in kinds]) for owner, s in run["shares"].items() if s]
    rows.append(("**all**", sum(r[1] for r in rows), [total(run, k) for k in kinds]))
    return report.markdown(["% of all CPU time", *kinds, "all"],
                           [[owner, *map(_percent, cells), _percent(all_)] for owner, all_, cells in rows])


def ceilings(result: dict) -> str:
    """Markdown: a row a kind of work, Gbit/s and factor if it cost nothing."""
    runs = result["runs"]
    kinds = [k for k in COLOURS if any(k in r["ceilings"] for r in runs.values())]
    head = ["one TCP stream, Gbit/s", *runs]
    rows = [["measured, under perf", *(f"{r['gbps']:.2f}" for r in runs.values())]]
    for k in kinds:
        label = "if no core were ever idle" if k == IDLE else f"if {k} cost nothing"
        rows.append([label, *(f"{c:.2f} (×{c / r['gbps']:.2f})" if (c := r["ceilings"].get(k)) else "–"
                              for r in runs.values())])
    return report.markdown(head, rows)


def verdict(name: str, run: dict) -> str:
    """What bounds the stream, in a sentence."""
    cores, busy = run["busiest_thread"], 1 - total(run, IDLE) - total(run, OTHERS)
    kinds = sorted((k for k in COLOURS if k not in (IDLE, OTHERS)), key=lambda k: -total(run, k))[:3]
    most = ", ".join(f"{k} {total(run, k) / busy:.0%}" for k in kinds)
    text = (f"**{name}** carried {run['gbps']:.2f} Gbit/s; cores were idle for {total(run, IDLE):.0%} of the time. "
            f"Of the time in use most is {most}. The busiest thread, of {cores['owner']}, had {cores['of_a_core']:.0%} "
            f"of a core. Without the cost of encryption the same work would reach {run['ceilings'].get(AEAD, 0):.2f} Gbit/s.")
    if total(run, OTHERS) > 0.05:
        text += f" The machine was not quiet: other processes used {total(run, OTHERS):.0%} of it."
    return text


def text(result: dict) -> str:
    m = result["machine"]
    parts = [f"{m['date']}, {m['cores']} cores of {m['cpu']}, Linux {m['kernel']}, TCP {m['tcp']}, commit {m['commit'] or 'unknown'}"]
    for name, run in result["runs"].items():
        parts += [verdict(name, run), shares(run)]
    return "\n\n".join([*parts, ceilings(result)])


def plot(result: dict, path: Path) -> None:
    """A bar an owner, stacked by kind of work; all bars of a profile make 100 %."""
    figure, (axes,) = report.canvas(1, len(result["runs"]), (6.4 * len(result["runs"]), 3.8))
    longest = max(sum(s.values()) for r in result["runs"].values() for s in r["shares"].values())
    for axis, (name, run) in zip(axes, result["runs"].items()):
        owners = list(run["shares"])
        left = [0.0] * len(owners)
        for kind, colour in COLOURS.items():
            width = [100 * run["shares"][o].get(kind, 0) for o in owners]
            axis.barh(owners, width, left=left, color=colour, label=kind)
            left = [a + b for a, b in zip(left, width)]
        axis.invert_yaxis()
        axis.set_xlim(0, 105 * longest)
        axis.set_title(f"{name}, one TCP stream at {run['gbps']:.2f} Gbit/s: % of all CPU time", fontsize=8)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, frameon=False, ncol=6, loc="upper center",
                  bbox_to_anchor=(0.5, 0))
    report.finish(figure, path, result["machine"], "both ends on one machine; a sends, b receives")


def save(result: dict, readme: bool) -> list[Path]:
    """Writes results/breakdown.json, .md and .png, and docs/performance.md if asked to."""
    shown = text(result)
    paths = report.save(result, "breakdown", shown)
    plot(result, paths[-1])
    if readme:
        report.embed(report.PERFORMANCE, "profile", f"{shown}\n\n![profile](../benchmarks/results/breakdown.png)")
    return paths
