"""Runs of several seeds as one, and groups of runs against each other."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from conspecific.errors import RunError
from conspecific.metrics import holm, metric_names
from conspecific.runs.groups import Comparison, compare_runs
from conspecific.runs.tested import read_run

from .conftest import MakeRun

SEEDS = (1, 2, 3)


@pytest.fixture
def scores() -> dict[str, np.ndarray]:
    """[3, 80] of each recipe: one value a seed and query."""
    rng = np.random.default_rng(0)
    queries = rng.random(80)
    return {
        name: np.clip(queries * 0.6 + gain + rng.normal(0, 0.05, (3, 80)) + rng.normal(0, 0.01, (3, 1)), 0, 1)
        for name, gain in (("low", 0.1), ("high", 0.3))
    }


@pytest.fixture
def found(make_run: MakeRun, scores: dict[str, np.ndarray]) -> Comparison:
    margins = {"low": 5, "high": 9}
    runs = [
        read_run(make_run(f"{name}{seed}", values, f"seed={seed}", f"loss.loss.margin={margins[name]}"))
        for name in scores
        for seed, values in zip(SEEDS, scores[name], strict=True)
    ]
    return compare_runs([runs[number] for number in (0, 3, 1, 4, 2, 5)])


def test_runs_that_differ_by_seed_alone_are_one_group(found: Comparison) -> None:
    members = {group.letter: [run.path.name for run in group.runs] for group in found.groups}
    assert members == {"A": ["low1", "low2", "low3"], "B": ["high1", "high2", "high3"]}
    assert found.settings == {"loss.loss.margin": [5, 9]}


def test_mean_deviation_and_interval_are_those_of_the_seeds(found: Comparison, scores: dict[str, np.ndarray]) -> None:
    means = scores["high"].mean(axis=1)
    group = found.groups[1]
    for metric in metric_names():
        assert group.means[metric] == pytest.approx(means.mean())
        assert group.deviations[metric] == pytest.approx(means.std(ddof=1))
        interval = group.intervals[metric]
        assert interval is not None
        assert (interval.low, interval.high) == pytest.approx(stats.t.interval(0.95, 2, means.mean(), stats.sem(means)))


def test_runs_with_other_cut_offs_have_the_metrics_of_all(make_run: MakeRun) -> None:
    runs = [
        read_run(make_run(name, [0.1, 0.4, 0.2, 0.3], f"metrics.ks={ks}"))
        for name, ks in (("a", "[1]"), ("b", "[1,2]"))
    ]
    more = {**runs[1].result.metrics, "recall@2": 0.5}
    found = compare_runs([replace(runs[0], seed=1), replace(runs[1], result=replace(runs[1].result, metrics=more))])
    assert [group.letter for group in found.groups] == ["R", "A"], "cut-offs are no setting that numbers depend on"
    assert found.metrics == [change.metric for change in found.contrasts[0].differences] == metric_names()


def test_groups_are_paired_by_query_over_their_seeds_means(found: Comparison, scores: dict[str, np.ndarray]) -> None:
    [contrast] = found.contrasts
    assert (contrast.group.letter, contrast.first.letter) == ("B", "A")
    change = scores["high"].mean(axis=0) - scores["low"].mean(axis=0)
    for difference in contrast.differences:
        assert difference.interval.mean == pytest.approx(change.mean())
        assert (difference.won, difference.lost) == ((change > 0).sum(), (change < 0).sum())
        assert difference.p_value == 1 / 10_001


def test_the_interval_over_seeds_is_welchs(found: Comparison, scores: dict[str, np.ndarray]) -> None:
    mine, theirs = (scores[name].mean(axis=1) for name in ("high", "low"))
    expected = stats.ttest_ind(mine, theirs, equal_var=False).confidence_interval(0.95)
    interval = found.contrasts[0].over_seeds["mrr"]
    assert interval is not None
    assert interval.mean == pytest.approx(mine.mean() - theirs.mean())
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_a_comparison_is_written_as_json(found: Comparison) -> None:
    stored = json.loads(json.dumps(found.to_json()))
    assert [group["seeds"] for group in stored["groups"]] == [[1, 2, 3], [1, 2, 3]]
    assert stored["contrasts"][0]["differences"][0]["metric"] == "recall@1"
    assert stored["settings"] == {"loss.loss.margin": [5, 9]}


def test_single_runs_have_no_spread(make_run: MakeRun) -> None:
    runs = [read_run(make_run(name, values)) for name, values in (("a", [0, 1, 0, 1]), ("b", [1, 1, 0, 1]))]
    found = compare_runs(runs)
    assert [len(group.runs) for group in found.groups] == [1, 1]  # a seed that comes twice is no second seed
    assert found.settings == {}
    assert found.groups[0].deviations["mrr"] is None
    assert found.groups[0].intervals["mrr"] is None
    assert found.contrasts[0].over_seeds["mrr"] is None
    assert (found.contrasts[0].differences[0].won, found.contrasts[0].differences[0].lost) == (1, 0)


def test_seeds_that_all_score_the_same_differ_for_sure(make_run: MakeRun) -> None:
    recipes = {"a": ([0.1, 0.7, 0.3, 0.9], 5), "b": ([1.0, 0.7, 0.4, 0.9], 9)}
    runs = [
        read_run(make_run(f"{name}{seed}", values[::turn], f"seed={seed}", f"loss.loss.margin={margin}"))
        for name, (values, margin) in recipes.items()
        for seed, turn in ((1, 1), (2, -1))  # added up in another order, the mean differs by rounding
    ]
    interval = compare_runs(runs).contrasts[0].over_seeds["mrr"]
    assert interval is not None
    assert (interval.low, interval.mean, interval.high) == pytest.approx((0.25, 0.25, 0.25))


def test_p_values_are_adjusted_for_the_number_of_groups(make_run: MakeRun) -> None:
    rng = np.random.default_rng(1)
    values = {"a": rng.random(60), "b": rng.random(60), "c": rng.random(60)}
    runs = {name: read_run(make_run(name, list(found))) for name, found in values.items()}
    alone = [compare_runs([runs["a"], runs[name]]).contrasts[0].differences[0].p_value for name in "bc"]
    together = [contrast.differences[0].p_value for contrast in compare_runs(list(runs.values())).contrasts]
    assert together == holm(alone)
    assert together != alone


def test_one_run_is_no_comparison(make_run: MakeRun) -> None:
    with pytest.raises(RunError, match="needs two runs or more; found 1"):
        compare_runs([read_run(make_run("a", [0, 1]))])


def test_a_single_group_is_held_against_its_reference(make_run: MakeRun) -> None:
    runs = [read_run(make_run(f"a{seed}", [0, 1, 0, 1], f"seed={seed}")) for seed in SEEDS]
    found = compare_runs(runs)
    reference, group = found.groups
    assert (reference.letter, reference.name) == ("R", "the pooled reference, not trained further")
    assert (reference.means["mrr"], group.means["mrr"]) == (0, 0.5)
    [contrast] = found.contrasts
    assert contrast.differences[0].interval.mean == 0.5
    assert contrast.over_seeds["mrr"] is None  # the reference has no seeds
    assert found.settings == {}
