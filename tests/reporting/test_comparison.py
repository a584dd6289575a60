"""The comparison page: its values and verdicts, self-contained and safe with any name in the data."""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from conspecific.metrics import metric_names
from conspecific.reporting.comparison.page import write_comparison
from conspecific.reporting.page.wording import DASH, explain, signed
from conspecific.runs import tested as runs

from .comparisons import QUERIES, MakeComparison, Page, page_of


def test_the_better_group_is_named_with_its_gain(make_comparison: MakeComparison, tmp_path: Path) -> None:
    found = make_comparison([0.1, 0.11, 0.09], [0.3, 0.32, 0.31])
    text = page_of(found, tmp_path).text
    low, high = (group.means["map@r"] for group in found.groups)
    assert f"margin 1 is better than margin 0: map@r {high:.3f} against {low:.3f}." in text
    [difference] = [row for row in found.contrasts[0].differences if row.metric == "map@r"]
    bounds = f"{signed(difference.by_query.low)} to {signed(difference.by_query.high)}"
    assert (
        f"Paired difference margin 1 minus margin 0: {signed(high - low)} in map@r (95 % interval over queries {bounds}"
        in text
    )
    assert "other seeds are unlikely to reverse the order" in text
    assert f"the same {QUERIES} queries, {QUERIES} gallery images and 4 species" in text


def test_every_number_of_every_difference_is_on_the_page(make_comparison: MakeComparison, tmp_path: Path) -> None:
    found = make_comparison([0.1, 0.12], [0.15, 0.2], [0.2, 0.24], protocol="unseen")
    text = page_of(found, tmp_path).text
    for contrast in found.contrasts:
        for row in contrast.differences:
            over_seeds = contrast.over_seeds[row.metric]
            assert over_seeds is not None
            for interval in (row.by_query, row.by_species, over_seeds):
                assert f"{signed(interval.low)}…{signed(interval.high)}" in text
            assert f"{row.won} · {row.unchanged} · {row.lost}" in text
    for group in found.groups:
        spread, interval = group.deviations["mrr"], group.intervals["mrr"]
        assert spread is not None and interval is not None
        assert (
            f"{group.means['mrr']:.3f} ± {spread:.3f} {interval.low:.3f} to {interval.high:.3f}".replace("-", "\u2212")
            in text
        )
    assert "Interval over species decides" in text
    assert "adjusted for 2 comparisons" in text


def test_the_first_group_can_be_the_better_one(make_comparison: MakeComparison, tmp_path: Path) -> None:
    found = make_comparison([0.3], [0.1])
    text = page_of(found, tmp_path).text
    gain = -found.contrasts[0].differences[0].interval.mean
    assert "margin 0 is better than margin 1" in text
    assert f"Paired difference margin 0 minus margin 1: {signed(gain)} in map@r" in text
    assert "The variance over seeds is unknown" in text


def test_differences_that_are_not_significant_are_marked(make_comparison: MakeComparison, tmp_path: Path) -> None:
    text = page_of(make_comparison([0.2], [0.2]), tmp_path).text
    assert "No significant difference" in text
    assert (
        text.partition("Paired differences")[2].count("not significant") == len(metric_names()) + 1
    )  # and in the legend
    assert "over seeds" not in text.partition("Glossary")[0].partition("All runs were")[0]


def test_the_best_of_each_metric_is_highlighted_and_the_bars_are_the_shares(
    make_comparison: MakeComparison, tmp_path: Path
) -> None:
    found = make_comparison([0.1], [0.15])
    page = write_comparison(tmp_path / "comparison.html", found).read_text(encoding="utf-8")
    assert page.count(f'class="best">{found.groups[1].means["mrr"]:.3f}<') == len(metric_names())
    assert page.count('class="best"') == len(metric_names())
    row = found.contrasts[0].differences[0]
    assert row.won > row.lost > 0
    won, lost = (round(100 * count / QUERIES, 2) for count in (row.won, row.lost))
    assert f'<rect width="{won}" height="5" fill="var(--accent)"/>' in page
    assert f'width="{lost}" height="5" fill="var(--miss)"/>' in page


def test_seeds_that_disagree_are_reported(make_comparison: MakeComparison, tmp_path: Path) -> None:
    text = page_of(make_comparison([0.1, 0.2], [0.3, 0.2]), tmp_path).text
    assert "margin 1 is better than margin 0 with these seeds" in text
    assert "other seeds may reverse the order" in text


def test_two_seeds_that_differ_much_have_no_interval(make_comparison: MakeComparison, tmp_path: Path) -> None:
    found = make_comparison([0.0, 0.3], [0.5, 0.2])
    assert found.groups[0].intervals["map@r"] is None and found.contrasts[0].over_seeds["map@r"] is None
    text = page_of(found, tmp_path).text
    assert "margin 1 is better than margin 0 with these seeds" in text
    assert "their interval is wider than the metric's range" in text


def test_the_largest_possible_number_of_groups_is_shown(make_comparison: MakeComparison, tmp_path: Path) -> None:
    found = make_comparison(*([0.01 * group] for group in range(26)))
    page = page_of(found, tmp_path)
    assert f"margin 25 is the best of 26 groups: map@r {found.groups[25].means['map@r']:.3f}" in page.text
    assert "adjusted for 25 comparisons" in page.text
    for number, group in enumerate(found.groups):
        assert f"margin {number}" in page.text and str(group.runs[0].path) in page.text
    for metric in metric_names():
        assert explain(metric) in page.text


def test_settings_that_differ_are_in_one_row(make_comparison: MakeComparison, tmp_path: Path) -> None:
    values: list[dict[str, object]] = [
        {"loss._target_": "some.losses.ArcFaceLoss", "model.head": None, "model.freeze": True, "seen": 1},
        {"loss._target_": "some.losses.TripletLoss", "model.head": "linear", "model.freeze": False, "seen": 1},
    ]
    text = page_of(make_comparison([0.1], [0.2], settings=values.__getitem__), tmp_path).text
    assert f"loss._target_ ArcFaceLoss TripletLoss model.head {DASH} linear model.freeze true false" in text
    twins: list[dict[str, object]] = [{"loss": "mine.Loss", "file": "data/a.csv"}, {"loss": "yours.Loss"}]
    text = page_of(make_comparison([0.1], [0.2], settings=twins.__getitem__), tmp_path).text
    assert f"loss mine.Loss yours.Loss file data/a.csv {DASH}" in text


def test_groups_with_equal_settings_are_reported(make_comparison: MakeComparison, tmp_path: Path) -> None:
    text = page_of(make_comparison([0.1], [0.2], settings=lambda group: {}), tmp_path).text
    assert "None. The runs have the same settings and seed" in text


def test_species_and_queries_that_changed_are_listed(make_comparison: MakeComparison, tmp_path: Path) -> None:
    found = make_comparison([0.1, 0.1], [0.4, 0.4])
    text = page_of(found, tmp_path).text
    before, after = (_means(group.runs) for group in found.groups)
    changes = before.join(after, on="path", suffix="_after").with_columns(gain=pl.col("value_after") - pl.col("value"))
    species = changes.group_by("label").agg(pl.col("value", "value_after", "gain").mean()).sort("gain", descending=True)
    subset = text.partition("sorted by the change in map@r.")[2].partition("Largest losses")[0]
    names = [label.replace("_", " ") for label in species["label"]]
    assert sorted(names, key=subset.index) == names
    for row in species.iter_rows(named=True):
        assert f"{row['value']:.3f} → {row['value_after']:.3f} {signed(row['gain'])}" in subset
    assert "Largest losses None." in text
    queries = text.partition("sorted by the change in correct images")[2]
    assert re.search(r"\w+/\d+\.png \d\.\d → \d\.\d 0\.\d+ → 0\.\d+ \+0\.\d+", queries)


def _means(members: Sequence[runs.TestedRun]) -> pl.DataFrame:
    tables = pl.concat([run.result.per_query.select("path", "label", value="map@r") for run in members])
    return tables.group_by("path").agg(pl.col("label").first(), pl.col("value").mean())


def test_images_are_shown_where_the_data_are_available(
    make_comparison: MakeComparison, data_root: Path, tmp_path: Path
) -> None:
    page = page_of(make_comparison([0.1, 0.1], [0.2, 0.2]), tmp_path)
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    strips = [tag for tag, _ in page.tags].count("article")
    rows = sum(attributes.get("class") == "asked-for" for _, attributes in page.tags)
    assert strips > 2 and rows > 8
    assert len(images) == (1 + 2 * 10) * strips + rows
    assert all(str(image["src"]).startswith("data:image/webp;base64,") and image["alt"] for image in images)
    assert "retrieved by the first run of each group" in page.text


def test_without_the_data_the_page_has_no_images(
    make_comparison: MakeComparison, data_root: Path, tmp_path: Path
) -> None:
    data_root.rename(tmp_path / "moved")
    page = page_of(make_comparison([0.1], [0.2]), tmp_path)
    assert "img" not in {tag for tag, _ in page.tags}
    assert "Retrieved images" not in page.text and "Queries with the largest changes" in page.text


def test_results_without_answers_are_compared_by_map_at_r(make_comparison: MakeComparison, tmp_path: Path) -> None:
    text = page_of(make_comparison([0.1], [0.2], answers=False), tmp_path).text
    assert "Hits in top 10" not in text
    assert "sorted by the change in map@r." in text


def test_nothing_is_loaded_from_elsewhere(make_comparison: MakeComparison, data_root: Path, tmp_path: Path) -> None:
    path = write_comparison(tmp_path / "comparison.html", make_comparison([0.1, 0.2], [0.2, 0.1], [0.3, 0.3]))
    page = path.read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert "http:" not in page and "https:" not in page
    assert not re.search(r"@import|url\((?!#)", page)
    for tag, attributes in Page(page).tags:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        assert str(attributes.get("src", "data:")).startswith("data:")
        assert str(attributes.get("href", "#")).startswith("#")
        assert tag != "svg" or attributes.get("aria-hidden") == "true"


def test_hostile_names_stay_text(make_comparison: MakeComparison, tmp_path: Path) -> None:
    hostile = '<script>alert("1")</script>'
    species = (hostile, "\"onload='x'", "{{ 7 * 7 }}", "Wren")
    found = make_comparison([0.1], [0.3], species=species, settings=lambda group: {hostile: f"{hostile}{group}"})
    path = write_comparison(tmp_path / "comparison.html", found)
    assert "<script" not in path.read_text(encoding="utf-8").lower(), "without images there is no script"
    page = Page(path.read_text(encoding="utf-8"))
    assert hostile in page.text and "{{ 7 * 7 }}" in page.text
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
