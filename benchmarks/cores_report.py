"""Table and plot of what cores.py measured and what its model says."""
from pathlib import Path

import report

BEYOND = 16
STYLES = {"one plane": ("#1b6ca8", "o"), "a plane each": ("#6c757d", "s"),
          "one queue, seal and open apart": ("#c0392b", "^")}
CAUTION = ("Dashed is a model, not a measurement: the Universal Scalability Law through the measured points. "
           "Points on one and two cores fix one parameter and cannot validate it, so its two extremes are drawn; "
           "neither knows of memory bandwidth, NUMA or the queues of a network card.")


def scaled(model: dict, n: int) -> float:
    return n / (1 + model["a"] * (n - 1) + model["b"] * n * (n - 1))


def _one(result: dict, length: int) -> float:
    return next(r["gbps"] for r in result["measured"]
                if (r["length"], r["arrangement"], r["cores"]) == (length, "one plane", 1))


def text(result: dict) -> str:
    """Markdown: what was measured, then what the models say of more cores."""
    m = result["machine"]
    rows = [[f"{r['length']} B", r["arrangement"], f"{r['cores']}",
             f"{r['gbps']:.2f} ({r['least']:.2f}–{r['most']:.2f})", f"×{r['speedup']:.2f}"] for r in result["measured"]]
    beyond = [n for n in (4, 8, BEYOND) if n > max(r["cores"] for r in result["measured"])]
    modelled = [[f"{length} B", f"{x['name']}, a = {x['a']:.3f}, b = {x['b']:.3f}",
                 *(f"{_one(result, length) * scaled(x, n):.0f} (×{scaled(x, n):.1f})" for n in beyond)]
                for length, found in result["models"].items() for x in found]
    return "\n\n".join((
        f"{m['date']}, {m['cores']} cores of {m['cpu']}, commit {m['commit'] or 'unknown'}",
        report.markdown(["packets", "sealed, through a ring, opened, unless said", "cores", "Gbit/s, median (min–max)", "speed-up"], rows),
        report.markdown(["packets", "model", *(f"Gbit/s on {n} cores" for n in beyond)], modelled), CAUTION))


def _draw(axis, result: dict, length: int) -> None:
    for name, (colour, mark) in STYLES.items():
        rows = [r for r in result["measured"] if (r["length"], r["arrangement"]) == (length, name)]
        axis.errorbar([r["cores"] for r in rows], [r["gbps"] for r in rows], fmt=mark, color=colour, capsize=2,
                      yerr=[[r["gbps"] - r["least"] for r in rows], [r["most"] - r["gbps"] for r in rows]],
                      label=f"measured, {name}", markersize=5)
    places = range(1, BEYOND + 1)
    curves = [[_one(result, length) * scaled(x, n) for n in places] for x in result["models"][length]]
    for x, curve, style in zip(result["models"][length], curves, ("--", (0, (2, 2)))):
        axis.plot(places, curve, linestyle=style, color="#1b6ca8", linewidth=1, label=f"model: {x['name']}")
    if len(curves) == 2:
        axis.fill_between(places, *curves, color="#1b6ca8", alpha=0.08)
    axis.set_xticks([1, 2, 4, 8, BEYOND])
    axis.set_ylim(0)
    axis.set_xlabel("cores", fontsize=8)
    axis.set_title(f"ring to ring, sealed and opened, {length} B, Gbit/s", fontsize=8)
    axis.legend(fontsize=7, frameon=False, loc="upper left")


def save(result: dict) -> list[Path]:
    """Writes results/cores.json, .md and .png."""
    paths = report.save(result, "cores", text(result))
    lengths = list(result["models"])
    figure, (axes,) = report.canvas(1, len(lengths), (5.5 * len(lengths), 3.8))
    for axis, length in zip(axes, lengths):
        _draw(axis, result, length)
    figure.text(0.5, 0, CAUTION, ha="center", va="top", fontsize=7, wrap=True)
    report.finish(figure, paths[-1], result["machine"], "threads pinned; dashed beyond the measured points: model")
    return paths
