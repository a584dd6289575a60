"""Re-rank the first answers by local descriptors that match: the cells of the backbone's own feature map."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conspecific.data.splits import Subset
from conspecific.errors import DataError
from conspecific.evaluation.evaluate import evaluate, with_groups
from conspecific.evaluation.evaluator import Evaluator
from conspecific.index import GallerySearcher, Searcher
from conspecific.models import Embedder
from conspecific.types import EmbeddingSet, EvalResult, FloatArray, IntArray, Neighbors

DIMENSIONS = 128  # of a cell's descriptor
FITTED_ON = 256  # validation images, for the principal components of cells


class Cells(nn.Module):
    """A pooling that keeps the cells: feature map [B, C, h, w] -> their descriptors of length 1, [B, h * w * d]."""

    centre: Tensor
    matrix: Tensor

    def __init__(self, centre: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("matrix", matrix)

    def forward(self, features: Tensor) -> Tensor:
        cells = features.float().flatten(2).transpose(1, 2)
        return F.normalize((cells - self.centre) @ self.matrix, dim=2).flatten(1)


@dataclass(frozen=True)
class Fusion:
    """How the score of the embeddings and that of the cells become one: weights and means of each, [2]."""

    weights: FloatArray
    means: FloatArray

    @classmethod
    def fit(cls, scores: FloatArray, local: FloatArray, right: FloatArray) -> "Fusion":
        """Fit a logistic regression of which answers were right, on both scores; all [A].

        Raises DataError where all of the answers were right, or none.
        """
        if len(np.unique(right)) < 2:
            raise DataError("local re-ranking is calibrated on validation, where all answers were right, or none")
        from sklearn.linear_model import LogisticRegression  # takes a second

        both = np.stack([scores, local], axis=1)
        means, scales = both.mean(axis=0), np.maximum(both.std(axis=0), 1e-12)
        fitted = LogisticRegression(C=1e4).fit((both - means) / scales, right)
        return cls((fitted.coef_[0] / scales).astype(np.float32), means.astype(np.float32))

    def __call__(self, scores: FloatArray, local: FloatArray) -> FloatArray:
        fused = (np.stack([scores, local], axis=-1) - self.means) @ self.weights
        return fused.astype(np.float32)


class LocalSearcher:
    """Searches by embeddings, and orders the first answers anew by their scores and the cells that match.

    cells: descriptors [N, P, d]. row_of: sample id -> row among them. first: number of answers. fusion: None: those of
    the plain search. seconds: that matching has taken.
    """

    def __init__(
        self,
        gallery: EmbeddingSet,
        plain: GallerySearcher,
        cells: Tensor,
        row_of: IntArray,
        first: int,
        fusion: Fusion | None,
    ) -> None:
        self._plain, self.cells, self._row_of, self._fusion = plain, cells, row_of, fusion
        self.first, self.seconds = min(first, len(gallery)), 0.0
        self._label_of = np.full(len(row_of) + 1, -1)  # the last is of -1: no image
        self._label_of[gallery.ids] = gallery.labels

    @property
    def gallery_bytes(self) -> int:
        """What the search holds of the gallery in memory."""
        return self._plain.gallery_bytes + self.cells.nbytes

    def search(self, queries: EmbeddingSet, k: int) -> Neighbors:
        """Return the k nearest images of each query; those after the first keep the order of the plain search."""
        found = self._plain.search(queries, max(k, self.first))
        if self._fusion is None:
            return Neighbors(found.ids[:, :k], found.scores[:, :k])
        ids, scores = found.ids.copy(), found.scores.copy()
        head = slice(0, self.first)
        fused = self._fusion(np.maximum(scores[:, head], -1e9), self.match(queries.ids, ids[:, head]))
        fused[ids[:, head] < 0] = -np.inf
        order = np.argsort(-fused, axis=1, kind="stable")
        ids[:, head] = np.take_along_axis(ids[:, head], order, axis=1)
        lowest = np.where(np.isfinite(fused), fused, np.inf).min(axis=1, keepdims=True)
        lowest[~np.isfinite(lowest)] = 0  # a query without answers
        scores[:, self.first :] += lowest - found.scores[:, self.first - 1 : self.first]
        scores[:, head] = np.take_along_axis(fused, order, axis=1)
        return Neighbors(ids[:, :k], scores[:, :k])

    def rank_of_first_positive(self, queries: EmbeddingSet, beyond: int = 0) -> IntArray:
        """Return the 1-based rank of the nearest other image with the query's label; see `Searcher`."""
        ids = self.search(queries, self.first).ids
        right = (self._label_of[ids] == queries.labels[:, None]) & (ids >= 0)
        ranks = np.where(right.any(axis=1), np.maximum(right.argmax(axis=1) + 1, beyond + 1), 0)
        later = np.flatnonzero(ranks == 0)
        if later.size:
            rest = queries.select(queries.ids[later])
            ranks[later] = self._plain.rank_of_first_positive(rest, max(beyond, self.first))
        return ranks

    def match(self, asked: IntArray, ids: IntArray) -> FloatArray:
        """Return how well the cells of each query match those of its answers, [Q, N] in [0, 1].

        It is the mean over cells of the cosine similarity to the nearest cell of the other image, of those pairs in
        which each is the nearest of the other; 0 for the other cells.
        """
        began = time.perf_counter()
        found = np.zeros(ids.shape, np.float32)
        for query, (own, others) in enumerate(zip(asked.tolist(), ids, strict=True)):
            pairs = self.cells[self._row_of[others]].float() @ self.cells[self._row_of[own]].float().T
            best, back = pairs.max(dim=2), pairs.max(dim=1).indices
            mutual = back.gather(1, best.indices) == torch.arange(pairs.shape[1])
            found[query] = (best.values.clamp(min=0) * mutual).mean(dim=1).numpy()
        self.seconds += time.perf_counter() - began
        return found


@dataclass(frozen=True)
class LocalAnswers:
    """What local re-ranking gave. weights: of both scores, in standard deviations. per_query: seconds."""

    result: EvalResult
    weights: tuple[float, float]
    bytes_per_image: int
    per_query: float

    def __str__(self) -> str:
        """What it costs, and how much validation made of each score."""
        cost = f"Matching takes {1000 * self.per_query:.1f} ms a query, and {self.bytes_per_image:,} bytes an image."
        weights = f"the score of the embeddings weighs {self.weights[0]:.2f}, that of the cells {self.weights[1]:.2f}"
        return f"{cost} By validation, {weights} (in standard deviations)."


def evaluate_local(evaluator: Evaluator, embedder: Embedder, subset: str, first: int) -> LocalAnswers:
    """Score answers whose first ones are re-ranked by matching cells, calibrated on validation.

    The cells of the last feature map are described by their principal components on validation images, and two images
    are compared by their mutual nearest cells. As in WildFusion (Cermak, Picek, Adam, Neumann and Matas 2024,
    arXiv:2408.12934), both scores are calibrated on validation; here together, by logistic regression, so that the one
    that adds nothing gets no weight.
    """
    if first < 2:
        raise DataError(f"local must be 2 or more, the number of answers that are re-ranked; found {first}")
    cells = _fitted_cells(evaluator, embedder)
    fusion, weights = _calibrated(evaluator, embedder, cells, first)
    searcher, found = _searcher(evaluator, embedder, cells, subset, first, fusion)
    facts = {"subset": subset, "protocol": evaluator.splits.protocol, "image_size": evaluator.image_size}
    result = evaluate(
        found,
        evaluator.subset(subset),
        evaluator.manifest,
        embedder.metric,
        {"name": "model_local", "local": first, **facts},
        evaluator.ks,
        searcher=searcher,
        exclude_group=evaluator.exclude_group,
    )
    size = searcher.cells.nbytes // len(searcher.cells)
    return LocalAnswers(result, weights, size, searcher.seconds / int(result.facts["queries"]))


def _fitted_cells(evaluator: Evaluator, embedder: Embedder) -> Embedder:
    """Return the embedder of cells: its vectors are the descriptors of one image's cells."""
    channels = embedder.backbone.channels
    plain = _embedder_of(embedder, Cells(torch.zeros(channels), torch.eye(channels)))
    ids = evaluator.subset("val").ids
    ids = ids[np.unique(np.linspace(0, len(ids) - 1, FITTED_ON).astype(int))]
    sample = evaluator.embed({"cells": plain}, ids, "Describing cells")["cells"].vectors
    cells = torch.from_numpy(sample.reshape(-1, channels))
    centre = cells.mean(dim=0)
    _, axes = torch.linalg.eigh(torch.cov((cells - centre).T))
    return _embedder_of(embedder, Cells(centre, axes[:, -min(DIMENSIONS, channels) :].contiguous()))


def _embedder_of(embedder: Embedder, cells: Cells) -> Embedder:
    return Embedder(embedder.backbone, cells, nn.Identity(), normalize=False, search_head=False)


def _calibrated(
    evaluator: Evaluator, embedder: Embedder, cells: Embedder, first: int
) -> tuple[Fusion, tuple[float, float]]:
    """Return the fusion that tells right from wrong answers on validation, and its weights in standard deviations."""
    subset, labels = evaluator.subset("val"), evaluator.manifest.labels
    searcher, found = _searcher(evaluator, embedder, cells, "val", first, None)
    if evaluator.exclude_group:
        found = with_groups(found, evaluator.manifest)
    queries = found.select(subset.query)
    answers = searcher.search(queries, searcher.first)
    local = searcher.match(queries.ids, answers.ids)
    there = answers.ids >= 0
    right = labels[answers.ids] == queries.labels[:, None]
    fusion = Fusion.fit(answers.scores[there], local[there], right[there])
    spread = answers.scores[there].std(), local[there].std()
    return fusion, (float(fusion.weights[0] * spread[0]), float(fusion.weights[1] * spread[1]))


def _searcher(
    evaluator: Evaluator, embedder: Embedder, cells: Embedder, subset: str, first: int, fusion: Fusion | None
) -> tuple[LocalSearcher, EmbeddingSet]:
    """Return the search of a subset's gallery, and the embeddings of the subset."""
    part: Subset = evaluator.subset(subset)
    known = evaluator.activations.get(subset)
    both = {"model": embedder, "cells": cells}
    encoder = None if known else evaluator.encoder(embedder.backbone)
    found: dict[str, Any] = evaluator.embed(
        both, part.ids, f"Describing {subset}", known.rows if known else None, encoder
    )
    rows = np.zeros(len(evaluator.manifest), np.int64)
    rows[found["cells"].ids] = np.arange(len(part.ids))
    described = torch.from_numpy(found["cells"].vectors).half().view(len(part.ids), -1, _dimensions(cells))
    embeddings = found["model"]
    gallery = embeddings.select(part.gallery)
    if evaluator.exclude_group:
        gallery = with_groups(gallery, evaluator.manifest)
    return LocalSearcher(gallery, Searcher(gallery, embedder.metric), described, rows, first, fusion), embeddings


def _dimensions(cells: Embedder) -> int:
    assert isinstance(cells.pooling, Cells)
    return cells.pooling.matrix.shape[1]
