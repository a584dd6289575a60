"""The section on queries of known and of new species."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from conspecific.evaluation.rejection import rejection_of, with_rejection
from conspecific.reporting.page.wording import percent
from conspecific.reporting.run.known_or_new import known_or_new
from conspecific.reporting.run.report import write_report
from conspecific.reporting.run.subject import Subject
from conspecific.types import EvalResult

from .subjects import MakeSubject, changed


def with_scores(result: EvalResult, best: float) -> EvalResult:
    """Let first answers have scores from `best` down to half of it, and those of another species 0.3 to 0.5."""
    count = result.per_query.height
    first = pl.int_range(count).cast(pl.Float64) / count
    scores = pl.concat_list(best - first * best / 2, *[pl.lit(0.0)] * 9)
    return replace(result, per_query=result.per_query.with_columns(neighbor_scores=scores, other_score=0.3 + first / 5))


def judged(run: Subject, thresholds: bool = True) -> Subject:
    tested = {name: with_scores(found, 0.9 if name == "model" else 0.5) for name, found in run.record.test.items()}
    validation = {name: with_scores(found, 0.8) for name, found in run.record.validation.items()} if thresholds else {}
    return changed(run, test=with_rejection(tested, validation, run.record.best))


def test_a_threshold_of_validation_is_judged_in_words_and_numbers(make_run: MakeSubject, tmp_path: Path) -> None:
    run = judged(make_run())
    found, values = rejection_of(run.best.result), known_or_new(run)
    assert found is not None and values is not None
    assert "each of its 96 queries is searched twice" in values["who"]
    assert f"below {found.threshold:.3f}, which {percent(0.95)} of the validation queries reach" in values["rule"]
    shown = [name for name, *_ in values["outcome"]]
    assert shown[:2] == ["Known queries kept (coverage)", "New queries refused"] and len(shown) == 4
    assert values["outcome"][0][1] == percent(found.statistics["kept"].mean, 1)
    assert "of the new queries are refused where" in values["summary"] and "<svg" in values["svg"]
    assert [row.name for row in values["rows"]] == ["AUROC", "OSCR", "FPR at 95 % TPR"]
    auroc, _, fpr = values["rows"]
    assert [cell.encoder.role for cell in auroc.cells] == ["baseline", "pooled", "model"]
    assert auroc.cells[-1].text == f"{found.statistics['auroc'].mean:.3f}"
    assert values["compared"] == ["baseline", "pooled"]
    verdicts = {gain.verdict for gain in (*auroc.gains, *fpr.gains)}
    assert verdicts == {"better"}, "a lower FPR is better"
    page = write_report(tmp_path / "report.html", run).read_text(encoding="utf-8")
    assert 'id="known"' in page and "Probability that a query of a known species has a higher score" in page


def test_without_a_validation_there_is_no_threshold(make_run: MakeSubject) -> None:
    values = known_or_new(judged(make_run(), thresholds=False))
    assert values is not None and values["rule"] == "" and values["outcome"] == []
    assert "where 5" in values["summary"], "the point at which five in a hundred of the known are refused"


def test_a_run_that_does_not_say_has_no_section(make_run: MakeSubject) -> None:
    assert known_or_new(make_run()) is None
