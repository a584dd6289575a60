"""A search whose answers are refined without training."""

from dataclasses import replace
from typing import Protocol

import numpy as np

from conspecific.config.choices import NO_REFINING, REFINEMENTS, check_choice
from conspecific.config.refine import RefineConfig
from conspecific.errors import ConfigError
from conspecific.index.expansion import AugmentedScores, QueryExpansion
from conspecific.index.gallery import block_slices, random_order, require_groups
from conspecific.index.reciprocal import ReciprocalScores
from conspecific.index.searcher import GallerySearcher, Searcher
from conspecific.index.whitening import GalleryAxes, Whitening
from conspecific.index.wiener import WienerFilter
from conspecific.types import EmbeddingSet, FloatArray, IntArray, Neighbors, Similarity

LENDING = "database_augmentation", "k_reciprocal"  # images of the gallery lend to each other


class AllScores(Protocol):
    """Scores of queries for all images of a gallery: [Q, N], higher is nearer, finite.

    What it returns for a query's own sample id is not used.
    """

    @property
    def nbytes(self) -> int: ...

    def __call__(self, queries: EmbeddingSet) -> FloatArray: ...


class ScoreSearcher:
    """Searches like `Searcher`, by what scores queries for all images of the gallery at once."""

    def __init__(self, gallery: EmbeddingSet, scores: AllScores) -> None:
        order = random_order(len(gallery))  # ties are ordered as in an exact search
        self._order, self._scores = order, scores
        self._ids, self._labels, self._groups = gallery.ids[order], gallery.labels[order], gallery.left_out[order]
        self._grouped = gallery.groups is not None

    @property
    def gallery_bytes(self) -> int:
        """What the search holds of the gallery in memory."""
        return self._scores.nbytes

    def search(self, queries: EmbeddingSet, k: int) -> Neighbors:
        """Return the k nearest gallery images of each query, other than itself and its group; see `Searcher.search`."""
        if k < 1:
            raise ValueError(f"k must be at least 1; found {k}")
        ids = np.full((len(queries), k), -1)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        for part in self._parts(queries):
            found, order = self._ranked(queries.select(queries.ids[part]))
            kept = order[:, :k]
            best = np.take_along_axis(found, kept, axis=1)
            scores[part, : kept.shape[1]] = best
            ids[part, : kept.shape[1]] = np.where(best > -np.inf, self._ids[kept], -1)
        return Neighbors(ids, scores)

    def rank_of_first_positive(self, queries: EmbeddingSet, beyond: int = 0) -> IntArray:
        """Return the 1-based rank of the nearest other image with the query's label; see `Searcher`."""
        ranks = np.zeros(len(queries), np.int64)
        for part in self._parts(queries):
            block = queries.select(queries.ids[part])
            found, order = self._ranked(block)
            positive = (self._labels == block.labels[:, None]) & (block.labels[:, None] >= 0) & (found > -np.inf)
            ranked = np.take_along_axis(positive, order, axis=1)
            ranks[part] = np.where(ranked.any(axis=1), np.maximum(ranked.argmax(axis=1) + 1, beyond + 1), 0)
        return ranks

    def _ranked(self, queries: EmbeddingSet) -> tuple[FloatArray, IntArray]:
        """Return scores [Q, N] by place, -inf for the query itself and its group, and the places, nearest first."""
        require_groups(queries, self._grouped)
        scores = self._scores(queries)[:, self._order]
        scores[self._groups == queries.left_out[:, None]] = -np.inf
        return scores, np.argsort(-scores, axis=1, kind="stable")

    def _parts(self, queries: EmbeddingSet) -> list[slice]:
        return block_slices(len(queries), 32 * len(self._ids))


def gallery_axes(config: RefineConfig, gallery: FloatArray, within: FloatArray | None) -> GalleryAxes | None:
    """Return what whitens or filters embeddings by a gallery [N, D]; None where neither is asked for.

    within: covariance [D, D] of embeddings within species. Raises ConfigError where the filter is to do without, and
    DataError for a gallery that is too small.
    """
    if config.whitening:
        return Whitening.fit(gallery)
    if not config.wiener:
        return None
    if within is None:
        raise ConfigError(
            "refine.wiener needs the covariance of embeddings within species, and this gallery was made without: make "
            "it again of a run that has within_species.safetensors, or leave it out"
        )
    return WienerFilter.fit(gallery, within)


def search_refined(
    gallery: EmbeddingSet,
    queries: EmbeddingSet,
    metric: Similarity,
    config: RefineConfig,
    k: int,
    searcher: GallerySearcher | None = None,
    within: FloatArray | None = None,
) -> Neighbors:
    """Return the k nearest images of each query, whitened or filtered and refined as asked for.

    searcher: of the plain search. within: see `gallery_axes`. Raises ConfigError for flip, which needs embeddings of
    mirrored images, and for an unknown method.
    """
    config.require_unflipped()
    if (axes := gallery_axes(config, gallery.vectors, within)) is not None:
        gallery = replace(gallery, vectors=axes(gallery.vectors))
        queries, searcher = replace(queries, vectors=axes(queries.vectors)), None
    return make_refined(gallery, metric, config, searcher).search(queries, k)


def make_refined(
    gallery: EmbeddingSet, metric: Similarity, config: RefineConfig, searcher: GallerySearcher | None = None
) -> GallerySearcher:
    """Return a searcher of the gallery that refines its answers. searcher: of the plain search; None: an exact one.

    A query leaves itself out by its sample id before anything is averaged or compared. Scores are not those of a plain
    search, and a threshold on these means nothing for them. Raises ConfigError for an unknown method.
    """
    check_choice("refine.method", config.method, REFINEMENTS)
    if gallery.groups is not None and config.method in LENDING:
        raise ConfigError(
            f"refine.method={config.method} compares images of the gallery with each other and leaves out the query "
            "alone, not its group: with exclude_group=true choose query_expansion or none"
        )
    searcher = searcher or Searcher(gallery, metric)
    if config.method == NO_REFINING:
        return searcher
    if config.method == "query_expansion":
        return QueryExpansion(gallery, metric, searcher, config.expanded_by, config.alpha)
    if config.method == "database_augmentation":
        return ScoreSearcher(gallery, AugmentedScores(gallery, metric, config.augmented_by))
    reciprocal = ReciprocalScores(gallery, metric, config.k1, config.k2, config.distance_weight)
    return ScoreSearcher(gallery, reciprocal)
