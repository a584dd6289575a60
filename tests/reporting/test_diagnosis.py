"""The sections on species, confusions, hubs and embedding geometry."""

import dataclasses

import polars as pl

from conspecific.evaluation.diagnose import by_species, confused_pairs, hubs
from conspecific.reporting.run.confusions import confusion_pairs
from conspecific.reporting.run.geometry import collapsed, geometry, geometry_note, geometry_rows
from conspecific.reporting.run.hubs import encoder_hubs
from conspecific.reporting.run.species import both_ends, species_rows
from conspecific.types import EvalResult

from .subjects import MakeSubject, changed


def with_geometry(result: EvalResult, **changed: float) -> EvalResult:
    return dataclasses.replace(result, facts={**result.facts, "geometry": {**result.facts["geometry"], **changed}})


def test_species_are_sorted_by_the_hits_that_are_shown(make_run: MakeSubject) -> None:
    run = make_run()
    rows, omitted = species_rows(run)
    table = by_species(run.best.result).sort("precision@10", "recall@1", "map@r", "label")
    assert [row.name for row in rows] == [label.replace("_", " ") for label in table["label"]]
    assert omitted == ""
    label = table["label"][0]
    for cells, metric, scale, digits in zip(rows[0].values, ("precision@10", "recall@1"), (10, 1), (1, 2), strict=True):
        for cell, result in zip(cells, run.record.test.values(), strict=True):
            value = by_species(result).row(by_predicate=pl.col("label") == label, named=True)[metric]
            assert cell.text == f"{scale * value:.{digits}f}"


def test_a_species_that_a_reference_finds_better_is_marked(make_run: MakeSubject) -> None:
    run = make_run()
    worse = changed(run, test={"pooled": run.record.test["model"], "model": run.record.test["pooled"]})
    for row in species_rows(worse)[0]:
        _, pooled, own = row.values[0]
        assert own.verdict == ("worse" if float(own.text) < float(pooled.text) else "")


def test_a_species_has_its_support(make_run: MakeSubject) -> None:
    rows, _ = species_rows(make_run())
    assert rows[0].support == "12 queries, R = 11"


def test_of_many_species_both_ends_are_shown_and_the_others_counted(make_run: MakeSubject) -> None:
    run = make_run()
    everything, _ = species_rows(run)
    rows, omitted = species_rows(run, most=5)
    assert rows == everything[:2] + everything[-2:]
    assert omitted == "4 species between the 2 worst and the 2 best"


def test_both_ends_of_the_species_do_not_overlap(make_run: MakeSubject) -> None:
    rows, _ = species_rows(make_run())
    assert both_ends(rows) == (rows, [])
    worst, best = both_ends(rows, most=3)
    assert worst == rows[:3] and best == rows[:-4:-1]


def test_confusions_name_both_species_and_show_the_miss_with_the_highest_score(
    make_run: MakeSubject,
) -> None:
    run = make_run()
    first, expected = confusion_pairs(run)[0], confused_pairs(run.best.result).row(0, named=True)
    assert first.names == (expected["label"].replace("_", " "), expected["other"].replace("_", " "))
    assert first.misses == f"{expected['wrong']} misses"
    assert first.share.split() == [f"{100 * expected['share']:.1f}", "%"]
    assert [side.path for side in first.sides] == [expected["query_path"], expected["answer_path"]]
    assert f"{expected['score']:.3f}" in first.sides[1].over


def test_hubs_are_those_of_the_diagnosis(make_run: MakeSubject) -> None:
    run = make_run()
    for encoder in run.encoders:
        side, expected = encoder_hubs(encoder), hubs(encoder.result, 4)
        assert side.skewness == f"{expected.skewness:.2f}".replace("-", "\u2212")
        assert side.never.split() == [f"{100 * expected.never:.1f}", "%"]
        assert side.expected == "10.0"
        assert [int(hub.count) for hub in side.images] == expected.images["count"].to_list()
        assert side.images[0].misses == f"{expected.images['wrong'][0]} as a miss"


def test_the_geometry_of_every_encoder_is_shown(make_run: MakeSubject) -> None:
    rows = {row.name: row for row in geometry_rows(make_run())}
    assert list(rows) == ["Alignment", "Uniformity", "Effective rank", "Mean similarity"]
    assert [cell.text for cell in rows["Effective rank"].cells] == ["8.0", "20.0", "32.0"]
    cell = rows["Uniformity"].cells[0]
    assert (cell.encoder.role, cell.text) == ("baseline", "\u22122.50")
    assert all(row.sentence.endswith(".") for row in rows.values())
    assert "96 images" in geometry_note(make_run())


def test_a_collapsed_encoder_is_named(make_run: MakeSubject) -> None:
    run = make_run()
    assert collapsed(run) == []
    fallen = changed(run, test={"model": with_geometry(run.record.test["model"], mean_similarity=0.999)})
    assert collapsed(fallen) == ["Fine-tuned"]


def test_results_without_geometry_have_no_section(make_run: MakeSubject) -> None:
    run = make_run(trained=False)
    bare = {name: dataclasses.replace(result, facts={"gallery": 96}) for name, result in run.record.test.items()}
    run = changed(run, test=bare)
    assert geometry(run) is None and geometry_note(run) == ""
