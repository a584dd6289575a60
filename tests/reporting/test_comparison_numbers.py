"""The numbers behind the comparison page: what is sure, which group is the rival, what is drawn where."""

import dataclasses

from conspecific.reporting.comparison.numbers import panel, verdict
from conspecific.reporting.comparison.page import rival

from .comparisons import MakeComparison

ROLES = {"A": "baseline", "B": "model"}


def test_a_difference_is_sure_by_interval_and_p_together(make_comparison: MakeComparison) -> None:
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


def test_a_panel_holds_every_run_and_cuts_wide_intervals(make_comparison: MakeComparison) -> None:
    drawn = panel(make_comparison([0.1, 0.3], [0.2, 0.21]), "map@r", ROLES)
    wide, narrow = drawn.rows
    assert wide.interval is not None and narrow.interval is not None
    assert wide.interval[2:] == (False, False) and narrow.interval[2:] == (True, True)
    for row in drawn.rows:
        assert row.interval is not None
        assert 30 <= row.interval[0] < min(row.seeds) < row.mean < max(row.seeds) < row.interval[1] <= 258
    assert [text for _, text in drawn.ticks] == sorted(text for _, text in drawn.ticks)
    assert drawn.summary == f"map@r: A {wide.value}, B {narrow.value}"


def test_a_panel_of_runs_that_all_score_the_same_has_a_frame(make_comparison: MakeComparison) -> None:
    drawn = panel(make_comparison([-1.0], [-1.0]), "map@r", ROLES)  # every value is cut to 0
    assert {row.mean for row in drawn.rows} == {drawn.rows[0].mean}
    assert drawn.ticks
