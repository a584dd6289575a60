"""Labels that other images speak against."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from conspecific.data.manifest import Manifest
from conspecific.errors import DataError
from conspecific.evaluation.suspects import suspect_labels
from conspecific.types import EmbeddingSet

MakeManifest = Callable[..., Manifest]


def embedded(manifest: Manifest, true: np.ndarray, spread: float = 0.5, seed: int = 0) -> EmbeddingSet:
    """Clusters around a centre for each true species."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(int(true.max()) + 1, 24))
    vectors = (centres[true] + spread * rng.normal(size=(len(true), 24))).astype(np.float32)
    return EmbeddingSet(vectors, np.arange(len(true)), manifest.labels)


def test_swapped_labels_are_found_with_the_label_that_they_should_have(make_manifest: MakeManifest) -> None:
    true = np.repeat(np.arange(12), 20)
    given = true.copy()
    wrong = np.array([3, 44, 77, 130, 201])
    given[wrong] = (true[wrong] + 5) % 12
    manifest = make_manifest([f"species {number:02}" for number in given])
    table = suspect_labels(embedded(manifest, true), manifest)
    assert sorted(table["path"].head(5)) == sorted(manifest.table["path"].gather(wrong))
    for row in table.head(5).iter_rows(named=True):
        index = manifest.table["path"].to_list().index(row["path"])
        assert row["suggested"] == f"species {true[index]:02}" and row["label"] == f"species {given[index]:02}"
        assert row["evidence"] == pytest.approx(row["like_suggested"] - row["like_label"])
        assert row["nearest"].startswith(row["label"]) and row["nearest_suggested"].startswith(row["suggested"])
        assert row["path"] not in (row["nearest"], row["nearest_suggested"])
    assert table["evidence"].is_sorted(descending=True) and (table["evidence"] > 0).all()


def test_images_of_a_group_do_not_vouch_for_each_other(make_manifest: MakeManifest) -> None:
    """A burst of sixteen nearly equal wrens that are all labelled as owls, of which there are five more."""
    true = np.repeat([0, 1, 2, 1], [5, 40, 40, 16])
    given = np.repeat([0, 1, 2, 0], [5, 40, 40, 16])
    manifest = make_manifest([["owl", "wren", "jay"][number] for number in given])
    embeddings = embedded(manifest, true)
    embeddings.vectors[-16:] = embeddings.vectors[-1] + 0.1 * (embeddings.vectors[-16:] - embeddings.vectors[-1])
    bursts = [None] * 85 + ["burst"] * 16
    grouped = Manifest.from_table(manifest.root, manifest.table.with_columns(group=pl.Series(bursts)))
    burst = set(manifest.table["path"][-16:])
    together, apart = (
        table.filter(pl.col("path").is_in(list(burst)), pl.col("suggested") == "wren")
        for table in (suspect_labels(embeddings, grouped), suspect_labels(embeddings, manifest))
    )
    assert together.height == 16 > 2 * apart.height


def test_species_with_one_image_are_not_judged_and_too_few_are_refused(make_manifest: MakeManifest) -> None:
    manifest = make_manifest(["owl"] * 6 + ["wren"] * 6 + ["jay"])
    true = np.array([0] * 6 + [1] * 6 + [0])
    assert "jay/0012.jpg" not in suspect_labels(embedded(manifest, true), manifest)["path"].to_list()
    alone = make_manifest(["owl"] * 6 + ["wren"])
    with pytest.raises(DataError, match="two species or more with two images each"):
        suspect_labels(embedded(alone, np.array([0] * 6 + [1])), alone)
    with pytest.raises(DataError, match="all images of each are equal"):
        suspect_labels(
            EmbeddingSet(np.eye(2, dtype=np.float32)[[0] * 6 + [1] * 6 + [0]], np.arange(13), manifest.labels), manifest
        )
