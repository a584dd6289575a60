"""What each training picture is confused with, for batches to be made of."""

import polars as pl

from conspecific.index import Searcher
from conspecific.types import EmbeddingSet, Metric

SEARCHED, KEPT = 100, 10


def hard_negatives(embeddings: EmbeddingSet, metric: Metric, copies: pl.DataFrame) -> dict[int, list[int]]:
    """Return, for each picture, up to KEPT of the nearest pictures of other species, nearest first.

    copies: pairs of sample ids, `first` and `second`, that are the same picture. One that is there under two species
    would teach to tell it from itself. Pictures that have no other species among the SEARCHED nearest are left out.
    """
    neighbors = Searcher(embeddings, metric).search(embeddings, min(SEARCHED, len(embeddings) - 1))
    label_of = dict(zip(embeddings.ids.tolist(), embeddings.labels.tolist(), strict=True))
    pairs = {frozenset(pair) for pair in copies.select("first", "second").iter_rows()}
    found = {}
    for index, nearest in zip(embeddings.ids.tolist(), neighbors.ids.tolist(), strict=True):
        others = [
            other for other in nearest if label_of[other] != label_of[index] and frozenset((index, other)) not in pairs
        ]
        if others:
            found[index] = others[:KEPT]
    return found
