"""The values of the comparison page: verdicts, the best of the other groups, plots."""

import dataclasses

from conspecific.reporting.comparison.scores import panel
from conspecific.reporting.comparison.subject import rival, verdict

from .comparisons import MakeComparison

ROLES = {"A": "baseline", "B": "model"}


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
    drawn = panel(make_comparison([0.1, 0.3], [0.2, 0.21]), "map@r", ROLES)
    wide, narrow = drawn.rows
    assert wide.interval is not None and narrow.interval is not None
    assert (wide.interval.ends_left, wide.interval.ends_right) == (False, False)
    assert (narrow.interval.ends_left, narrow.interval.ends_right) == (True, True)
    for row in drawn.rows:
        assert row.interval is not None
        assert 30 <= row.interval.left < min(row.seeds) < row.mean < max(row.seeds) < row.interval.right <= 258
    assert [text for _, text in drawn.ticks] == sorted(text for _, text in drawn.ticks)
    assert drawn.summary == f"map@r: A {wide.value}, B {narrow.value}"


def test_a_plot_of_equal_runs_has_a_frame(make_comparison: MakeComparison) -> None:
    drawn = panel(make_comparison([-1.0], [-1.0]), "map@r", ROLES)  # every value is clipped to 0
    assert {row.mean for row in drawn.rows} == {drawn.rows[0].mean}
    assert drawn.ticks
