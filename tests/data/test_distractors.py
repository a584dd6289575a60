"""Images without a label, which are searched in and nothing else."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conspecific.data.check import check_manifest
from conspecific.data.manifest import Manifest
from conspecific.data.splits import Splits, Subset, split
from conspecific.errors import DataError
from conspecific.evaluation.evaluate import evaluate
from conspecific.evaluation.suspects import suspect_labels
from conspecific.leaks.finding import find_leaks
from conspecific.leaks.image_hashes import ImageHashes
from conspecific.leaks.perceptual import BITS, crops_of
from conspecific.types import EmbeddingSet

LABELS = [f"s{number:02}" for number in range(8)] * 9


def listed(more: list[dict[str, str | None]], **columns: list[str | None]) -> Manifest:
    """Eight species of nine images, and images without a label. columns: of the former."""
    table = pl.DataFrame({"path": [f"{row:03}.jpg" for row in range(72)], "label": LABELS, **columns})
    others = [{"path": f"x{row}.jpg", **each} for row, each in enumerate(more)]
    extra = pl.DataFrame(others, schema=dict.fromkeys(("path", "label", "split", "role", "group"), pl.String))
    return Manifest.from_table(Path("/images"), pl.concat([table, extra], how="diagonal_relaxed"))


def uses(splits: Splits, ids: np.ndarray) -> list[str]:
    """Return the galleries that each image is in, and that it is nothing else."""
    assert not np.isin(ids, np.concatenate([splits.train, splits.val.query, splits.test.query])).any()
    galleries = {"val": splits.val.gallery, "test": splits.test.gallery}
    return [" ".join(name for name, gallery in galleries.items() if each in gallery) for each in ids]


@given(st.sampled_from(["seen", "unseen", "query_gallery"]), st.integers(1, 12), st.integers(0, 9))
def test_the_others_are_divided_as_without_them(protocol: str, count: int, seed: int) -> None:
    plain, manifest = listed([]), listed([{}] * count)
    alone, splits = (split(each, protocol, seed=seed, gallery_images=6) for each in (plain, manifest))
    assert manifest.distractors.tolist() == list(range(72, 72 + count)) and manifest.species == plain.species
    found = uses(splits, manifest.distractors)
    if protocol == "query_gallery":
        assert set(found) == {"val test"}, "validation searches in the gallery of the test"
    else:
        assert found.count("val") == round(0.2 * count) and found.count("test") == count - found.count("val")
    np.testing.assert_array_equal(splits.train, alone.train)
    for part, other in ((splits.val, alone.val), (splits.test, alone.test)):
        np.testing.assert_array_equal(part.query, other.query)
        np.testing.assert_array_equal(np.setdiff1d(part.gallery, manifest.distractors), np.sort(other.gallery))


def test_the_split_column_decides_where_it_names_one() -> None:
    column: list[str | None] = [None] * 72
    manifest = listed([{"split": "val"}, {"split": "test"}, {"split": "train"}], split=column)
    assert uses(split(manifest, "seen"), manifest.distractors) == ["val", "test", ""]


def test_roles_decide_for_query_gallery() -> None:
    role: list[str | None] = ["gallery"] * 48 + ["query"] * 24
    manifest = listed([{"role": "gallery"}, {"role": "query"}, {"split": "val"}, {}], role=role)
    assert uses(split(manifest, "query_gallery"), manifest.distractors) == ["val test", "", "val", ""]


def test_one_is_where_the_others_of_its_group_are() -> None:
    groups: list[str | None] = [f"{row // 2}" for row in range(72)]
    own = [{"group": str(number)} for number in range(36)]
    manifest = listed([*own, {"group": "alone"}, {"group": "alone"}], group=groups)
    splits = split(manifest, "seen")
    parts = {"train": splits.train, "val": splits.val.query, "test": splits.test.query}
    where = {int(group): name for name, ids in parts.items() for group in manifest.groups[ids]}
    found = uses(splits, manifest.distractors)
    expected = [where[group].replace("train", "") for group in manifest.groups[manifest.distractors[:36]].tolist()]
    assert found[:36] == expected and found[36] == found[37] != ""


def test_they_are_named_and_counted_and_make_no_species_small() -> None:
    manifest = listed([{}, {}])
    assert "2 images without a label: x0.jpg, x1.jpg. A distractor is in a gallery" in manifest.describe_distractors()
    assert listed([]).describe_distractors() == ""
    fewer = Manifest.from_table(Path("/images"), manifest.table[3:], min_images=9)
    assert len(fewer.species) == 5 and fewer.few == ("s00", "s01", "s02") and fewer.distractors.size == 2


def test_one_is_a_wrong_answer() -> None:
    """Of images on a line, the nearest to the first two is one without a label."""
    table = pl.DataFrame({"path": list("abcd"), "label": ["owl", None, "owl", "wren"]})
    manifest = Manifest.from_table(Path("/images"), table)
    places = np.array([[0], [1], [3], [9]], np.float32)
    embeddings = EmbeddingSet(places, np.arange(4), manifest.labels)
    result = evaluate(embeddings, Subset(np.array([0, 2, 3]), np.arange(4)), manifest, "l2")
    assert result.metrics["recall@1"] == 0.0 and result.metrics["mrr"] == 0.5 and result.facts["excluded"] == 1
    assert result.per_query["neighbor_labels"].to_list() == [[None, "owl", "wren"], [None, "owl", "wren"]]
    assert result.per_query["neighbor_hits"].to_list() == [[False, True, False]] * 2


def test_a_table_without_any_label_can_be_embedded_and_not_trained_on(tmp_path: Path) -> None:
    manifest = Manifest.from_table(tmp_path, pl.DataFrame({"path": ["a", "b"], "label": ["", None]}))
    assert not manifest.labelled and manifest.distractors.size == 0
    with pytest.raises(DataError, match="no row of their table has a label"):
        check_manifest(manifest, tmp_path)


def test_copies_of_one_are_no_leaks_and_no_second_species() -> None:
    manifest = listed([{}])
    splits = split(manifest, "seen")
    pairs = {"first": [int(splits.train[0])], "second": [72], "kind": ["exact"], "view": ["same"], "similarity": [1.0]}
    hashes = np.zeros((73, crops_of(73), BITS // 8), np.uint8)
    found = ImageHashes(("",) * 73, hashes, np.zeros(73, np.bool_))
    leaks = find_leaks(pl.DataFrame(pairs), splits, manifest, found)
    assert leaks.pairs.is_empty() and not leaks.two_species and not leaks.synonyms and leaks.compared == 72


def test_suspects_are_looked_for_among_labels_alone() -> None:
    manifest = listed([{}] * 3)
    vectors = np.random.default_rng(0).normal(size=(75, 6)).astype(np.float32)
    found = suspect_labels(EmbeddingSet(vectors, np.arange(75), manifest.labels), manifest)
    assert found.height > 0
    assert not any(path.startswith("x") for path in (*found["path"], *found["nearest"], *found["nearest_suggested"]))
