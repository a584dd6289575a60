"""The score threshold is chosen on the validation split and evaluated on the test split."""

import dataclasses

import polars as pl
import pytest

from conspecific.reporting.page.plots import precision_curve
from conspecific.reporting.run.subject import Subject
from conspecific.reporting.run.threshold import threshold
from conspecific.types import EvalResult

from .subjects import MakeSubject, changed


def scored(result: EvalResult, right: float, wrong: float) -> EvalResult:
    """Return the result with one score for all hits and another for all misses."""
    scores = pl.col("neighbor_hits").list.eval(pl.when(pl.element()).then(right).otherwise(wrong))
    return dataclasses.replace(result, per_query=result.per_query.with_columns(neighbor_scores=scores))


def separated(run: Subject) -> Subject:
    test, validation = run.record.test["model"], run.record.validation["model"]
    return changed(run, test={"model": scored(test, 0.9, 0.4)}, validation={"model": scored(validation, 0.7, 0.4)})


def test_the_threshold_is_chosen_on_validation_and_evaluated_on_test(make_run: MakeSubject) -> None:
    run = separated(make_run())
    found = threshold(run)
    assert "a cosine similarity of at least 0.700" in found.rule
    values = [value.split()[0] for _, value in found.outcome]
    hits = run.best.result.per_query["neighbor_hits"].explode()
    assert values[:2] == ["100.0", f"{100 * hits.mean():.1f}"]
    answered = run.best.result.per_query["neighbor_hits"].list.any()
    assert values[2] == f"{100 * answered.mean():.1f}"


def test_l2_scores_are_written_as_distances(make_run: MakeSubject) -> None:
    run = separated(make_run())
    facts = {**run.record.test["model"].facts, "similarity": "l2"}
    model = scored(dataclasses.replace(run.record.test["model"], facts=facts), -0.5, -2.0)
    validation = scored(dataclasses.replace(run.record.validation["model"], facts=facts), -0.8, -2.0)
    found = threshold(changed(run, test={"model": model}, validation={"model": validation}))
    assert "a squared distance of at most 0.800" in found.rule


def test_a_precision_that_no_threshold_reaches(make_run: MakeSubject) -> None:
    found = threshold(make_run())  # its scores depend on the rank only
    assert found.rule.startswith("No threshold reaches a precision of 95") and found.outcome == ()
    assert "at the threshold" not in found.summary and "<svg" in found.svg


def test_the_curve_has_the_colors_of_the_page_and_a_summary() -> None:
    svg, summary = precision_curve(
        [(0.1, 1.0), (1.0, 0.5)],
        {"baseline": [(0.1, 0.8), (1.0, 0.3)], "pooled": [(0.1, 0.9), (1.0, 0.4)]},
        (0.4, 0.95),
        0.95,
        "Fine-tuned",
    )
    assert "var(--model)" in svg and "var(--baseline)" in svg and "var(--pooled)" in svg and "http" not in svg
    assert 'aria-hidden="true"' in svg
    words = "Fine-tuned: precision 50 % with 100 % of the images kept, 95 % with 40 % kept at the threshold."
    assert " ".join(summary.split()) == words
    assert precision_curve([], {}, None, 0.95, "Fine-tuned")[1] == "Fine-tuned: no retrieved images."


@pytest.mark.parametrize("trained", [True, False])
def test_the_summary_has_the_end_of_the_curve(make_run: MakeSubject, trained: bool) -> None:
    run = make_run(trained=trained)
    precision = run.best.result.metrics["precision@10"]
    words = threshold(run).summary.split()
    assert " ".join(words).startswith(f"{run.best.name}: precision {100 * precision:.0f} % with 100 %")
