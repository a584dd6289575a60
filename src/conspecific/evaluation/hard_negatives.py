"""What each training image is confused with, for batches to be made of."""

import polars as pl

from conspecific.index import Searcher
from conspecific.types import EmbeddingSet, Similarity

SEARCHED, KEPT = 100, 10


def hard_negatives(embeddings: EmbeddingSet, metric: Similarity, copies: pl.DataFrame) -> dict[int, list[int]]:
    """Return, for each image, up to KEPT of the nearest images of other species, nearest first.

    copies: pairs of sample ids, `first` and `second`, that are the same image. One that is there under two species
    would teach to tell it from itself. Images that have no other species among the SEARCHED nearest are left out.
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
