"""A map of embeddings: images in two dimensions, near each other where their embeddings are."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from conspecific.encoding import Encoder
from conspecific.evaluation.evaluator import Evaluator
from conspecific.files import write_whole
from conspecific.models import Embedder
from conspecific.parquet import write_parquet
from conspecific.types import FloatArray, IntArray

MOST, FEWEST = 600, 5  # images of a map: time and the size of a report, and what t-SNE can use
COMPONENTS, PERPLEXITY, SEED = 50, 30.0, 0  # van der Maaten and Hinton 2008


def write_map(
    file: Path, evaluator: Evaluator, embedders: Mapping[str, Embedder], encoder: Encoder | None = None
) -> None:
    """Write where a sample of the test images with a label is under each embedder.

    embedders: name -> embedder, such as flatten and model; what a backbone shares with activations that the evaluator
    has is not computed again. encoder: of the backbone of all of them, where there are no activations.
    The table has the columns path, label and, in [0, 1], NAME_x and NAME_y of each. Fewer than five images make no map.
    """
    ids = evaluator.subset("test").ids
    labelled = np.flatnonzero(evaluator.manifest.labels[ids] >= 0)
    places = labelled[spread(evaluator.manifest.labels[ids[labelled]], MOST)]
    if len(places) < FEWEST:
        return
    chosen = ids[places]
    columns: dict[str, FloatArray] = {}
    for name, embedder in embedders.items():
        known = evaluator.activations["test"] if evaluator.has_activations(embedder.backbone, "test") else None
        rows = known.rows.select(places) if known else None
        title, whole = f"Embedding the map, {name}", None if known else encoder
        found = evaluator.embed({name: embedder}, chosen, title, rows, whole)[name]
        with evaluator.phases.measure("scoring"):
            across, up = project(found.vectors).T
        columns |= {f"{name}_x": across, f"{name}_y": up}
    manifest = evaluator.manifest
    labels = [manifest.species[label] for label in manifest.labels[chosen]]
    table = pl.DataFrame({"path": manifest.table["path"].gather(chosen), "label": labels, **columns})
    with write_whole(file) as temporary:
        write_parquet(table, temporary)


def spread(labels: IntArray, most: int) -> IntArray:
    """Return the places of at most so many images, equally many of each species as far as there are, in their order."""
    order = np.random.default_rng(SEED).permutation(len(labels))
    turn = np.empty(len(labels), np.int64)  # how many of its species come before an image in this order
    counts: dict[int, int] = {}
    for place in order:
        turn[place] = counts[int(labels[place])] = counts.get(int(labels[place]), -1) + 1
    return np.sort(order[np.argsort(turn[order], kind="stable")][:most])


def project(vectors: FloatArray) -> FloatArray:
    """Return t-SNE of embeddings [N, D] as [N, 2] in [0, 1], started from principal components; N is 5 or more."""
    from sklearn.manifold import TSNE  # takes a second

    components = principal_components(vectors, COMPONENTS)
    spread_out = components[:, :2] / max(float(components[:, 0].std()), 1e-12) * 1e-4
    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    found = TSNE(2, perplexity=perplexity, init=spread_out.astype(np.float32), random_state=SEED, n_jobs=1)
    points = found.fit_transform(components)
    low, high = points.min(axis=0), points.max(axis=0)
    scaled: FloatArray = ((points - low) / np.maximum(high - low, 1e-12)).astype(np.float32)
    return scaled


def principal_components(vectors: FloatArray, most: int) -> FloatArray:
    """Return the principal components [N, most] of N vectors, by their inner products: D may be a hundred times N."""
    products = np.asarray(vectors @ vectors.T, np.float64)
    centered = products - products.mean(axis=0) - products.mean(axis=1)[:, None] + products.mean()
    values, axes = np.linalg.eigh(centered)
    kept = slice(None, -min(most, len(vectors)) - 1, -1)  # the largest first
    found: FloatArray = (axes[:, kept] * np.sqrt(np.maximum(values[kept], 0))).astype(np.float32)
    return found
