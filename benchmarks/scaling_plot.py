"""Tables and plots of what scaling.py measured."""
from pathlib import Path

from report import canvas, finish, markdown
from report import save as save_text

LIMIT = 0.9  # of the throughput with one peer and one prefix that must remain


def _rows(result: dict, length: int, scattered: bool) -> list[dict]:
    return [r for r in result["growth"] if r["length"] == length and r["scattered"] == scattered]


def tables(result: dict) -> str:
    """Markdown: ns a packet with the throughput left of one peer's, then Gbit/s of rings."""
    m = result["machine"]
    lengths = sorted({r["length"] for r in result["growth"]})
    head = ["peers", "prefixes", *(f"{way} {n} B, {how}" for n in lengths for way in ("seal", "open")
                                   for how in ("train", "scattered")), "plane, MiB"]
    rows = []
    for i, first in enumerate(_rows(result, lengths[0], False)):
        cells = [f"{first['peers']}", f"{first['prefixes']}"]
        for n in lengths:
            for way in ("seal", "open"):
                for scattered in (False, True):
                    column = _rows(result, n, scattered)
                    cells.append(f"{column[i][way]:.0f} ({column[0][way] / column[i][way]:.0%})")
        rows.append([*cells, f"{first['memory'] / 2**20:.1f}"])
    ring_head = ["AEAD, ring to ring on one core, Gbit/s",
                 *(f"{way} {n} B" for n in lengths for way in ("seal", "open"))]
    names = list(dict.fromkeys(r["aead"] for r in result["rings"]))
    ring_rows = [[name, *(f"{r[way + '_gbps']:.2f}" for n in lengths for way in ("seal", "open")
                          for r in result["rings"] if r["aead"] == name and r["length"] == n)]
                 for name in names]
    return (f"ns a packet (throughput left), {m['date']}, {m['cpu']}, commit {m['commit'] or 'unknown'}; "
            f"others used {result['others']:.0%} of the machine\n\n"
            f"{markdown(head, rows)}\n\n{markdown(ring_head, ring_rows)}")


def _growth(axis, result: dict, length: int) -> None:
    for scattered, style in ((False, "-"), (True, ":")):
        rows = _rows(result, length, scattered)
        places = range(len(rows))
        for way, colour in (("seal", "#1b6ca8"), ("open", "#c0392b")):
            axis.plot(places, [rows[0][way] / r[way] for r in rows], style, color=colour, marker="o",
                      markersize=3, label=f"{way}, {'scattered' if scattered else 'train'}")
        axis.set_xticks(places, [f"{r['peers']}\n{r['prefixes']:,}" for r in rows], fontsize=7)
    axis.axhline(LIMIT, color="#6c757d", linewidth=1, linestyle="--")
    axis.set_ylim(0, 1.15)
    axis.set_title(f"throughput left, {length} B; below: peers, prefixes", fontsize=8)
    axis.legend(fontsize=7)


def _rings(axis, result: dict) -> None:
    rows = [r for r in result["rings"] if r["length"] == max(x["length"] for x in result["rings"])]
    names = [r["aead"] for r in rows]
    for shift, way, colour in ((-0.2, "seal", "#1b6ca8"), (0.2, "open", "#c0392b")):
        axis.barh([i + shift for i in range(len(rows))], [r[f"{way}_gbps"] for r in rows], 0.38,
                  color=colour, label=way)
    axis.set_yticks(range(len(rows)), names, fontsize=8)
    axis.axvline(0.95, color="#6c757d", linewidth=1, linestyle="--")
    axis.set_title(f"ring to ring, one core, {rows[0]['length']} B, Gbit/s; dashed: 950 Mbit/s", fontsize=8)
    axis.legend(fontsize=7)


def save(result: dict) -> list[Path]:
    """Writes results/scaling.json, .md and .png."""
    paths = save_text(result, "scaling", tables(result))
    lengths = sorted({r["length"] for r in result["growth"]})
    figure, (axes,) = canvas(1, len(lengths) + 1, (5 * (len(lengths) + 1), 3.6))
    for axis, length in zip(axes, lengths):
        _growth(axis, result, length)
    _rings(axes[-1], result)
    finish(figure, paths[-1], result["machine"], "one of them used")
    return paths
