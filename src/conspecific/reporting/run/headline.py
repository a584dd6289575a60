"""The top of the report: what fine-tuning gained."""

from collections.abc import Sequence

import polars as pl

from conspecific.evaluation.compare import Difference
from conspecific.reporting.page.answers import SHOWN
from conspecific.reporting.page.tally import Tally, tally
from conspecific.reporting.page.wording import number, percent, signed
from conspecific.reporting.run.subject import Encoder, Subject
from conspecific.types import EvalResult


def headline(run: Subject) -> str:
    """Return the mean number of hits among the ten nearest images, of the best encoder and of the better reference."""
    first, best, most = tallies(run)[0].value, tallies(run)[-1].value, ceiling(run.best.result)
    if not run.is_trained:
        return f"Without fine-tuning, {first} of the {SHOWN} nearest images show the right species; pooled: {best}."
    rest = f"{run.rival.phrase} finds {number(_mean_hits(run.rival.result), 1)}."
    if most < SHOWN:
        return f"{best} of {number(most, 1)} possible images of the right species are found; {rest}"
    return f"{best} of the {SHOWN} nearest images show the right species; {rest}"


def tallies(run: Subject) -> list[Tally]:
    """Return the bar of every encoder."""
    most = ceiling(run.best.result)
    return [tally(encoder.role, encoder.name, _mean_hits(encoder.result), most) for encoder in run.encoders]


def ceiling(result: EvalResult) -> float:
    """Return the largest mean number of hits among ten that is possible; 10 where it is that but for rounding."""
    most = float(result.per_query.select(pl.col("positives").clip(upper_bound=SHOWN).mean()).item() or SHOWN)
    return SHOWN if most > SHOWN - 0.05 else most


def lead(run: Subject, pairs: pl.DataFrame) -> list[str]:
    """Return how the best encoder compares with the references.

    pairs: a row for each query, see `examples.paired`.
    """
    references = [(run.baseline, run.over_baseline), (run.encoders[1], run.over_pooled)]
    gains = [_gain(run.best, other, differences) for other, differences in references]
    sentences = [*gains, _ceiling(ceiling(run.best.result)), _by_query(pairs, run)]
    return [sentence for sentence in sentences if sentence]


def _mean_hits(result: EvalResult) -> float:
    if result.per_query.is_empty():
        return 0.0
    hits = pl.col("neighbor_hits").list.head(SHOWN).list.sum()
    return float(result.per_query.select(hits.mean()).item())


def _gain(best: Encoder, other: Encoder, differences: Sequence[Difference]) -> str:
    """Return the gain in hits among ten with its interval; empty where the two were not compared."""
    found = next((row for row in differences if row.metric == f"precision@{SHOWN}"), None)
    if found is None:
        return ""
    interval = found.interval
    mean, low, high = (signed(SHOWN * value, 2) for value in (interval.mean, interval.low, interval.high))
    return (
        f"{best.name} minus {other.phrase.removeprefix('the ')}: {mean} correct images in the top {SHOWN} "
        f"({percent(0.95)} bootstrap interval over {found.unit} {low} to {high})."
    )


def _ceiling(most: float) -> str:
    """Return the largest mean that is possible, where it is below ten."""
    if most == SHOWN:
        return ""
    return (
        f"At most {number(most, 1)} are possible on average, because some species have fewer than {SHOWN} other "
        "images in the gallery."
    )


def _by_query(pairs: pl.DataFrame, run: Subject) -> str:
    higher, lower = pairs.filter(pl.col("gain") > 0).height, pairs.filter(pl.col("gain") < 0).height
    equal = pairs.height - higher - lower
    return (
        f"Per query, {run.best.phrase} retrieves more correct images than {run.rival.phrase} for {higher:,} queries, "
        f"equally many for {equal:,} and fewer for {lower:,}."
    )
