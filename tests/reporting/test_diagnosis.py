"""Species, mix-ups, hubs and the shape of the space, as the page shows them."""

import dataclasses
from collections.abc import Callable

import polars as pl

from conspecific.evaluation.diagnose import by_species, confused_pairs, hubs
from conspecific.reporting.run.diagnosis import (
    collapsed,
    geometry_note,
    geometry_rows,
    hardest_and_easiest,
    hub_sides,
    mix_ups,
    species_rows,
)
from conspecific.reporting.run.record import Report
from conspecific.types import EvalResult


def with_geometry(result: EvalResult, **changed: float) -> EvalResult:
    return dataclasses.replace(result, facts={**result.facts, "geometry": {**result.facts["geometry"], **changed}})


def test_species_stand_from_worst_to_best_with_before_and_after(make_report: Callable[..., Report]) -> None:
    report = make_report()
    rows, omitted = species_rows(report)
    table = by_species(report.best)
    assert [row.name for row in rows] == [label.replace("_", " ") for label in table["label"]]
    assert omitted == ""
    worst = table.row(0, named=True)
    before = by_species(report.flatten).row(by_predicate=pl.col("label") == worst["label"], named=True)
    assert rows[0].first == (f"{before['recall@1']:.2f}", f"{worst['recall@1']:.2f}")
    assert rows[0].hits[1] == f"{10 * worst['precision@10']:.1f}"
    assert rows[0].support == "12 queries, 11 to find"


def test_many_species_show_both_ends_and_say_what_is_left_out(make_report: Callable[..., Report]) -> None:
    report = make_report()
    everything, _ = species_rows(report)
    rows, omitted = species_rows(report, most=5)
    assert rows == everything[:2] + everything[-2:]
    assert omitted == "The 4 species between the 2 hardest and the 2 easiest"


def test_both_ends_of_the_species_do_not_meet(make_report: Callable[..., Report]) -> None:
    rows, _ = species_rows(make_report())
    assert hardest_and_easiest(rows) == (rows, [])
    hardest, easiest = hardest_and_easiest(rows, most=3)
    assert hardest == rows[:3] and easiest == rows[:-4:-1]


def test_mix_ups_name_both_species_and_show_the_surest_wrong_answer(make_report: Callable[..., Report]) -> None:
    report = make_report()
    first, expected = mix_ups(report)[0], confused_pairs(report.best).row(0, named=True)
    assert first.names == (expected["label"].replace("_", " "), expected["other"].replace("_", " "))
    assert first.wrong == f"{expected['wrong']} wrong answers"
    assert first.share.split() == [f"{100 * expected['share']:.1f}", "%"]
    assert [side.path for side in first.sides] == [expected["query_path"], expected["answer_path"]]
    assert f"{expected['score']:.3f}" in first.sides[1].over


def test_hubs_of_the_baseline_stand_beside_those_of_the_best(make_report: Callable[..., Report]) -> None:
    report = make_report()
    sides = hub_sides(report)
    assert [side.name for side in sides] == ["Baseline", "Fine-tuned"]
    for side, result in zip(sides, (report.flatten, report.best), strict=True):
        expected = hubs(result)
        assert side.skewness == f"{expected.skewness:.2f}".replace("-", "\u2212")
        assert side.never.split() == [f"{100 * expected.never:.1f}", "%"]
        assert side.expected == "10.0"
        assert [int(hub.count) for hub in side.images] == expected.images["count"].to_list()
        assert side.images[0].wrong == f"{expected.images['wrong'][0]} wrong"


def test_the_shape_of_every_space_is_told(make_report: Callable[..., Report]) -> None:
    rows = {row.name: row for row in geometry_rows(make_report())}
    assert list(rows) == ["Alignment", "Uniformity", "Effective rank", "Mean similarity"]
    assert [text for _, _, text in rows["Effective rank"].values] == ["8.0", "20.0", "32.0"]
    assert rows["Uniformity"].values[0] == ("baseline", "Baseline", "\u22122.50")
    assert all(row.sentence.endswith(".") for row in rows.values())
    assert "96 images" in geometry_note(make_report())


def test_a_collapsed_encoder_is_named(make_report: Callable[..., Report]) -> None:
    report = make_report()
    assert report.model is not None and collapsed(report) == []
    fallen = dataclasses.replace(report, model=with_geometry(report.model, mean_similarity=0.999))
    assert collapsed(fallen) == ["Fine-tuned"]


def test_results_that_say_nothing_of_their_shape_cost_nothing(make_report: Callable[..., Report]) -> None:
    report = make_report(model=False)
    bare = [dataclasses.replace(result, facts={"gallery": 96}) for result in (report.flatten, report.pooled)]
    report = dataclasses.replace(report, flatten=bare[0], pooled=bare[1])
    assert (geometry_rows(report), collapsed(report), geometry_note(report)) == ([], [], "")
