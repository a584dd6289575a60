"""The sweep page: every run, sorted by validation, independent of the test metrics."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from conspecific.metrics import metric_names
from conspecific.reporting.page.wording import DASH
from conspecific.reporting.sweep.drawings import BOTTOM, TOP, Scale, curves, drawings
from conspecific.reporting.sweep.page import headline, sweep_rows, write_sweep
from conspecific.runs.sweeps import Sweep, SweptRun

from .comparisons import Page

FACTS = {"queries": 80, "gallery": 80, "species": 4, "protocol": "seen"}


def swept(
    name: str, curve: Sequence[float], given: dict[str, str | None], planned: int = 3, test: float = 0.5
) -> SweptRun:
    best = max(curve, default=0.2)
    chosen = list(curve).index(best) + 1 if curve else None
    scores = dict.fromkeys(metric_names(), best)
    return SweptRun(
        Path("runs/sweep") / name, given, scores, dict.fromkeys(metric_names(), test), chosen, curve, planned
    )


def sweep_of(*runs: SweptRun, unfinished: Sequence[Path] = ()) -> Sweep:
    ordered = sorted(runs, key=lambda run: -run.validation["map@r"])
    return Sweep("map@r", list(runs[0].given), ordered, unfinished, FACTS)


@pytest.fixture
def sweep() -> Sweep:
    rates = [1e-5, 1e-4, 3.4567891e-4, 1e-3, 2e-3]
    losses = ["arcface", "triplet", "arcface", None, "<b>x</b>"]
    scores = [0.55, 0.9, 0.62, 0.6, 0.01]  # the second stops after one epoch with half of its score
    runs = [
        swept(
            str(place), [score / 2, score][: 1 if place == 1 else 2], {"lr": repr(rate), "loss": loss}, 2, 0.9 - score
        )
        for place, (rate, loss, score) in enumerate(zip(rates, losses, scores, strict=True))
    ]
    return sweep_of(*runs, unfinished=[Path("runs/sweep/9")])


def page_of(sweep: Sweep, folder: Path) -> Page:
    return Page(write_sweep(folder / "comparison.html", sweep).read_text(encoding="utf-8"))


def test_the_table_has_every_run_sorted_by_validation(sweep: Sweep, tmp_path: Path) -> None:
    text = page_of(sweep, tmp_path).text
    assert headline(sweep) == "Run 2 is the best of 5 on validation: map@r 0.620."
    assert headline(sweep) in text
    assert "run 3 is second, 0.020 lower" in text
    columns, rows = sweep_rows(sweep)
    assert columns == ["lr", "loss"]
    assert [row.name for row in rows] == ["2", "3", "0", "1", "4"]
    for row in rows:
        assert f"{row.place} {row.name} {row.validation} {' '.join(row.values)} {row.epoch} of {row.trained}" in text
    assert rows[0].values == ("0.000346", "arcface")
    assert "Test (not used for sorting)" in text
    assert "1 run stopped before the last epoch." in text
    assert "1 run has no result and is not listed." in text


def test_a_sweep_without_stopped_runs_does_not_mention_stopping(tmp_path: Path) -> None:
    runs = [swept(str(seed), [0.1, 0.2], {"seed": str(seed)}, planned=2) for seed in range(2)]
    text = page_of(sweep_of(*runs), tmp_path).text
    assert "stopped" not in text.lower()
    assert "no result" not in text


def test_numbers_are_plotted_on_an_axis_and_names_in_rows(sweep: Sweep) -> None:
    rate, loss = drawings(sweep)
    assert (rate.is_numbers, loss.is_numbers) == (True, False)
    assert [text for _, text in loss.levels] == ["arcface", DASH, "triplet", "<b>x</b>"]
    by_title = {dot.title.partition(":")[0]: dot for dot in rate.dots}
    assert [by_title[name].role for name in "213"] == ["best", "stopped", "whole"]
    across = [by_title[name].x for name in "01234"]
    assert across == sorted(across)
    assert across[1] - across[0] == pytest.approx(across[3] - across[1], abs=0.2), "a decade has one length"
    heights = [by_title[name].y for name in "2301"]
    assert heights == sorted(heights), "better scores are higher, and a small y is high"
    assert by_title["4"].is_below and by_title["4"].y == BOTTOM
    assert not any(by_title[name].is_below for name in "0123")


def test_learning_curves_end_with_their_runs(sweep: Sweep) -> None:
    found = curves(sweep)
    assert found is not None
    assert [line.role for line in found.lines][-1] == "best", "on top of the others"
    assert [len(line.points.split()) for line in found.lines] == [2, 1, 2, 2, 2]
    best = found.lines[-1]
    assert best.points.split()[1] == f"{best.end[0]},{best.end[1]}"
    assert TOP <= best.end[1] < BOTTOM


def test_without_epochs_there_are_no_curves(tmp_path: Path) -> None:
    frozen = [swept(name, [], {"model.pooling": name}, planned=0) for name in ("avg", "max")]
    assert curves(sweep_of(*frozen)) is None
    assert "Learning curves" not in page_of(sweep_of(*frozen), tmp_path).text


def test_runs_without_different_settings_have_no_plots(tmp_path: Path) -> None:
    text = page_of(sweep_of(swept("0", [0.1], {}), swept("1", [0.2], {})), tmp_path).text
    assert "best run" not in text.partition("Glossary")[0]


def test_hundreds_of_runs_are_all_shown(tmp_path: Path) -> None:
    runs = [swept(f"{place}", [0.3, 0.3 + place / 1000], {"lr": str(place)}) for place in range(300)]
    page = page_of(sweep_of(*runs), tmp_path)
    assert sum(tag == "tr" for tag, _ in page.tags) == 300 + 2
    assert sum(tag == "polyline" for tag, _ in page.tags) == 300


def test_the_page_is_self_contained_and_names_are_escaped(sweep: Sweep, tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "comparison.html", sweep)
    page = path.read_text(encoding="utf-8")
    assert "default-src 'none'" in page and "<b>x" not in page
    assert "http:" not in page and "https:" not in page
    assert not re.search(r"@import|url\((?!#)", page)
    for tag, attributes in Page(page).tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base"}
        assert str(attributes.get("href", "#")).startswith("#")


def test_a_logarithmic_scale_and_its_edges() -> None:
    scale = Scale(1e-4, 1e-2, 0, 100, by_magnitude=True)
    assert [scale.place(value) for value in (1e-4, 1e-3, 1e-2, 1.0, 1e-9)] == [0, 50, 100, 100, 0]
    assert Scale(0, 1, 0, 100).place(2, beyond=True) == 200
    assert (50.0, "0.001") in scale.ticks(4)
    assert [text for _, text in Scale(0.5, 0.62, 0, 1).ticks(4)] == ["0.50", "0.55", "0.60"]
