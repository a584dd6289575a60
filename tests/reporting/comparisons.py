"""Made-up runs to compare, and their page as a reader sees it."""

from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from conspecific.metrics import metric_names
from conspecific.reporting.comparison.page import write_comparison
from conspecific.runs import tested as runs
from conspecific.runs.groups import Comparison, compare_runs
from conspecific.types import EvalResult

SPECIES = ("Blue_Jay", "Wren", "Robin", "Crow")
QUERIES = 80
MakeComparison = Callable[..., Comparison]


class Page(HTMLParser):
    """Collects every start tag with its attributes, and the visible text with single spaces."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._words: list[str] = []
        self._styled = False
        self.feed(page.replace("<wbr>", ""))  # a possible line break is not a space

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._styled = tag in ("style", "script")
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
    """Return a result whose metrics all have these values; a query has ten times its value hits among ten."""
    labels = [species[query % len(species)] for query in range(len(values))]
    paths = [f"{label}/{query:03}.png" for query, label in enumerate(labels)]
    table = pl.DataFrame({"path": paths, "label": labels} | {name: values.tolist() for name in metric_names()})
    if answers:
        hits = [[place < round(10 * value) for place in range(10)] for value in values]
        wrong = [[label if hit else species[0] for hit in row] for label, row in zip(labels, hits, strict=True)]
        table = table.with_columns(
            neighbor_hits=pl.Series(hits),
            neighbor_paths=pl.Series([paths[:10]] * len(paths)),
            neighbor_labels=pl.Series(wrong),
        )
    means = dict.fromkeys(metric_names(), float(values.mean()))
    facts = {
        "name": "pooled",
        "protocol": protocol,
        "queries": len(values),
        "gallery": len(values),
        "species": len(species),
    }
    return EvalResult(means, means, table, facts)


@pytest.fixture
def make_comparison(tmp_path: Path) -> MakeComparison:
    """Return a function that compares made-up runs: a group for each list of gains, a run for each gain."""

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
                made.append(runs.TestedRun(path, tmp_path / "images", seed, settings(group), test, result, result))
        return compare_runs(made)

    return make


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """Write the images of the made-up runs."""
    for query in range(QUERIES):
        path = tmp_path / "images" / SPECIES[query % len(SPECIES)] / f"{query:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (3 * query, 0, 0)).save(path)
    return tmp_path / "images"


def page_of(found: Comparison, folder: Path) -> Page:
    return Page(write_comparison(folder / "new" / "comparison.html", found).read_text(encoding="utf-8"))
