"""Answers at the ranks above species."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from conspecific.data.manifest import Manifest
from conspecific.errors import RunError
from conspecific.evaluation.taxonomy import (
    MixUp,
    describe_ranks,
    mix_ups,
    recall_at_ranks,
    shared_ranks,
    sure_at,
    taxa_of,
)
from conspecific.runs.answers import Answers, Threshold
from conspecific.types import EvalResult, Neighbors

TAXA = {
    "genus": {"herring": "Larus", "common": "Larus", "tern": "Sterna", "tit": "Parus"},
    "family": {"herring": "Laridae", "common": "Laridae", "tern": "Laridae"},
}


def answered(rows: list[tuple[str, list[str | None], float]], **facts: Any) -> EvalResult:
    """Queries of a species, their answers, and the score of the first; others are of nothing known."""
    table = pl.DataFrame(
        {
            "id": range(len(rows)),
            "path": [f"{place}.jpg" for place in range(len(rows))],
            "label": [label for label, _, _ in rows],
            "neighbor_labels": [(answers + [None] * 10)[:10] for _, answers, _ in rows],
            "neighbor_scores": [[score, *[0.0] * 9] for _, _, score in rows],
        },
        schema_overrides={"neighbor_labels": pl.List(pl.String)},
    )
    return EvalResult({}, {}, table, {"name": "model", "taxa": TAXA, **facts})


ROWS: list[tuple[str, list[str | None], float]] = [
    ("herring", ["herring"] * 10, 0.9),
    ("herring", ["common", "herring"], 0.9),
    ("common", ["tern", None, "tern", None, None, "common"], 0.9),
    ("common", [None, "tit"], 0.9),
    ("tit", ["herring"] * 10, 0.9),
    ("tern", ["tern"] * 10, 0.9),
]


def test_recall_at_each_rank_counts_answers_of_the_taxon() -> None:
    found = {each.rank: each for each in recall_at_ranks(answered(ROWS))}
    assert list(found) == ["species", "genus", "family"]
    assert [found[rank].queries for rank in found] == [6, 6, 5], "the family of tits is not known"
    means = {rank: [interval.mean for interval in each.recall] for rank, each in found.items()}
    assert means["species"] == pytest.approx([2 / 6, 3 / 6, 4 / 6])
    assert means["genus"] == pytest.approx([3 / 6, 3 / 6, 4 / 6])
    assert means["family"] == pytest.approx([4 / 5, 4 / 5, 4 / 5])
    assert all(each.low <= each.mean <= each.high for rank in found.values() for each in rank.recall)


def test_mix_ups_know_the_lowest_rank_that_both_share() -> None:
    rows = [*ROWS, ("common", ["herring"], 0.9)]
    assert mix_ups(answered(rows)) == [
        MixUp("common", "herring", 2, "genus"),
        MixUp("common", "tern", 1, "family"),
        MixUp("herring", "tit", 1, None),
    ]
    assert shared_ranks(answered(rows)) == [("genus", 2), ("family", 1), (None, 1)]


def test_an_answer_is_given_at_the_lowest_rank_at_which_it_is_sure() -> None:
    same, mixed, far = ["herring"] * 10, ["herring", *["common"] * 9], ["herring", *["tern"] * 9]
    validation = answered(
        [("herring", same, 0.9)] * 19
        + [("herring", mixed, 0.9)] * 10
        + [("common", mixed, 0.8)] * 10
        + [("herring", far, 0.8)] * 2
    )
    tested = answered(
        [
            ("herring", same, 0.9),
            ("common", mixed, 0.9),
            ("herring", mixed, 0.9),
            ("common", same, 0.1),
            ("tit", far, 0.9),
        ]
    )
    species, genus, family = sure_at(validation, tested)
    assert (species.rank, species.threshold, species.answered, species.right) == ("species", pytest.approx(1), 0.2, 1.0)
    assert (genus.answered, genus.right) == (pytest.approx(0.6), 1.0), "one of them is below the score of validation"
    assert (family.answered, family.right) == (0.2, 0.0)
    told = describe_ranks(tested, validation)
    assert told[-1] == (
        "The lowest rank at which the answer to a query is sure: species for 20.0 % (100.0 % right), "
        "genus for 60.0 % (100.0 % right), family for 20.0 % (0.0 % right), none for 0.0 %"
    )


def test_a_query_of_a_new_species_can_be_right_at_its_genus() -> None:
    validation = answered([("herring", ["herring"] * 10, 0.9)] * 20)
    new = answered([("common", ["herring"] * 10, 0.5)]).per_query
    species, genus, _ = sure_at(validation, replace(validation, new=new))
    assert (species.answered, genus.answered, genus.right) == (20 / 21, pytest.approx(1 / 21), 1.0)


def test_without_ranks_nothing_is_said() -> None:
    result = answered(ROWS, taxa={})
    assert recall_at_ranks(result) == [] and describe_ranks(result, result) == []
    with pytest.raises(RunError, match="these taxa cannot be read"):
        taxa_of(answered(ROWS, taxa={"genus": 1}))


def test_a_search_rolls_its_answers_up(tmp_path: Path) -> None:
    labels = ["herring", "common", "herring", "tern", None]
    table = pl.DataFrame({"path": list("abcde"), "label": labels})
    manifest = replace(Manifest.from_table(tmp_path, table), taxa=TAXA)
    ids = np.array([[0, 2, 4, -1], [1, 0, 2, -1], [3, 1, 4, -1], [4, -1, -1, -1], [0, 2, 4, -1]])
    scores = np.full(ids.shape, 0.9, np.float32)
    scores[4] = 0.1
    shares = {"species": 0.5, "genus": 0.55, "family": 0.5}
    queries = (tmp_path,) * 5
    found = Answers(queries, manifest, Neighbors(ids, scores), tmp_path, Threshold(0.5, 0.95), shares)
    answers = [("species", "herring"), ("genus", "Larus"), ("family", "Laridae"), None, ("family", "Laridae")]
    assert [found.rolled_up(query) for query in range(5)] == answers
