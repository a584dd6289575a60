"""What the first screen of the report says of trust, in words and in colors that agree with them."""

import dataclasses
from pathlib import Path

import polars as pl
import pytest

from conspecific.metrics import Interval
from conspecific.reporting.run.metric_tables import metric_rows
from conspecific.reporting.run.report import write_report
from conspecific.reporting.run.subject import Subject
from conspecific.reporting.run.trust import findings
from conspecific.runs.record import SelectedWeights

from .conftest import MakeLeaks
from .subjects import MakeSubject, changed, with_leak_policy


def lowered(run: Subject, low: float, high: float) -> Subject:
    """Return the run with this interval for each of its differences."""
    interval = Interval((low + high) / 2, low, high)
    gains = {
        name: tuple(dataclasses.replace(row, by_species=interval, by_query=interval) for row in rows)
        for name, rows in run.record.gains.items()
    }
    return changed(run, gains=gains)


@pytest.mark.parametrize(
    ("low", "high", "tone", "title", "color", "zero"),
    [
        (0.01, 0.2, "good", "Fine-tuning helped.", "better", "excludes zero"),
        (-0.2, -0.01, "bad", "Fine-tuning did harm.", "worse", "excludes zero"),
        (-0.1, 0.2, "open", "Fine-tuning made no difference that this test can show.", "even", "includes zero"),
    ],
)
def test_the_color_of_a_page_is_that_of_its_judgement(
    make_run: MakeSubject, tmp_path: Path, low: float, high: float, tone: str, title: str, color: str, zero: str
) -> None:
    run = lowered(make_run(), low, high)
    first = findings(run)[0]
    assert (first.tone, first.title) == (tone, title)
    assert zero in first.text and "against the pooled reference" in first.text
    page = write_report(tmp_path / "report.html", run).read_text(encoding="utf-8")
    assert f'<body class="{color}">' in page
    verdicts = {row.cells[-1].verdict for row in metric_rows(run)}
    assert verdicts == {"unsure" if color == "even" else color}


def test_a_kept_reference_is_no_success(make_run: MakeSubject) -> None:
    run = lowered(make_run(), 0.01, 0.02)
    first = findings(changed(run, selection=SelectedWeights(0, pooled_reference=True)))[0]
    assert (first.tone, first.title) == ("open", "Fine-tuning did not help.")
    assert findings(make_run(trained=False))[0].title == "Nothing was trained."


def test_leaks_are_judged_by_what_they_change(make_run: MakeSubject, make_leaks: MakeLeaks) -> None:
    run = make_run()
    assert findings(run)[1].title == "No leak check."
    assert findings(changed(run, leaks=make_leaks()))[1].tone == "good"
    leaks = make_leaks(("Species_A/0.jpg", "Species_A/3.jpg", {}))
    found = findings(changed(run, leaks=leaks))[1]
    assert found.tone in ("bad", "caution") and found.text.startswith("1 of 96 queries have a copy")
    dropped = changed(run, leaks=leaks, config=with_leak_policy(run, "drop"))
    assert (findings(dropped)[1].tone, findings(dropped)[1].title) == ("good", "Leaks removed.")
    elsewhere = make_leaks(("Species_A/0.jpg", "Species_A/3.jpg", {"second_subset": "val", "second_id": 2000}))
    assert findings(changed(run, leaks=elsewhere))[1].title == "Copies."


def test_leaks_that_move_no_digit_are_a_caution(make_run: MakeSubject, make_leaks: MakeLeaks) -> None:
    run = make_run()
    flat = run.record.test["model"].per_query.with_columns(pl.lit(0.5).alias("map@r"))
    model = dataclasses.replace(run.record.test["model"], per_query=flat, metrics={"map@r": 0.5})
    leaks = make_leaks(("Species_A/0.jpg", "Species_A/3.jpg", {}))
    same = findings(changed(run, test={"model": model}, leaks=leaks))[1]
    assert same.tone == "caution" and "the same, 0.500" in same.text
    apart = dataclasses.replace(model, metrics={"map@r": 0.6})
    moved = findings(changed(run, test={"model": apart}, leaks=leaks))[1]
    assert moved.tone == "bad" and "is 0.500 instead of 0.600" in moved.text


def test_the_protocol_says_which_species_were_tested(make_run: MakeSubject) -> None:
    last = findings(make_run())[2]
    assert last.title == "New species." and "96 queries of 8 species" in last.text
    run = make_run()
    validated = dataclasses.replace(run.best.result, facts={**run.best.result.facts, "subset": "val"})
    assert findings(changed(run, test={"model": validated}))[2].tone == "caution"


def test_data_and_network_are_in_the_title(make_run: MakeSubject, tmp_path: Path) -> None:
    run = make_run()
    page = write_report(tmp_path / "report.html", run).read_text(encoding="utf-8")
    assert f"<title>{tmp_path.name}, some, TripletMargin: train / 2026-01-01 · Conspecific</title>" in page
    assert f"Conspecific · {tmp_path.name} · some · TripletMargin · train / 2026-01-01" in page
