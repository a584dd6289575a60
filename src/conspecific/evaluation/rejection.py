"""Known or new: how well the best score of a query tells whether its species is in the gallery."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from conspecific.errors import RunError
from conspecific.evaluation.compare import resampled_together
from conspecific.metrics import (
    Interval,
    auroc,
    fpr_at_tpr,
    oscr,
    rejection_curve,
    resampled_counts,
    threshold_keeping,
)
from conspecific.types import EvalResult, IntArray

FEWEST_NEW = 10  # queries of new species in the data; with fewer, each known query is asked once more
RESAMPLES = 2000
CURVE_POINTS = 100
STATISTICS = ("auroc", "fpr", "oscr", "kept", "refused", "precision", "refusal_precision")
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rejection:
    """What a threshold on the best score does to queries of known and of new species.

    threshold: what the first answers of a share of TPR of the validation queries reach, all of known species; None
    without a validation. known, new: numbers of queries. asked_twice: whether the new ones are the known ones once
    more, with all images of their species out of the gallery, because the data have too few of their own.
    statistics: with 95 % intervals, in [0, 1]: `auroc`, `fpr` and `oscr` at any threshold, see `metrics.rejection`; at
    this one, `kept` and `refused`, the share of the known that is kept and of the new that is refused, and `precision`,
    the share of all kept queries whose first answer is of their species, and `refusal_precision`, the share of all
    refused ones that is new. The last two hold for this mix of known and new.
    curve: shares of the known and of the new that are refused, the lowest threshold first.
    gains: name of another encoder -> statistic -> difference to it, with its paired interval.
    """

    threshold: float | None
    known: int
    new: int
    asked_twice: bool
    statistics: Mapping[str, Interval]
    curve: tuple[tuple[float, float], ...]
    gains: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)

    def describe(self) -> list[str]:
        """Return two sentences: who was asked and how well the two are told apart, and what the threshold does."""
        found = {name: f"{each.mean:.3f} ({each.low:.3f} to {each.high:.3f})" for name, each in self.statistics.items()}
        again = "the same once more, without their species in the gallery"
        told = [
            f"Known or new: {self.known:,} queries of species in the gallery, and "
            f"{again if self.asked_twice else f'{self.new:,} of species that are not'}: AUROC {found['auroc']}, "
            f"FPR at 95 % TPR {found['fpr']}, OSCR {found['oscr']}"
        ]
        if self.threshold is not None:
            shares = {name: f"{100 * each.mean:.1f} %" for name, each in self.statistics.items()}
            told.append(
                f"A first answer of at least {self.threshold:.3f}, which 95 % reach on validation: {shares['kept']} of "
                f"the known are kept and {shares['refused']} of the new refused; {shares['refusal_precision']} of what "
                f"is refused is new, {shares['precision']} of what is kept is answered rightly"
            )
        return told


def with_rejection(
    tested: Mapping[str, EvalResult], validation: Mapping[str, EvalResult], best: str
) -> dict[str, EvalResult]:
    """Return test results with the fact `rejection`, for `rejection_of`.

    tested, validation: name of an encoder -> result; all tested ones on the same queries. Thresholds come from
    validation, which may be empty. New are the test queries whose species is not in the gallery they are searched in,
    if there are FEWEST_NEW. best: of which `gains` over the others are to be. Intervals are percentile bootstrap ones
    over queries, groups or, under `unseen`, species; known and new are drawn apart unless they are the same. The fact
    is missing where there are fewer than two of either to draw.
    """
    asked = {name: found for name, result in tested.items() if (found := _asked(result)) is not None}
    if set(asked) != set(tested):
        return dict(tested)
    limits = {name: threshold_keeping(best_scores(validation[name])) if validation else None for name in asked}
    whole = {name: _statistics(found, limits[name], *_ones(found))[0] for name, found in asked.items()}
    drawn = _drawn(asked, limits)
    others = [name for name in asked if name != best]
    gains = {name: _intervals(whole[best] - whole[name], drawn[best] - drawn[name]) for name in others}
    told = {}
    for name, found in asked.items():
        counts, asked_twice = (len(found.known), len(found.new)), len(found.units) == 1
        statistics, over = _intervals(whole[name], drawn[name]), gains if name == best else {}
        rejection = Rejection(limits[name], *counts, asked_twice, statistics, _curve(found), over)
        told[name] = replace(tested[name], facts={**tested[name].facts, "rejection": asdict(rejection)})
    return told


def rejection_of(result: EvalResult) -> Rejection | None:
    """Return what `with_rejection` found; None where it was not asked. Raises RunError where it is damaged."""
    if (stored := result.facts.get("rejection")) is None:
        return None
    try:
        read = {
            "statistics": _read(stored["statistics"]),
            "curve": tuple((float(known), float(new)) for known, new in stored["curve"]),
            "gains": {str(name): _read(found) for name, found in stored["gains"].items()},
        }
        return Rejection(**{**stored, **read})
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise RunError(f"the rejection of {result.facts.get('name')} cannot be read: {error!r}") from error


def _read(stored: Mapping[str, Mapping[str, float]]) -> dict[str, Interval]:
    kept = [name for name in STATISTICS if name in stored or name in STATISTICS[:3]]  # the rest needs a threshold
    return {name: Interval(**{each: float(value) for each, value in stored[name].items()}) for name in kept}


class _Asked(NamedTuple):
    """The best scores of the queries of one result, and what is resampled as one; see `metrics.rejection`."""

    known: Values
    right: NDArray[np.bool_]
    new: Values
    units: tuple[IntArray, ...]  # of the known and of the new, or of both where they are the same queries


def best_scores(result: EvalResult) -> Values:
    """Return the score of the first answer to each scored query."""
    return result.per_query["neighbor_scores"].list.first().cast(pl.Float64).to_numpy()


def _asked(result: EvalResult) -> _Asked | None:
    """Return the scores that a result holds, None where it has too few or does not say."""
    if "other_score" not in result.per_query.columns:
        return None
    over_species = result.facts.get("protocol") == "unseen"
    known = result.per_query.sort("path")
    if has_new := result.new is not None and result.new.height >= FEWEST_NEW:
        assert result.new is not None
        new = result.new.sort("path")
        scores = new["neighbor_scores"].list.first()
    else:
        new = known = known.filter(pl.col("other_score").is_not_null())
        scores = known["other_score"]
    units = tuple(_units(table, over_species) for table in ((known, new) if has_new else (known,)))
    if any(np.unique(each).size < 2 for each in units):
        return None
    best, right = known["neighbor_scores"].list.first().cast(pl.Float64), known["neighbor_hits"].list.first()
    return _Asked(best.to_numpy(), right.to_numpy(), scores.cast(pl.Float64).to_numpy(), units)


def _units(queries: pl.DataFrame, over_species: bool) -> IntArray:
    found = resampled_together(queries, over_species)
    return np.arange(queries.height) if found is None else found


def _ones(found: _Asked) -> tuple[Values, Values]:
    return np.ones((1, len(found.known))), np.ones((1, len(found.new)))


def _drawn(asked: Mapping[str, _Asked], limits: Mapping[str, float | None]) -> dict[str, Values]:
    """Return the statistics of every encoder over the same resamples, [B, S]."""
    rows: dict[str, list[Values]] = {name: [] for name in asked}
    for counts in resampled_counts(next(iter(asked.values())).units, RESAMPLES):
        for name, found in asked.items():
            rows[name].append(_statistics(found, limits[name], counts[0], counts[-1]))
    return {name: np.concatenate(found) for name, found in rows.items()}


def _intervals(means: Values, rows: Values) -> dict[str, Interval]:
    low, high = np.quantile(rows, [0.025, 0.975], axis=0)
    bounds = zip(means.tolist(), low.tolist(), high.tolist(), strict=True)
    return {name: Interval(*found) for name, found in zip(STATISTICS, bounds, strict=False)}


def _statistics(found: _Asked, limit: float | None, known_weights: Values, new_weights: Values) -> Values:
    """Return the values of STATISTICS, the first three without a threshold: [B, 7] or [B, 3]."""
    known, right, new, _ = found
    weights = known_weights, new_weights
    columns = [
        auroc(known, new, *weights),
        fpr_at_tpr(known, new, *weights),
        oscr(known, right, new, *weights),
    ]
    if limit is None:
        return np.stack(columns, axis=1)
    total, total_new = (each.sum(axis=1) for each in weights)
    kept, kept_new = known_weights[:, known >= limit].sum(axis=1), new_weights[:, new >= limit].sum(axis=1)
    rightly = known_weights[:, (known >= limit) & right].sum(axis=1)
    refused, refused_new = total - kept, total_new - kept_new
    columns += [kept / total, refused_new / total_new, rightly / np.maximum(kept + kept_new, 1)]
    columns.append(refused_new / np.maximum(refused + refused_new, 1))
    return np.stack(columns, axis=1)


def _curve(found: _Asked) -> tuple[tuple[float, float], ...]:
    _, known, new = rejection_curve(found.known, found.new)
    points = np.linspace(0, len(known) - 1, min(CURVE_POINTS, len(known))).round().astype(np.int64)
    return tuple(zip(known[points].tolist(), new[points].tolist(), strict=True))
