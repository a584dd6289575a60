"""The score threshold is chosen on the validation split and evaluated on the test split."""

import dataclasses
from collections.abc import Callable

import polars as pl
import pytest

from conspecific.reporting.page.plots import precision_curve
from conspecific.reporting.run.subject import Report
from conspecific.reporting.run.threshold import threshold
from conspecific.types import EvalResult


def scored(result: EvalResult, right: float, wrong: float) -> EvalResult:
    """Return the result with one score for all hits and another for all misses."""
    scores = pl.col("neighbor_hits").list.eval(pl.when(pl.element()).then(right).otherwise(wrong))
    return dataclasses.replace(result, per_query=result.per_query.with_columns(neighbor_scores=scores))


def separated(report: Report) -> Report:
    assert report.model is not None and report.validation is not None
    return dataclasses.replace(
        report, model=scored(report.model, 0.9, 0.4), validation=scored(report.validation, 0.7, 0.4)
    )


def test_the_threshold_is_chosen_on_validation_and_evaluated_on_test(make_report: Callable[..., Report]) -> None:
    report = separated(make_report())
    found = threshold(report)
    assert "a cosine similarity of at least 0.700" in found.rule
    values = [value.split()[0] for _, value in found.outcome]
    hits = report.best.result.per_query["neighbor_hits"].explode()
    assert values[:2] == ["100.0", f"{100 * hits.mean():.1f}"]
    answered = report.best.result.per_query["neighbor_hits"].list.any()
    assert values[2] == f"{100 * answered.mean():.1f}"


def test_l2_scores_are_written_as_distances(make_report: Callable[..., Report]) -> None:
    report = separated(make_report())
    assert report.model is not None and report.validation is not None
    facts = {**report.model.facts, "similarity": "l2"}
    model = scored(dataclasses.replace(report.model, facts=facts), -0.5, -2.0)
    validation = scored(dataclasses.replace(report.validation, facts=facts), -0.8, -2.0)
    found = threshold(dataclasses.replace(report, model=model, validation=validation))
    assert "a squared distance of at most 0.800" in found.rule


def test_a_precision_that_no_threshold_reaches(make_report: Callable[..., Report]) -> None:
    found = threshold(make_report())  # its scores depend on the rank only
    assert found.rule.startswith("No threshold reaches a precision of 95") and found.outcome == ()
    assert "at the threshold" not in found.summary and "<svg" in found.svg


def test_without_a_validation_result_no_threshold_is_chosen(make_report: Callable[..., Report]) -> None:
    found = threshold(dataclasses.replace(separated(make_report()), validation=None))
    assert found.rule.startswith("No threshold was chosen") and found.outcome == ()


def test_the_curve_has_the_colors_of_the_page_and_a_summary() -> None:
    svg, summary = precision_curve([(0.1, 1.0), (1.0, 0.5)], [(0.1, 0.8), (1.0, 0.3)], (0.4, 0.95), 0.95, "Fine-tuned")
    assert "var(--accent)" in svg and "var(--baseline)" in svg and "http" not in svg
    assert 'aria-hidden="true"' in svg
    words = "Fine-tuned: precision 50 % with 100 % of the images kept, 95 % with 40 % kept at the threshold."
    assert " ".join(summary.split()) == words
    assert precision_curve([], [], None, 0.95, "Fine-tuned")[1] == "Fine-tuned: no retrieved images."


@pytest.mark.parametrize("model", [True, False])
def test_the_summary_has_the_end_of_the_curve(make_report: Callable[..., Report], model: bool) -> None:
    report = make_report(model=model)
    precision = report.best.result.metrics["precision@10"]
    words = threshold(report).summary.split()
    assert " ".join(words).startswith(f"{report.best.name}: precision {100 * precision:.0f} % with 100 %")
