"""Images that are there twice: the same file, or nearly the same image."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from PIL import Image, ImageOps
from rich.console import Console
from torch import Tensor

from conspecific.data.manifest import Manifest
from conspecific.images import open_rgb, to_tensor, workers_for
from conspecific.index import near_hashes
from conspecific.leaks import fingerprints as prints
from conspecific.leaks.fingerprints import Fingerprints, mirrored, view_box
from conspecific.models import Backbone, Embedder, keep_freed_memory, pooled_reference
from conspecific.progress import progress_bar
from conspecific.types import FloatArray, IntArray

VERSION = 1  # raise it when a change of code finds other pairs, so that tables kept from before are made anew
# What confirms a pair is the same network whatever a run trains: the thresholds below are calibrated for it, on
# photographs of birds, altered copies of them, and drawn butterflies; benchmarks/leaks.py measures again.
NETWORK = ("tf_efficientnet_lite0", "bundled")
RADIUS = 64  # of 256 bits, in which hashes of near copies differ at most
CLOSE = 32  # bits, up to which little is asked of the network: it minds a loss of sharpness that hashes do not see
SIMILAR_CLOSE, SIMILAR = 0.65, 0.88  # cosine similarity from which a pair is confirmed, up to CLOSE bits and beyond
NEAREST = 10  # candidates an image at most, so that a thousand frames of one scene are not a million pairs
IMAGE_SIZE, BATCH, CHUNK = 192, 32, 2048
SCHEMA = {
    "first": pl.Int64,
    "second": pl.Int64,
    "kind": pl.String,
    "view": pl.String,
    "distance": pl.Int64,
    "similarity": pl.Float64,
}


class Cut(NamedTuple):
    """A view of an image, mirrored or not."""

    image: int
    view: int
    mirror: bool


class Candidate(NamedTuple):
    """A whole image, and the view of another that looks like it from afar."""

    distance: int
    whole: int
    cut: Cut


def find_duplicates(
    manifest: Manifest,
    key: str,
    fingerprints: Fingerprints,
    cache: Path,
    device: torch.device | str,
    console: Console,
) -> pl.DataFrame:
    """Return the pairs of images that are copies of one another, from `cache` where it has them.

    key: the manifest's fingerprint.
    Columns: first, second (sample ids, first < second), kind, view, distance (bits), similarity (cosine); sorted.
    kind exact: the same bytes. Of n such files each but the first makes one row, with the first, so that the rows grow
        with n and not with its square; who needs all pairs of a group takes it from them, as `evaluation.leaks` does.
    kind near: hashes within RADIUS bits, confirmed by the pooled network. Of identical files only the first is
        compared, so a near pair stands for all copies of both. view: one is the other ("same"), "mirrored", "cropped"
        or "mirrored and cropped".
    Blank images are compared as files only. At most the NEAREST candidates of an image are looked at: in large
    crowds of near copies each is found with some of the others, not with all.
    """
    file = cache / "duplicates" / f"{key}-{prints.VERSION}-{VERSION}.parquet"
    if file.exists():
        return pl.read_parquet(file)
    exact = [(first, second, "exact", "same", 0, 1.0) for first, second in _identical(fingerprints.contents)]
    candidates = _candidates(fingerprints)
    similarities = _similarities(manifest, candidates, device, console)
    near = [
        (*sorted((pair.whole, pair.cut.image)), "near", _words(pair.cut), pair.distance, similarity)
        for pair, similarity in zip(candidates, similarities, strict=True)
        if similarity >= (SIMILAR_CLOSE if pair.distance <= CLOSE else SIMILAR)
    ]
    found = pl.DataFrame([*exact, *near], schema=SCHEMA, orient="row").sort("first", "second")
    _save(file, found)
    return found


def _save(file: Path, found: pl.DataFrame) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = file.with_name(f"{file.name}.{os.getpid()}.partial")
    found.write_parquet(whole)
    whole.replace(file)


def _identical(contents: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield each file that is a copy of an earlier one, behind the earliest."""
    firsts: dict[str, int] = {}
    for place, content in enumerate(contents):
        first = firsts.setdefault(content, place)
        if first != place:
            yield first, place


def _candidates(fingerprints: Fingerprints) -> list[Candidate]:
    """Each pair of different files once, as it looks most alike: the fewest bits, then unmirrored, then uncropped."""
    copies = {second for _, second in _identical(fingerprints.contents)}
    shown = np.flatnonzero(~fingerprints.blank)
    ids = shown[~np.isin(shown, list(copies))].astype(np.int64)
    hashes = fingerprints.hashes if len(ids) == len(fingerprints.contents) else fingerprints.hashes[ids]
    views = hashes.shape[1]
    best: dict[tuple[int, int], Candidate] = {}
    for mirror in (False, True):
        wholes = mirrored(hashes[:, 0]) if mirror else hashes[:, 0]
        # an image is the nearest to itself, or if symmetric to its mirror image: one more, to be left out
        hits = near_hashes(wholes, hashes.reshape(-1, hashes.shape[2]), RADIUS, group=views, limit=NEAREST + 1)
        for row, column, distance in zip(*(found.tolist() for found in hits), strict=True):
            place, view = divmod(column, views)
            pair = Candidate(distance, int(ids[row]), Cut(int(ids[place]), view, mirror))
            names = min(row, place), max(row, place)
            if row != place and (names not in best or _rank(pair) < _rank(best[names])):
                best[names] = pair
    return sorted(best.values(), key=lambda pair: (pair.whole, pair.cut))


def _rank(pair: Candidate) -> tuple[int, bool, int]:
    return pair.distance, pair.cut.mirror, pair.cut.view


def _words(cut: Cut) -> str:
    """What was done to an image to make the other of it."""
    return " and ".join(word for word, done in (("mirrored", cut.mirror), ("cropped", cut.view > 0)) if done) or "same"


def _similarities(
    manifest: Manifest,
    candidates: Sequence[Candidate],
    device: torch.device | str,
    console: Console,
) -> list[float]:
    """Cosine of each candidate's two sides; a cut is embedded once in each chunk, which bounds memory."""
    if not candidates:
        return []
    keep_freed_memory()
    embedder = pooled_reference(Backbone(*NETWORK)).eval().to(device)
    similarities: list[float] = []
    with progress_bar(console) as progress:
        task = progress.add_task("Confirming copies", total=len(candidates))
        for start in range(0, len(candidates), CHUNK):
            chunk = candidates[start : start + CHUNK]
            wholes = [Cut(pair.whole, 0, False) for pair in chunk]
            cuts = sorted({*wholes, *(pair.cut for pair in chunk)})
            row = {cut: number for number, cut in enumerate(cuts)}
            vectors = _embed(manifest, cuts, embedder, device)
            one, other = _rows(row, wholes), _rows(row, [pair.cut for pair in chunk])
            similarities += np.einsum("nd,nd->n", vectors[one], vectors[other]).tolist()
            progress.update(task, completed=len(similarities))
    return similarities


def _rows(row: dict[Cut, int], cuts: Sequence[Cut]) -> IntArray:
    return np.array([row[cut] for cut in cuts], np.int64)


def _embed(manifest: Manifest, cuts: Sequence[Cut], embedder: Embedder, device: torch.device | str) -> FloatArray:
    """Embeddings [len(cuts), D] of unit length."""
    vectors = []
    with torch.inference_mode(), ThreadPoolExecutor(max(1, workers_for(None))) as pool:
        for start in range(0, len(cuts), BATCH):
            images = pool.map(lambda cut: _image(manifest, cut), cuts[start : start + BATCH])
            vectors.append(embedder(torch.stack(list(images)).to(device)).cpu().numpy())
    return np.concatenate(vectors)


def _image(manifest: Manifest, cut: Cut) -> Tensor:
    """The view as the network sees it, uint8 [3, H, W]: squeezed to a square, because its centre is not the whole's."""
    image = open_rgb(manifest.path(cut.image), IMAGE_SIZE)
    left, top, right, bottom = view_box(cut.view)
    box = left * image.width, top * image.height, right * image.width, bottom * image.height
    view = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC, box=box)
    return to_tensor(ImageOps.mirror(view) if cut.mirror else view)
