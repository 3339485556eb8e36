"""The pages that tell how fast it is tell what benchmarks/results has, each in its place."""
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import breakdown_report  # noqa: E402
import report  # noqa: E402
import tunnel  # noqa: E402


def between(document: Path, mark: str) -> str:
    return document.read_text().split(f"<!-- {mark} -->\n")[1].split("<!-- end -->\n")[0]


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")]
            for line in table.splitlines() if line.startswith("|")]


def test_the_readme_has_five_rows_four_columns_and_one_picture():
    shown, result = between(report.README, "comparison"), report.saved("tunnel")
    head, _, *rows = cells(shown)
    assert head[1:] == ["wgpy", "wgpy encryptor", "wireguard-go HEAD"]
    assert len(rows) == 5 and {len(row) for row in rows} == {4}
    assert shown.count("![") == 1 and report.README.read_text().count("![") == 1
    assert report.short_table(result) in shown and report.short_notes(result) in shown


def test_the_whole_comparison_stands_in_performance_with_every_failure_once():
    shown, result = between(report.PERFORMANCE, "comparison"), report.saved("tunnel")
    assert report.table(result) in shown and report.notes(result) in shown
    failed = {(r["peer"], r["workload"]) for r in result["runs"] if "error" in r}
    assert failed and shown.count("No figure: ") == len(failed)
    assert all(shown.count(r["error"]) == 1 for r in result["runs"] if "error" in r)


def test_the_profile_is_the_saved_one():
    assert breakdown_report.text(report.saved("breakdown")) in between(report.PERFORMANCE, "profile")


@pytest.mark.parametrize("document", (report.README, report.PERFORMANCE), ids=lambda p: p.stem)
def test_what_a_page_shows_is_there(document):
    for picture in document.read_text().split("](")[1:]:
        target = picture.split(")")[0].split("#")[0]
        assert not target or target.startswith("https:") or (document.parent / target).exists(), target


def test_readme_writes_both_pages_and_nothing_beside_the_places(tmp_path, monkeypatch):
    result = report.saved("tunnel")
    pages = [tmp_path / "README.md", tmp_path / "performance.md"]
    for page in pages:
        page.write_text("before\n<!-- profile -->\nkept\n<!-- end -->\n<!-- comparison -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(report, "README", pages[0])
    monkeypatch.setattr(report, "PERFORMANCE", pages[1])
    monkeypatch.setattr(report, "plot", lambda result, path, keys: bool(path.write_text("drawn")))
    monkeypatch.setattr(tunnel.latency, "plot", lambda result, path: path.write_text("drawn"))
    written = tunnel.save(result, "tunnel", readme=True)
    assert set(written) == {*pages, *(tmp_path / "results").iterdir()}
    short, whole = (page.read_text() for page in pages)
    for text in (short, whole):
        assert text.startswith("before\n<!-- profile -->\nkept\n<!-- end -->\n<!-- comparison -->\n")
        assert text.endswith("\n<!-- end -->\nafter\n") and "old" not in text
    assert report.short_table(result) in short and report.table(result) not in short
    assert report.table(result) in whole


def test_what_was_not_drawn_is_neither_shown_nor_told(tmp_path, monkeypatch):
    """A run of one workload has figures for some pictures only."""
    result = report.saved("tunnel") | {"summary": {}, "latency": {}, "runs": []}
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    assert [path.name for path in tunnel.save(result, "tunnel", readme=False)] == ["tunnel.json", "tunnel.md"]


def test_a_page_without_the_place_is_an_error_and_stays(tmp_path):
    page = tmp_path / "page.md"
    for text in ("nothing\n", "<!-- comparison -->\nno end\n"):
        page.write_text(text)
        with pytest.raises(ValueError, match="comparison"):
            report.embed(page, "comparison", "new")
        assert page.read_text() == text
