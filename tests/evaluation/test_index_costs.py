"""What indexes cost, on embeddings whose best answers are known."""

from collections.abc import Callable

import numpy as np
import pytest

from conspecific.data.manifest import Manifest
from conspecific.data.splits import Subset
from conspecific.evaluation.index_costs import Flipped, IndexCost, index_costs
from conspecific.index.whitening import pca_whitened
from conspecific.types import EmbeddingSet


def test_each_way_is_measured_against_the_exact_search(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest([species for species in "abcdefgh" for _ in range(20)])
    rng = np.random.default_rng(0)
    centres = 3 * rng.standard_normal((8, 32))
    vectors = (centres[manifest.labels] + rng.standard_normal((160, 32))).astype(np.float32)
    ids = np.arange(160)
    subset, said = Subset(ids[::2], ids), list[str]()
    embeddings = EmbeddingSet(vectors, ids, manifest.labels)
    flipped = Flipped(EmbeddingSet(-vectors, ids, manifest.labels), 0.25)
    flipped.embeddings.vectors[:, 1:] *= -1
    costs = index_costs(
        embeddings, subset, manifest, "cosine", {"protocol": "seen"}, said.append, flipped, np.eye(32, dtype=np.float32)
    )
    names = [cost.name for cost in costs]
    assert names == said and names[:6] == ["exact", "hnsw", "ivf", "sq8", "fp16", "binary"], "too few images for ivfpq"
    assert names[6:11] == ["PCA 32", "first 16", "PCA 16", "first 8", "PCA 8"]
    assert names[11:] == ["expansion", "augmented", "reciprocal", "flip", "wiener"]
    found = dict(zip(names, costs, strict=True))
    assert found["exact"].recall == 1 and found["exact"].bytes_per_image == 128 and not found["exact"].differences
    assert found["fp16"].recall > 0.99 and found["fp16"].metrics["recall@1"] == found["exact"].metrics["recall@1"]
    assert found["reciprocal"].recall < 1 and len(found["reciprocal"].differences) == 2
    assert (
        found["reciprocal"].bytes_per_image > found["augmented"].bytes_per_image - 128 > found["exact"].bytes_per_image
    )
    assert found["flip"].build_seconds > 40 and found["flip"].queries_per_second < 4, "each image is encoded again"
    assert 0.8 < found["flip"].recall < 1, "one of the dimensions is gone"
    assert 7 <= found["wiener"].dimensions < 32, "eight species differ along seven axes"
    assert found["wiener"].metrics["map@r"] >= found["exact"].metrics["map@r"]
    assert found["first 8"].recall < found["first 16"].recall < 1
    assert [each.metric for each in found["sq8"].differences] == ["recall@1", "map@r"]
    assert found["first 8"].differences[1].value == pytest.approx(found["first 8"].metrics["map@r"])
    assert [IndexCost.from_json(cost.to_json()) for cost in costs] == costs


def test_pca_whitening_gives_uncorrelated_dimensions_of_variance_1() -> None:
    rng = np.random.default_rng(0)
    gallery = (rng.standard_normal((400, 12)) @ rng.standard_normal((12, 12)) + 5).astype(np.float32)
    whitened = pca_whitened(gallery, gallery, 5)
    assert whitened.dtype == np.float32
    np.testing.assert_allclose(np.cov(whitened, rowvar=False), np.eye(5), atol=1e-3)
    _, spread, axes = np.linalg.svd(gallery - gallery.mean(axis=0), full_matrices=False)  # another way to the same axes
    projected = (gallery - gallery.mean(axis=0)) @ axes[:5].T / spread[:5] * np.sqrt(399)
    np.testing.assert_allclose(np.abs(whitened), np.abs(projected), atol=1e-2)
