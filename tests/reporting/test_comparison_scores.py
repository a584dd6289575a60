"""The values of the comparison page: verdicts, the best of the other groups, plots."""

import dataclasses

from conspecific.reporting.comparison.names import group_names
from conspecific.reporting.comparison.scores import panel
from conspecific.reporting.comparison.subject import rival, verdict

from .comparisons import MakeComparison

ROLES, NAMES = {"A": "baseline", "B": "model"}, {"A": "arcface", "B": "triplet"}


def test_a_difference_is_significant_by_interval_and_p_value_together(make_comparison: MakeComparison) -> None:
    sure = make_comparison([0.1], [0.3]).contrasts[0].differences[0]
    worse, around = (
        dataclasses.replace(sure.by_query, mean=-1, low=-2, high=-1),
        dataclasses.replace(sure.by_query, low=-1),
    )
    assert verdict(sure) == "better"
    assert verdict(dataclasses.replace(sure, by_query=worse)) == "worse"
    assert verdict(dataclasses.replace(sure, by_query=around)) == "unsure"
    assert verdict(dataclasses.replace(sure, p_value=0.05)) == "unsure"


def test_the_rival_is_the_best_of_the_others(make_comparison: MakeComparison) -> None:
    assert rival(make_comparison([0.5], [0.1], [0.3], [0.2])).group.letter == "C"


def test_a_plot_has_every_run_and_clips_wide_intervals(make_comparison: MakeComparison) -> None:
    drawn = panel(make_comparison([0.1, 0.16], [0.2, 0.21]), "map@r", ROLES, NAMES)
    wide, narrow = drawn.rows
    assert wide.interval is not None and narrow.interval is not None
    assert (wide.interval.ends_left, wide.interval.ends_right) == (False, False)
    assert (narrow.interval.ends_left, narrow.interval.ends_right) == (True, True)
    for row in drawn.rows:
        assert row.interval is not None
        assert 8 <= row.interval.left < min(row.seeds) < row.mean < max(row.seeds) < row.interval.right <= 258
    assert [text for _, text in drawn.ticks] == sorted(text for _, text in drawn.ticks)
    assert drawn.summary == f"map@r: arcface {wide.value}, triplet {narrow.value}"


def test_a_plot_of_equal_runs_has_a_frame(make_comparison: MakeComparison) -> None:
    drawn = panel(make_comparison([-1.0], [-1.0]), "map@r", ROLES, NAMES)  # every value is clipped to 0
    assert {row.mean for row in drawn.rows} == {drawn.rows[0].mean}
    assert drawn.ticks


def names_of(make_comparison: MakeComparison, *settings: dict[str, object]) -> list[str]:
    found = make_comparison(*([0.1] for _ in settings), settings=settings.__getitem__)
    return list(group_names(found).values())


def test_groups_are_named_by_what_differs(make_comparison: MakeComparison) -> None:
    target = "loss.loss._target_"
    arcface = {target: "some.losses.ArcFaceLoss", "loss.loss.scale": 16, "model.pooling": "gem"}
    triplet = {target: "some.losses.TripletMarginLoss", "loss.loss.margin": 0.1, "model.pooling": "gem"}
    assert names_of(make_comparison, arcface, triplet) == ["arcface", "triplet"]
    both = names_of(make_comparison, arcface, triplet, {**arcface, "model.pooling": "avg"})
    assert both == ["arcface, gem", "triplet, gem", "arcface, avg"]
    assert names_of(make_comparison, {"ema": 0.5}, {"ema": 0.9}) == ["ema 0.5", "ema 0.9"]
    assert names_of(make_comparison, {"ema": 0.5}, {"ema": 0.5, "seen": None}) == ["A", "B"]
    long = {"data.path": "x" * 40}
    assert names_of(make_comparison, long, {"data.path": "x" * 41})[0].startswith("A xxx")


def test_a_reference_is_called_that(make_comparison: MakeComparison) -> None:
    assert group_names(make_comparison([0.1, 0.2])) == {"R": "reference", "A": "trained"}
