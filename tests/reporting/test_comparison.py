"""The comparison page: the numbers of the comparison, honest about chance, whole and safe with hostile names."""

import re
from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase

import polars as pl
import pytest

from conspecific.metrics import metric_names
from conspecific.reporting.comparison.page import write_comparison
from conspecific.reporting.page.wording import DASH, explain, signed
from conspecific.runs import tested as runs

from .comparisons import QUERIES, MakeComparison, Page, page_of


def test_the_better_group_is_named_with_its_gain(make_comparison: MakeComparison, tmp_path: Path) -> None:
    found = make_comparison([0.1, 0.11, 0.09], [0.3, 0.32, 0.31])
    text = page_of(found, tmp_path).text
    low, high = (group.means["map@r"] for group in found.groups)
    assert f"B finds more: map@r {high:.3f} against {low:.3f}." in text
    [difference] = [row for row in found.contrasts[0].differences if row.metric == "map@r"]
    bounds = f"{signed(difference.by_query.low)} to {signed(difference.by_query.high)}"
    assert f"B against A, query by query: {signed(high - low)} in map@r (95 % interval over queries {bounds}" in text
    assert "other seeds would hardly turn it" in text
    assert f"the same {QUERIES} queries in {QUERIES} images of 4 species" in text


def test_every_number_of_every_difference_is_on_the_page(make_comparison: MakeComparison, tmp_path: Path) -> None:
    found = make_comparison([0.1, 0.12], [0.15, 0.2], [0.2, 0.3], protocol="unseen")
    text = page_of(found, tmp_path).text
    for contrast in found.contrasts:
        for row in contrast.differences:
            over_seeds = contrast.over_seeds[row.metric]
            assert over_seeds is not None
            for interval in (row.by_query, row.by_species, over_seeds):
                assert f"{signed(interval.low)} … {signed(interval.high)}" in text
            assert f"{row.won} · {row.unchanged} · {row.lost}" in text
    for group in found.groups:
        spread, interval = group.deviations["mrr"], group.intervals["mrr"]
        assert spread is not None and interval is not None
        assert (
            f"{group.means['mrr']:.3f} ± {spread:.3f} {interval.low:.3f} to {interval.high:.3f}".replace("-", "\u2212")
            in text
        )
    assert "Interval over species counts here" in text
    assert "adjusted for 2 comparisons" in text


def test_the_first_group_may_be_the_better(make_comparison: MakeComparison, tmp_path: Path) -> None:
    found = make_comparison([0.3], [0.1])
    text = page_of(found, tmp_path).text
    gain = -found.contrasts[0].differences[0].interval.mean
    assert "A finds more" in text
    assert f"A against B, query by query: {signed(gain)} in map@r" in text
    assert "What other seeds would say is not known" in text


def test_what_may_be_chance_is_said_to_be(make_comparison: MakeComparison, tmp_path: Path) -> None:
    text = page_of(make_comparison([0.2], [0.2]), tmp_path).text
    assert "No difference that could not be chance" in text
    assert text.count("may be chance") == len(metric_names())
    assert "over seeds" not in text.partition("How to read it")[0]


def test_the_best_of_each_metric_is_coloured_and_the_bars_are_the_shares(
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


def test_seeds_that_disagree_are_said_to(make_comparison: MakeComparison, tmp_path: Path) -> None:
    text = page_of(make_comparison([0.1, 0.3], [0.35, 0.2]), tmp_path).text
    assert "B finds more with these seeds" in text
    assert "other seeds might turn it" in text


def test_all_of_the_most_groups_there_can_be_are_shown(make_comparison: MakeComparison, tmp_path: Path) -> None:
    found = make_comparison(*([0.01 * group] for group in range(26)))
    page = page_of(found, tmp_path)
    assert f"Of 26 groups, Z finds most: map@r {found.groups[25].means['map@r']:.3f}" in page.text
    assert "adjusted for 25 comparisons" in page.text
    for letter, group in zip(ascii_uppercase, found.groups, strict=True):
        assert letter in page.text and str(group.runs[0].path) in page.text
    for metric in metric_names():
        assert explain(metric) in page.text


def test_settings_that_differ_stand_beside_each_other(make_comparison: MakeComparison, tmp_path: Path) -> None:
    values: list[dict[str, object]] = [
        {"loss._target_": "some.losses.ArcFaceLoss", "model.head": None, "model.freeze": True, "seen": 1},
        {"loss._target_": "some.losses.TripletLoss", "model.head": "linear", "model.freeze": False, "seen": 1},
    ]
    text = page_of(make_comparison([0.1], [0.2], settings=values.__getitem__), tmp_path).text
    assert f"loss._target_ ArcFaceLoss TripletLoss model.head {DASH} linear model.freeze true false" in text
    twins: list[dict[str, object]] = [{"loss": "mine.Loss", "file": "data/a.csv"}, {"loss": "yours.Loss"}]
    text = page_of(make_comparison([0.1], [0.2], settings=twins.__getitem__), tmp_path).text
    assert f"loss mine.Loss yours.Loss file data/a.csv {DASH}" in text


def test_groups_that_differ_in_no_setting_are_said_to(make_comparison: MakeComparison, tmp_path: Path) -> None:
    text = page_of(make_comparison([0.1], [0.2], settings=lambda group: {}), tmp_path).text
    assert "None: the same settings and the same seed" in text


def test_species_and_queries_that_changed_are_listed(make_comparison: MakeComparison, tmp_path: Path) -> None:
    found = make_comparison([0.1, 0.1], [0.4, 0.4])
    text = page_of(found, tmp_path).text
    before, after = (_means(group.runs) for group in found.groups)
    changes = before.join(after, on="path", suffix="_after").with_columns(gain=pl.col("value_after") - pl.col("value"))
    species = changes.group_by("label").agg(pl.col("value", "value_after", "gain").mean()).sort("gain", descending=True)
    subset = text.partition("Species that changed most")[2].partition("Queries that changed most")[0]
    names = [label.replace("_", " ") for label in species["label"]]
    assert sorted(names, key=subset.index) == names
    for row in species.iter_rows(named=True):
        assert f"{row['value']:.3f} → {row['value_after']:.3f} {signed(row['gain'])}" in subset
    assert "Lost most None." in subset
    queries = text.partition("sorted by right answers")[2]
    assert re.search(r"\w+/\d+\.png \d\.\d → \d\.\d 0\.\d+ → 0\.\d+ \+0\.\d+", queries)


def _means(members: Sequence[runs.TestedRun]) -> pl.DataFrame:
    tables = pl.concat([run.result.per_query.select("path", "label", value="map@r") for run in members])
    return tables.group_by("path").agg(pl.col("label").first(), pl.col("value").mean())


def test_images_are_shown_where_they_still_are(
    make_comparison: MakeComparison, data_root: Path, tmp_path: Path
) -> None:
    page = page_of(make_comparison([0.1, 0.1], [0.2, 0.2]), tmp_path)
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    strips = [tag for tag, _ in page.tags].count("article")
    rows = sum(attributes.get("class") == "asked-for" for _, attributes in page.tags)
    assert strips > 2 and rows > 8
    assert len(images) == (1 + 2 * 10) * strips + rows
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") and image["alt"] for image in images)
    assert "as the first run of each group found them" in page.text


def test_images_that_are_gone_leave_a_page_without(
    make_comparison: MakeComparison, data_root: Path, tmp_path: Path
) -> None:
    data_root.rename(tmp_path / "moved")
    page = page_of(make_comparison([0.1], [0.2]), tmp_path)
    assert "img" not in {tag for tag, _ in page.tags}
    assert "Their answers" not in page.text and "Queries that changed most" in page.text


@pytest.mark.parametrize("summary", ["{}", "{", '{"data_root": null}'])
def test_a_summary_that_names_no_images_is_no_error(
    make_comparison: MakeComparison, tmp_path: Path, summary: str
) -> None:
    found = make_comparison([0.1], [0.2])
    (tmp_path / "run-0-0" / "summary.json").write_text(summary)
    assert "B finds more" in page_of(found, tmp_path).text


def test_results_without_answers_are_compared_by_map_at_r(make_comparison: MakeComparison, tmp_path: Path) -> None:
    text = page_of(make_comparison([0.1], [0.2], answers=False), tmp_path).text
    assert "Right in ten" not in text
    assert "sorted by map@r." in text


def test_nothing_is_loaded_from_elsewhere(make_comparison: MakeComparison, data_root: Path, tmp_path: Path) -> None:
    path = write_comparison(tmp_path / "comparison.html", make_comparison([0.1, 0.2], [0.2, 0.1], [0.3, 0.3]))
    page = path.read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert "http:" not in page and "https:" not in page
    assert not re.search(r"@import|url\((?!#)", page)
    for tag, attributes in Page(page).tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base"}
        assert str(attributes.get("src", "data:")).startswith("data:")
        assert str(attributes.get("href", "#")).startswith("#")
        assert tag != "svg" or attributes.get("aria-hidden") == "true"


def test_hostile_names_stay_text(make_comparison: MakeComparison, tmp_path: Path) -> None:
    hostile = '<script>alert("1")</script>'
    species = (hostile, "\"onload='x'", "{{ 7 * 7 }}", "Wren")
    found = make_comparison([0.1], [0.3], species=species, settings=lambda group: {hostile: f"{hostile}{group}"})
    path = write_comparison(tmp_path / "comparison.html", found)
    assert "<script" not in path.read_text(encoding="utf-8").lower()
    page = Page(path.read_text(encoding="utf-8"))
    assert hostile in page.text and "{{ 7 * 7 }}" in page.text
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
