"""What validation makes of local re-ranking, and the score of re-ranked answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from conspecific.data.dataset import EvaluationImages
from conspecific.errors import DataError
from conspecific.evaluation.compare import Difference, compare
from conspecific.evaluation.evaluate import evaluate, with_groups
from conspecific.evaluation.evaluator import Evaluator
from conspecific.evaluation.local.cells import CellDescriptors
from conspecific.evaluation.local.described import Described, LocalDescriptors
from conspecific.evaluation.local.fusion import Fusion
from conspecific.evaluation.local.searcher import LocalSearcher
from conspecific.evaluation.tables import format_interval
from conspecific.index import Searcher
from conspecific.models import Embedder
from conspecific.progress import progress_bar
from conspecific.types import EmbeddingSet, EvalResult

JUDGED = ("recall@1", "map@r")  # by what re-ranking pays


@dataclass(frozen=True)
class Calibration:
    """How both scores are fused, and what that does to the validation queries.

    first: answers that are re-ranked. name: of the descriptors. spread: standard deviations of both scores, [2].
    validated: the validation queries, re-ranked. gains: JUDGED, re-ranked against plain.
    """

    first: int
    name: str
    fusion: Fusion
    spread: tuple[float, float]
    validated: EvalResult
    gains: Sequence[Difference]

    @property
    def pays(self) -> bool:
        """Whether one of JUDGED is higher with certainty, and none lower."""
        certain = [each.interval.mean > 0 for each in self.gains if each.is_significant]
        return bool(certain) and all(certain)

    def __str__(self) -> str:
        told = "pays" if self.pays else "does not pay"
        found = ", ".join(
            f"{each.metric} {each.other:.3f} -> {each.value:.3f} ({format_interval(each.interval)})"
            for each in self.gains
        )
        return f"On validation, re-ranking the first {self.first} answers by matching {self.name} {told}: {found}"

    def weigh(self) -> str:
        """Return how much each score weighs."""
        own, local = (s * w for s, w in zip(self.spread, self.fusion.weights.tolist(), strict=True))
        told = f"the score of the embeddings weighs {own:.2f}, that of the {self.name} {local:.2f}"
        return f"By validation, {told} (in standard deviations)."


@dataclass(frozen=True)
class LocalAnswers:
    """What local re-ranking gave. per_query: seconds of matching. per_image: seconds of describing, 0 where the network
    does it."""

    result: EvalResult
    bytes_per_image: int
    per_query: float
    per_image: float

    def __str__(self) -> str:
        described = f"Describing takes {1000 * self.per_image:.1f} ms an image. " if self.per_image else ""
        costs = f"Matching takes {1000 * self.per_query:.1f} ms a query, and {self.bytes_per_image:,} bytes an image."
        return described + costs


def calibrate(evaluator: Evaluator, embedder: Embedder, kind: LocalDescriptors, first: int) -> Calibration:
    """Fit the fusion that tells right from wrong answers on validation, and score validation by it.

    As in WildFusion (Cermak, Picek, Adam, Neumann and Matas 2024, arXiv:2408.12934), both scores are calibrated on
    validation; here together, by logistic regression, so that the one that adds nothing gets no weight. Its two weights
    are judged by the queries that they were fitted to.
    Raises DataError for fewer than two answers, and where all answers were right, or none.
    """
    if first < 2:
        raise DataError(f"local must be 2 or more, the number of answers that are re-ranked; found {first}")
    subset, labels = evaluator.subset("val"), evaluator.manifest.labels
    searcher, found = _searcher(evaluator, embedder, kind, "val", first)
    queries = found.select(subset.query)
    answers = searcher.search(queries, searcher.first)
    local = searcher.match(queries.ids, answers.ids)
    there = answers.ids >= 0
    right = labels[answers.ids] == queries.labels[:, None]
    plain = _scored(evaluator, embedder, found, "val", searcher)
    searcher.fusion = Fusion.fit(answers.scores[there], local[there], right[there])
    reranked = _scored(evaluator, embedder, found, "val", searcher)
    gains = [each for each in compare(reranked, plain) if each.metric in JUDGED]
    spread = float(answers.scores[there].std()), float(local[there].std())
    return Calibration(first, kind.name, searcher.fusion, spread, reranked, gains)


def evaluate_local(
    evaluator: Evaluator, embedder: Embedder, kind: LocalDescriptors, calibration: Calibration, subset: str
) -> LocalAnswers:
    """Score answers of which the first ones are re-ranked by local descriptors that match."""
    searcher, found = _searcher(evaluator, embedder, kind, subset, calibration.first)
    searcher.fusion = calibration.fusion
    result, described = _scored(evaluator, embedder, found, subset, searcher), searcher.described
    per_image = described.seconds / max(described.computed, 1)
    return LocalAnswers(result, described.bytes_per_image, searcher.seconds / max(searcher.matched, 1), per_image)


def _scored(
    evaluator: Evaluator, embedder: Embedder, found: EmbeddingSet, subset: str, searcher: LocalSearcher
) -> EvalResult:
    facts = {"subset": subset, "protocol": evaluator.splits.protocol, "image_size": evaluator.image_size}
    return evaluate(
        found,
        evaluator.subset(subset),
        evaluator.manifest,
        embedder.metric,
        {"name": "model_local", "local": searcher.first, **facts},
        evaluator.ks,
        searcher=searcher,
        exclude_group=evaluator.exclude_group,
    )


def _searcher(
    evaluator: Evaluator, embedder: Embedder, kind: LocalDescriptors, subset: str, first: int
) -> tuple[LocalSearcher, EmbeddingSet]:
    """Return the search of a subset's gallery, as yet plain, and the embeddings of the subset."""
    part = evaluator.subset(subset)
    known = evaluator.activations.get(subset)
    networks = {"model": embedder} | ({"cells": kind.network} if isinstance(kind, CellDescriptors) else {})
    encoder = None if known else evaluator.encoder(embedder.backbone)
    rows = known.rows if known else None
    found = evaluator.embed(networks, part.ids, f"Describing {subset}", rows, encoder)
    images = EvaluationImages(evaluator.manifest, np.arange(len(evaluator.manifest)), kind.side)

    def read(sample_id: int) -> Tensor:
        image: Tensor = images[sample_id]["image"]
        return image

    described = Described(kind, read, evaluator.workers)
    if isinstance(kind, CellDescriptors):
        for sample_id, cells in zip(found["cells"].ids.tolist(), kind.split(found["cells"].vectors), strict=True):
            described.hold(sample_id, cells)
    else:
        with progress_bar(evaluator.console) as progress:
            for sample_id in progress.track(part.ids.tolist(), description=f"Finding {kind.name} of {subset}"):
                described.of([sample_id])
    embeddings = found["model"]
    if evaluator.exclude_group:
        embeddings = with_groups(embeddings, evaluator.manifest)
    gallery = embeddings.select(part.gallery)
    return LocalSearcher(gallery, Searcher(gallery, embedder.metric), described, first, None), embeddings
