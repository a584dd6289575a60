"""Images that occur twice: identical files, and near-duplicates that are resized, cropped, mirrored or recompressed."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from PIL import Image, ImageOps
from rich.console import Console
from torch import Tensor

from conspecific.cached import cached
from conspecific.data.manifest import Manifest
from conspecific.encoding import Encoder, Encoders
from conspecific.files import cache_key
from conspecific.images import to_tensor, workers_for
from conspecific.index import near_hashes
from conspecific.leaks.image_hashes import ImageHashes, hashing_facts
from conspecific.leaks.perceptual import crop_box, mirrored
from conspecific.models import Backbone, Embedder, keep_freed_memory, pooled_reference
from conspecific.progress import progress_bar
from conspecific.types import FloatArray, IntArray

VERSION = 1  # raise it when a change of code finds other pairs, so that cached tables are computed again
# The same network confirms pairs whatever a run trains: the thresholds below are calibrated for it, on photographs of
# birds, altered copies of them, and drawn butterflies; benchmarks/leaks.py measures again.
NETWORK = ("tf_efficientnet_lite0", "bundled")
RADIUS = 64  # bits of 256 in which the hashes of a candidate pair differ at most
CLOSE = 32  # bits up to which the network is asked for less: blur lowers its similarity, but changes few bits
SIMILAR_CLOSE, SIMILAR = 0.65, 0.88  # cosine similarity that confirms a pair, up to CLOSE bits and beyond
NEAREST = 10  # candidates per image at most, so that 1,000 frames of one scene do not make 1,000,000 pairs
IMAGE_SIZE, BATCH, CHUNK, SAMPLE = 192, 32, 2048, 16
PAIRS = "pairs.parquet"
SCHEMA = {
    "first": pl.Int64,
    "second": pl.Int64,
    "kind": pl.String,
    "view": pl.String,
    "distance": pl.Int64,
    "similarity": pl.Float64,
}


class CropView(NamedTuple):
    """A crop of an image (see `perceptual.crop_box`; 0 is the whole), mirrored or not."""

    image: int
    crop: int
    mirror: bool


class Candidate(NamedTuple):
    """A whole image, and the crop of another image whose hash is near."""

    distance: int
    whole: int
    view: CropView


def find_copies(
    manifest: Manifest,
    key: str,
    found: ImageHashes,
    cache: Path,
    encoders: Encoders,
    console: Console,
) -> pl.DataFrame:
    """Return the pairs of images that are copies of one another, from `cache` if they are there.

    kind "exact": the same bytes. Of n identical files each but the first makes one row, paired with the first, so that
        rows grow with n and not with its square.
    kind "near": perceptual hashes within RADIUS bits, confirmed by the pooled network. Of identical files only the
        first is compared, so a near pair stands for all copies of both. view says how one image becomes the other:
        "same", "mirrored", "cropped" or "mirrored and cropped".

    Blank images are compared as files only. At most the NEAREST candidates of an image are compared: in a large group
    of near-duplicates each image is paired with some of the others, not with all.

    Args:
        manifest: the images.
        key: the manifest's fingerprint, see `data.check.check_manifest`.
        found: the hashes of its images.
        cache: folder of all caches.
        encoders: how the network runs; in float32, for which the thresholds are measured, whatever they ask for.
        console: where the progress bar is drawn.

    Returns:
        A table sorted by first and second (sample ids, first < second), with kind, view, distance (bits) and
        similarity (cosine).
    """
    thresholds = RADIUS, CLOSE, SIMILAR_CLOSE, SIMILAR, NEAREST

    def make(folder: Path) -> None:
        _compare(manifest, found, encoders, console).write_parquet(folder / PAIRS)

    name = cache_key(key, *hashing_facts(), VERSION, *NETWORK, IMAGE_SIZE, *thresholds)
    return pl.read_parquet(cached(cache / "copies" / name, make, encoders.say) / PAIRS, glob=False)


def _compare(manifest: Manifest, found: ImageHashes, encoders: Encoders, console: Console) -> pl.DataFrame:
    exact = [(first, second, "exact", "same", 0, 1.0) for first, second in _identical(found.contents)]
    candidates = _candidates(found)
    similarities = _similarities(manifest, candidates, encoders, console)
    near = [
        (*sorted((pair.whole, pair.view.image)), "near", _words(pair.view), pair.distance, similarity)
        for pair, similarity in zip(candidates, similarities, strict=True)
        if similarity >= (SIMILAR_CLOSE if pair.distance <= CLOSE else SIMILAR)
    ]
    return pl.DataFrame([*exact, *near], schema=SCHEMA, orient="row").sort("first", "second")


def _identical(contents: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the first of identical files with each of the others."""
    firsts: dict[str, int] = {}
    for row, content in enumerate(contents):
        first = firsts.setdefault(content, row)
        if first != row:
            yield first, row


def _candidates(found: ImageHashes) -> list[Candidate]:
    """Return each pair of different files once, in its nearest view: fewest bits, then unmirrored, then uncropped."""
    copies = {second for _, second in _identical(found.contents)}
    shown = np.flatnonzero(~found.blank)
    ids = shown[~np.isin(shown, list(copies))].astype(np.int64)
    hashes = found.hashes if len(ids) == len(found.contents) else found.hashes[ids]
    crops = hashes.shape[1]
    best: dict[tuple[int, int], Candidate] = {}
    for mirror in (False, True):
        wholes = mirrored(hashes[:, 0]) if mirror else hashes[:, 0]
        # an image, or its mirror image if it is symmetric, is its own nearest: ask for one more and leave it out
        hits = near_hashes(wholes, hashes.reshape(-1, hashes.shape[2]), RADIUS, group=crops, limit=NEAREST + 1)
        for row, column, distance in zip(*(part.tolist() for part in hits), strict=True):
            other, crop = divmod(column, crops)
            pair = Candidate(distance, int(ids[row]), CropView(int(ids[other]), crop, mirror))
            rows = min(row, other), max(row, other)
            if row != other and (rows not in best or _rank(pair) < _rank(best[rows])):
                best[rows] = pair
    return sorted(best.values(), key=lambda pair: (pair.whole, pair.view))


def _rank(pair: Candidate) -> tuple[int, bool, int]:
    return pair.distance, pair.view.mirror, pair.view.crop


def _words(view: CropView) -> str:
    """Say what makes one image of the other."""
    return (
        " and ".join(word for word, done in (("mirrored", view.mirror), ("cropped", view.crop > 0)) if done) or "same"
    )


def _similarities(
    manifest: Manifest,
    candidates: Sequence[Candidate],
    encoders: Encoders,
    console: Console,
) -> list[float]:
    """Return the cosine similarity of each pair; each view is embedded once per chunk, which bounds memory."""
    if not candidates:
        return []
    keep_freed_memory()
    embedder = pooled_reference(Backbone(*NETWORK)).eval().to(encoders.device)
    first = [CropView(pair.whole, 0, False) for pair in candidates[:SAMPLE]]
    encoder = replace(encoders, precision="float32").open(
        embedder.backbone, lambda: torch.stack([_image(manifest, view) for view in first]), len(candidates)
    )
    similarities: list[float] = []
    with progress_bar(console) as progress:
        task = progress.add_task("Confirming copies", total=len(candidates))
        for start in range(0, len(candidates), CHUNK):
            chunk = candidates[start : start + CHUNK]
            wholes = [CropView(pair.whole, 0, False) for pair in chunk]
            views = sorted({*wholes, *(pair.view for pair in chunk)})
            row = {view: number for number, view in enumerate(views)}
            vectors = _embed(manifest, views, embedder, encoder)
            one, other = _rows(row, wholes), _rows(row, [pair.view for pair in chunk])
            similarities += np.einsum("nd,nd->n", vectors[one], vectors[other]).tolist()
            progress.update(task, completed=len(similarities))
    return similarities


def _rows(row: dict[CropView, int], views: Sequence[CropView]) -> IntArray:
    return np.array([row[view] for view in views], np.int64)


def _embed(manifest: Manifest, views: Sequence[CropView], embedder: Embedder, encoder: Encoder) -> FloatArray:
    """Return embeddings [len(views), D] of unit length."""
    vectors = []
    with torch.inference_mode(), ThreadPoolExecutor(max(1, workers_for(None))) as pool:
        for start in range(0, len(views), BATCH):
            images = pool.map(lambda view: _image(manifest, view), views[start : start + BATCH])
            features = encoder(torch.stack(list(images))).to(embedder.backbone.mean.device)
            vectors.append(embedder.forward_head(features).cpu().numpy())
    return np.concatenate(vectors)


def _image(manifest: Manifest, view: CropView) -> Tensor:
    """Return the view as uint8 [3, H, W], resized to a square: a centre crop would not show the whole of it."""
    image = manifest.open_rgb(view.image, IMAGE_SIZE)
    left, top, right, bottom = crop_box(view.crop)
    box = left * image.width, top * image.height, right * image.width, bottom * image.height
    square = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC, box=box)
    return to_tensor(ImageOps.mirror(square) if view.mirror else square)
