"""Tables and plots of what tunnel.py measured, and what all plots and tables share."""
import json
import os
import re
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from peers import BARE, ENCRYPTOR, REFERENCE

from wgpy.errors import HostError

RESULTS = Path(__file__).with_name("results")
README, PERFORMANCE = (RESULTS.parent.parent / name for name in ("README.md", "docs/performance.md"))
COLOURS = {"wgpy": "#1b6ca8", ENCRYPTOR: "#c0392b", "wgpy with OpenSSL": "#6fa8d0", REFERENCE: "#6c757d",
           "boringtun": "#8e6bb0", "wireguard-go Debian": "#b0a36b", BARE: "#c4cad0"}


@dataclass(frozen=True)
class Figure:
    key: str
    label: str
    unit: str
    digits: int
    goals: tuple[float, float] | None = None  # P1: of the ratio, alone and as an encryptor
    less_is_better: bool = False

    def goal(self, peer: str) -> float | None:
        return dict(zip(("wgpy", ENCRYPTOR), self.goals or ())).get(peer)


FIGURES = [
    Figure("tcp1", "TCP, one stream", "Gbit/s", 2, (3, 2)),
    Figure("tcp4", "TCP, four streams", "Gbit/s", 2, (3.5, 2.5)),
    Figure("both", "TCP both ways, sum", "Gbit/s", 2, (3, 2)),
    Figure("jumbo", "TCP, one stream, MTU 8920", "Gbit/s", 2, (2, 1.5)),
    Figure("udp64", "UDP 64 B, < 1 % loss", "kpps", 0, (5, 4)),
    Figure("udp1392", "UDP 1392 B, < 1 % loss", "kpps", 0, (3.5, 3.5)),
    Figure("ping_p50", "ping p50, idle", "µs", 0, (0.8, 1.3), True),
    Figure("ping_p99", "ping p99, idle", "µs", 0, None, True),
    Figure("tcp1_cpu_per_gb", "daemon CPU per GB", "s", 2, (0.4, 0.6), True),
    Figure("line_core", "one end at 950 Mbit/s (goal 15)", "% of a core", 0, None, True),
]


PLOTTED = tuple(f.key for f in FIGURES if f.key != "ping_p99")  # has a plot of its own
SHORT = ("tcp1", "jumbo", "udp64", "ping_p50", "tcp1_cpu_per_gb")  # where we win, draw and lose
PICTURE = ("tcp1", "udp64", "ping_p50")
SHORT_PEERS = ("wgpy", ENCRYPTOR, REFERENCE)


def values(runs: list[dict], peer: str, key: str) -> dict[int, float]:
    """Round -> figure."""
    return {r["round"]: r["figures"][key] for r in runs
            if r["peer"] == peer and key in r["figures"]}


def summary(runs: list[dict], peers: list[str]) -> dict:
    """figure -> peer -> median, min, max, and the median over rounds of the ratio to the
    reference measured in the same round."""
    out: dict = {}
    for figure in FIGURES:
        reference = values(runs, REFERENCE, figure.key)
        for peer in peers:
            got = values(runs, peer, figure.key)
            if not got:
                continue
            ratios = [v / reference[r] for r, v in got.items() if reference.get(r)]
            out.setdefault(figure.key, {})[peer] = {
                "median": statistics.median(got.values()),
                "min": min(got.values()), "max": max(got.values()),
                "ratio": statistics.median(ratios) if ratios else None,
            }
    return out


def _cell(entry: dict | None, figure: Figure, peer: str, whole: bool = True) -> str:
    """Median and ratio; with `whole` the extremes and the goal as well."""
    if entry is None:
        return "–"
    number = f"{entry['median']:.{figure.digits}f}"
    spread = f" ({entry['min']:.{figure.digits}f}–{entry['max']:.{figure.digits}f})" if whole else ""
    ratio = "" if peer == REFERENCE or entry["ratio"] is None else f" **×{entry['ratio']:.2f}**"
    if ratio and whole and figure.goal(peer):
        ratio += f" / {figure.goal(peer):g}"
    return f"{number}{spread}{ratio}"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table whose source can be read, too."""
    width = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, width)) + " |" for row in [head, *rows]]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in width) + "|")
    return "\n".join(lines)


def table(result: dict) -> str:
    """Markdown: a row a figure, a column an implementation."""
    peers, data = result["peers"], result["summary"]
    return markdown([f"median (min–max), **ratio to {REFERENCE}** / goal", *peers],
                    [[f"{f.label}, {f.unit}", *(_cell(data[f.key].get(p), f, p) for p in peers)]
                     for f in FIGURES if f.key in data])


def short_table(result: dict) -> str:
    """Markdown for whoever has a minute: some figures of ours and of the reference."""
    data, peers = result["summary"], [p for p in SHORT_PEERS if p in result["peers"]]
    return markdown(["median" + f", **ratio to {REFERENCE}**" * (REFERENCE in peers), *peers],
                    [[f"{f.label}, {f.unit}{', less is better' if f.less_is_better else ''}",
                      *(_cell(data[f.key].get(p), f, p, whole=False) for p in peers)]
                     for f in FIGURES if f.key in SHORT and f.key in data])


def short_notes(result: dict) -> str:
    """One line: on what, and what of."""
    m = result["machine"]
    return (f"{m['date'].split()[0]}, both ends on {m['cores']} cores of {m['cpu']}, Linux {m['kernel']}, "
            f"commit {m['commit'] or 'unknown'}; medians of {result['rounds']} interleaved rounds, ratios "
            "within a round.")


def _failures(runs: list[dict]) -> list[str]:
    """A sentence for each implementation and workload that gave no figure, all rounds in it."""
    why: dict[tuple[str, str], list[str]] = {}
    for r in runs:
        if "error" in r:
            why.setdefault((r["peer"], r["workload"]), []).append(f"{r['error']} in round {r['round']}")
    return [f"No figure: {peer}, workload `{workload}`: {', '.join(errors)}."
            for (peer, workload), errors in why.items()]


def notes(result: dict) -> str:
    m, others = result["machine"], result["others"]
    lines = [f"{m['date']}, {m['cores']} cores of {m['cpu']}, Linux {m['kernel']}, TCP {m['tcp']}, "
             f"commit {m['commit'] or 'unknown'}; {result['rounds']} interleaved rounds of "
             f"{result['seconds']:g} s.",
             "Versions: " + ", ".join(f"{k} {v}" for k, v in result["versions"].items() if v) + "."]
    if others["worst"] > others["limit"]:
        lines.append(f"The machine was not quiet: before a measurement others used "
                     f"{others['median']:.0%} of it (median), {others['worst']:.0%} at worst.")
    lines += [f"{k}: not measured, {v}." for k, v in result["absent"].items()]
    return "\n".join([*lines, *_failures(result["runs"])])


def _bars(axis, f: Figure, data: dict, peers: list[str]) -> None:
    peers = [p for p in peers if p in data and p != BARE]
    middle = [data[p]["median"] for p in peers]
    spread = [[data[p]["median"] - data[p]["min"] for p in peers],
              [data[p]["max"] - data[p]["median"] for p in peers]]
    axis.barh(peers, middle, xerr=spread, color=[COLOURS.get(p, "#8e6c9e") for p in peers],
              error_kw={"elinewidth": 1, "capsize": 2})
    axis.invert_yaxis()
    bare = f", without a tunnel {data[BARE]['median']:.{f.digits}f}" if BARE in data else ""
    axis.set_title(f"{f.label}: {f.unit}{', less is better' if f.less_is_better else ''}{bare}",
                   fontsize=8)
    if f.unit == "Gbit/s":
        axis.axvline(0.95, color="#c0392b", linewidth=1, linestyle="--")


def canvas(rows: int, columns: int, size: tuple[float, float]):
    """A figure of `size` inches and its axes, a list of lists."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(rows, columns, figsize=size, squeeze=False)


def finish(figure, path: Path, m: dict, note: str = "both ends on one machine") -> None:
    """Writes the figure with the machine above it."""
    from matplotlib import pyplot

    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    figure.suptitle(f"{m['date']}, {m['cores']} cores of {m['cpu']}, {note}", fontsize=9)
    figure.tight_layout()
    with pyplot.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.stem}):
        figure.savefig(path, dpi=110, bbox_inches="tight",
                       metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def plot(result: dict, path: Path, keys: tuple[str, ...] = PLOTTED) -> bool:
    """Bars of the figures `keys` that were measured; no file and False if none was."""
    data = result["summary"]
    figures = [f for f in FIGURES if f.key in data and f.key in keys]
    if not figures:
        return False
    columns = min(3, len(figures))
    rows = -(-len(figures) // columns)
    figure, axes = canvas(rows, columns, (4.4 * columns, 2.5 * rows))
    for axis in axes.flat[len(figures):]:
        axis.set_visible(False)
    for axis, f in zip(axes.flat, figures):
        _bars(axis, f, data[f.key], result["peers"])
    finish(figure, path, result["machine"], "both ends on one machine; dashed: 950 Mbit/s")
    return True


def save(result: dict, name: str, text: str) -> list[Path]:
    """Writes results/NAME.json and .md; the places of these and of a .png to come. Lists
    of numbers take one line each."""
    RESULTS.mkdir(exist_ok=True)
    paths = [RESULTS / f"{name}.{ext}" for ext in ("json", "md", "png")]
    shown = json.dumps(result, indent=1, ensure_ascii=False)
    shown = re.sub(r"\[[\d\s.,-]+\]", lambda m: re.sub(r"\s+", " ", m[0]), shown)
    paths[0].write_text(shown + "\n")
    paths[1].write_text(text + "\n")
    return paths


def saved(name: str) -> dict:
    """What `save` was given as NAME. HostError if there is no such file."""
    try:
        return json.loads((RESULTS / f"{name}.json").read_text())
    except OSError as error:
        raise HostError(f"{error.filename}: {error.strerror}") from None


def tell(result: dict, text: str, paths: list[Path], as_json: bool) -> None:
    """The end of a program: the result, and on stderr what was written."""
    print(json.dumps(result, ensure_ascii=False) if as_json else text)
    print("\nwrote", *(os.path.relpath(path) for path in paths), file=sys.stderr)


def embed(document: Path, mark: str, text: str) -> None:
    """Puts the text between `<!-- MARK -->` and the `<!-- end -->` that follows it. ValueError
    if the document has not both of them, each a line of its own."""
    before, begin, rest = document.read_text().partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition("<!-- end -->\n")
    if not begin or not end:
        raise ValueError(f"{document} has no place marked {mark!r}")
    document.write_text(f"{before}{begin}{text}\n{end}{after}")
