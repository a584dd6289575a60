"""The comparison page: the numbers of the comparison, honest about chance, whole and safe with hostile names."""

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from string import ascii_uppercase

import numpy as np
import polars as pl
import pytest
from PIL import Image

from conspecific.evaluation import runs
from conspecific.evaluation.groups import Comparison, compare_runs
from conspecific.metrics import METRICS
from conspecific.reporting.comparison import rival, write_comparison
from conspecific.reporting.comparison_numbers import panel, verdict
from conspecific.reporting.wording import DASH, explain, signed
from conspecific.types import EvalResult

SPECIES = ("Blue_Jay", "Wren", "Robin", "Crow")
QUERIES = 80
ROLES = {"A": "baseline", "B": "model"}
MakeComparison = Callable[..., Comparison]


class Page(HTMLParser):
    """Every start tag with its attributes, and the visible text, its white space made single."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._words: list[str] = []
        self._styled = False
        self.feed(page.replace("<wbr>", ""))  # a place where a line may break is no blank

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._styled = tag == "style"
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self._styled = False

    def handle_data(self, data: str) -> None:
        if not self._styled:
            self._words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self._words)


def result_of(values: np.ndarray, species: Sequence[str], answers: bool, protocol: str) -> EvalResult:
    """A result whose every metric has these values; a query's right answers among ten are ten times its value."""
    labels = [species[query % len(species)] for query in range(len(values))]
    paths = [f"{label}/{query:03}.png" for query, label in enumerate(labels)]
    table = pl.DataFrame({"path": paths, "label": labels} | {name: values.tolist() for name in METRICS})
    if answers:
        hits = [[place < round(10 * value) for place in range(10)] for value in values]
        wrong = [[label if hit else species[0] for hit in row] for label, row in zip(labels, hits, strict=True)]
        table = table.with_columns(
            neighbor_hits=pl.Series(hits),
            neighbor_paths=pl.Series([paths[:10]] * len(paths)),
            neighbor_labels=pl.Series(wrong),
        )
    means = dict.fromkeys(METRICS, float(values.mean()))
    facts = {"protocol": protocol, "queries": len(values), "gallery": len(values), "species": len(species)}
    return EvalResult(means, means, table, facts)


@pytest.fixture
def make_comparison(tmp_path: Path) -> MakeComparison:
    """Return a function that compares made-up runs: a group for each list of gains, a run for each of them."""

    def make(
        *groups: Sequence[float],
        species: Sequence[str] = SPECIES,
        answers: bool = True,
        settings: Callable[[int], dict[str, object]] = lambda group: {"loss.margin": group},
        protocol: str = "seen",
    ) -> Comparison:
        rng = np.random.default_rng(0)
        queries, made = rng.random(QUERIES) * 0.4, []
        for group, gains in enumerate(groups):
            for seed, gain in enumerate(gains):
                values = np.clip(queries + gain + rng.normal(0, 0.05, QUERIES), 0, 1)
                result = result_of(values, species, answers, protocol)
                test = result.per_query.select("path", "label").with_columns(
                    content=pl.lit("same"), test_query=True, test_gallery=True
                )
                path = tmp_path / f"run-{group}-{seed}"
                path.mkdir(exist_ok=True)
                made.append(runs.TestedRun(path, seed, settings(group), test, result, result))
        return compare_runs(made)

    return make


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """The pictures of the made-up runs, and a summary of the first run that says where they are."""
    for query in range(QUERIES):
        path = tmp_path / "pictures" / SPECIES[query % len(SPECIES)] / f"{query:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (3 * query, 0, 0)).save(path)
    (tmp_path / "run-0-0").mkdir()
    (tmp_path / "run-0-0" / "summary.json").write_text(json.dumps({"data_root": str(tmp_path / "pictures")}))
    return tmp_path / "pictures"


def page_of(found: Comparison, folder: Path) -> Page:
    return Page(write_comparison(folder / "new" / "comparison.html", found).read_text(encoding="utf-8"))


def test_the_better_group_is_named_with_its_gain(make_comparison: MakeComparison, tmp_path: Path) -> None:
    found = make_comparison([0.1, 0.11, 0.09], [0.3, 0.32, 0.31])
    text = page_of(found, tmp_path).text
    low, high = (group.means["map@r"] for group in found.groups)
    assert f"B finds more: map@r {high:.3f} against {low:.3f}." in text
    [difference] = [row for row in found.contrasts[0].differences if row.metric == "map@r"]
    bounds = f"{signed(difference.by_query.low)} to {signed(difference.by_query.high)}"
    assert f"B against A, query by query: {signed(high - low)} in map@r (95 % interval over queries {bounds}" in text
    assert "other seeds would hardly turn it" in text
    assert f"the same {QUERIES} queries in {QUERIES} pictures of 4 species" in text


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
    assert text.count("may be chance") == len(METRICS)
    assert "over seeds" not in text.partition("How to read it")[0]


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


def test_the_best_of_each_metric_is_coloured_and_the_bars_are_the_shares(
    make_comparison: MakeComparison, tmp_path: Path
) -> None:
    found = make_comparison([0.1], [0.15])
    page = write_comparison(tmp_path / "comparison.html", found).read_text(encoding="utf-8")
    assert page.count(f'class="best">{found.groups[1].means["mrr"]:.3f}<') == len(METRICS)
    assert page.count('class="best"') == len(METRICS)
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
    for metric in METRICS:
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
    part = text.partition("Species that changed most")[2].partition("Queries that changed most")[0]
    names = [label.replace("_", " ") for label in species["label"]]
    assert sorted(names, key=part.index) == names
    for row in species.iter_rows(named=True):
        assert f"{row['value']:.3f} → {row['value_after']:.3f} {signed(row['gain'])}" in part
    assert "Lost most None." in part
    queries = text.partition("sorted by right answers")[2]
    assert re.search(r"\w+/\d+\.png \d\.\d → \d\.\d 0\.\d+ → 0\.\d+ \+0\.\d+", queries)


def _means(members: Sequence[runs.TestedRun]) -> pl.DataFrame:
    tables = pl.concat([run.result.per_query.select("path", "label", value="map@r") for run in members])
    return tables.group_by("path").agg(pl.col("label").first(), pl.col("value").mean())


def test_pictures_are_shown_where_they_still_are(
    make_comparison: MakeComparison, data_root: Path, tmp_path: Path
) -> None:
    page = page_of(make_comparison([0.1, 0.1], [0.2, 0.2]), tmp_path)
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    strips = [tag for tag, _ in page.tags].count("article")
    rows = sum(attributes.get("class") == "asked-for" for _, attributes in page.tags)
    assert strips > 2 and rows > 8
    assert len(pictures) == (1 + 2 * 10) * strips + rows
    assert all(str(picture["src"]).startswith("data:image/jpeg;base64,") and picture["alt"] for picture in pictures)
    assert "as the first run of each group found them" in page.text


def test_pictures_that_are_gone_leave_a_page_without(
    make_comparison: MakeComparison, data_root: Path, tmp_path: Path
) -> None:
    data_root.rename(tmp_path / "moved")
    page = page_of(make_comparison([0.1], [0.2]), tmp_path)
    assert "img" not in {tag for tag, _ in page.tags}
    assert "Their answers" not in page.text and "Queries that changed most" in page.text


@pytest.mark.parametrize("summary", ["{}", "{", '{"data_root": null}'])
def test_a_summary_that_names_no_pictures_is_no_error(
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
