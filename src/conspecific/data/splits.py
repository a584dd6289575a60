"""Who trains, who validates, who tests: the three protocols, deterministic from a seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl

from conspecific.data.manifest import Manifest
from conspecific.errors import DataError, did_you_mean
from conspecific.files import write_whole
from conspecific.types import IntArray

Protocol = Literal["seen", "unseen", "query_gallery"]


@dataclass(frozen=True)
class Subset:
    """Sample ids to search with and to search in; where both are the same images, each query leaves itself out."""

    query: IntArray
    gallery: IntArray

    @property
    def ids(self) -> IntArray:
        """Every sample id of the subset once, ascending."""
        return np.union1d(self.query, self.gallery)

    def count_positives(self, labels: IntArray) -> IntArray:
        """Return R of each query: images of its species in the gallery, itself excluded.

        labels: species by sample id, -1 where unknown, which is nobody's positive.
        """
        gallery, query = labels[self.gallery], labels[self.query]
        support = np.bincount(gallery[gallery >= 0], minlength=int(labels.max(initial=0)) + 1)
        found = support[query] - np.isin(self.query, self.gallery)
        return np.where(query >= 0, found, 0).astype(np.int64)


@dataclass(frozen=True)
class Splits:
    """Sample ids of the training images, and the validation and test subsets."""

    protocol: Protocol
    train: IntArray
    val: Subset
    test: Subset

    def save(self, path: Path, manifest: Manifest, contents: Sequence[str]) -> None:
        """Write a Parquet table: path, label, content (a hash of each file) and one bool column for each use."""
        uses = {
            "train": self.train,
            "val_query": self.val.query,
            "val_gallery": self.val.gallery,
            "test_query": self.test.query,
            "test_gallery": self.test.gallery,
        }
        ids = np.arange(len(manifest))
        columns = [
            pl.Series("content", contents),
            *(pl.Series(name, np.isin(ids, used)) for name, used in uses.items()),
        ]
        table = manifest.table.select("path", "label").with_columns(columns)
        with write_whole(path) as temporary:
            table.write_parquet(temporary)


def split(
    manifest: Manifest,
    protocol: str,
    *,
    seed: int = 0,
    test_share: float = 0.5,
    val_share: float = 0.2,
    gallery_images: int = 10,
    query_images: int = 3,
) -> Splits:
    """Divide a manifest under a protocol.

    seen: every species in train and test. The manifest's split column is used where it has one, else `test_share` of
        each species' images are drawn. Validation is `val_share` of each species' training images.
    unseen: species disjoint. A split column whose test shares no species with the rest is used; otherwise the species
        sorted by name are cut, the last `test_share` of them to test (the zero-shot protocol of Song et al. 2016).
        Validation is `val_share` of the training species, or the split column's where it shares none with train.
    query_gallery: the role column names the test subset; without one, each species' first `gallery_images` images
        are the gallery and its next `query_images` the queries. Training images are those the split column calls
        train, or else the gallery; then validation searches with `val_share` of each species' training images in
        the rest of them, as the test searches the gallery with images from outside.

    Raises DataError when the protocol is unknown, a share is outside (0, 1), a subset comes out empty or with too few
    species to train on or to score, or the split column is class-disjoint where the protocol is seen.
    """
    for name, share in (("test_share", test_share), ("val_share", val_share)):
        if not 0 < share < 1:
            raise DataError(f"split.{name} must lie between 0 and 1, both excluded; found {share}")
    rng = np.random.default_rng(seed)
    match protocol:
        case "seen":
            splits = _seen(manifest, rng, test_share, val_share)
        case "unseen":
            splits = _unseen(manifest, rng, test_share, val_share)
        case "query_gallery":
            splits = _query_gallery(manifest, rng, val_share, gallery_images, query_images)
        case _:
            raise DataError(f"protocol={protocol} is unknown. {did_you_mean(protocol, get_args(Protocol))}")
    require_usable(splits, manifest)
    return splits


def _seen(manifest: Manifest, rng: np.random.Generator, test_share: float, val_share: float) -> Splits:
    train, val, test = _named_split(manifest)
    if train.size and test.size and not _share_species(manifest, train, test):
        raise DataError(
            "protocol=seen tests species that were trained on, and the split column's test has none of its train: "
            "choose protocol=unseen, which such a division is for"
        )
    if not test.size:
        train, test = _draw_images(manifest, _all_but(manifest, val), test_share, rng)
    if not val.size:
        train, val = _draw_images(manifest, train, val_share, rng)
    return Splits("seen", train, Subset(val, val), Subset(test, test))


def _unseen(manifest: Manifest, rng: np.random.Generator, test_share: float, val_share: float) -> Splits:
    train, val, test = _named_split(manifest)
    if not test.size or _share_species(manifest, np.union1d(train, val), test):
        first_test = len(manifest.species) - round(len(manifest.species) * test_share)
        test = np.flatnonzero(manifest.labels >= first_test)
        train, val = np.flatnonzero(manifest.labels < first_test), test[:0]
    if not val.size or _share_species(manifest, train, val):
        train, val = _draw_species(manifest, np.union1d(train, val), val_share, rng)
    return Splits("unseen", train, Subset(val, val), Subset(test, test))


def _query_gallery(
    manifest: Manifest, rng: np.random.Generator, val_share: float, gallery_images: int, query_images: int
) -> Splits:
    role = manifest.table["role"]
    if role.is_null().all():
        place = _place_in_species(manifest)
        gallery = np.flatnonzero(place < gallery_images)
        query = np.flatnonzero((place >= gallery_images) & (place < gallery_images + query_images))
    else:
        query, gallery = (np.flatnonzero((role == name).fill_null(False).to_numpy()) for name in ("query", "gallery"))
    test = Subset(query, gallery)
    train, val, _ = (np.setdiff1d(ids, test.ids) for ids in _named_split(manifest))
    if val.size:
        return Splits("query_gallery", train, Subset(val, val), test)
    if not train.size:
        train, val = _draw_images(manifest, gallery, val_share, rng)
        return Splits("query_gallery", train, Subset(val, train), test)
    cut = _draw_images if _share_species(manifest, train, test.ids) else _draw_species
    train, val = cut(manifest, train, val_share, rng)
    return Splits("query_gallery", train, Subset(val, val), test)


def _named_split(manifest: Manifest) -> tuple[IntArray, IntArray, IntArray]:
    """Return the sample ids that the split column calls train, val and test."""
    column = manifest.table["split"]
    train, val, test = (
        np.flatnonzero((column == name).fill_null(False).to_numpy()) for name in ("train", "val", "test")
    )
    return train, val, test


def _all_but(manifest: Manifest, ids: IntArray) -> IntArray:
    return np.setdiff1d(np.arange(len(manifest)), ids)


def _share_species(manifest: Manifest, ids: IntArray, others: IntArray) -> bool:
    return bool(np.intersect1d(manifest.labels[ids], manifest.labels[others]).size)


def _place_in_species(manifest: Manifest) -> IntArray:
    """Return [N]: each image's place, from 0, among its species' images sorted by path."""
    rank = manifest.table.select(pl.col("path").rank("ordinal").over("label") - 1)
    return rank.to_series().to_numpy().astype(np.int64)


def _draw_images(
    manifest: Manifest, ids: IntArray, share: float, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Draw a share of each species' images: two at least, so that each finds another, and two at least are kept."""
    kept, drawn = [ids[:0]], [ids[:0]]
    for label in np.unique(manifest.labels[ids]):
        own = rng.permutation(ids[manifest.labels[ids] == label])
        count = min(max(round(len(own) * share), 2), max(len(own) - 2, 0))
        drawn.append(own[:count])
        kept.append(own[count:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(drawn))


def _draw_species(
    manifest: Manifest, ids: IntArray, share: float, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    species = np.unique(manifest.labels[ids])
    count = min(max(round(len(species) * share), 1), len(species) - 1)
    drawn = np.isin(manifest.labels[ids], rng.permutation(species)[:count])
    return ids[~drawn], ids[drawn]


def require_usable(splits: Splits, manifest: Manifest) -> None:
    """Raise DataError when a subset is empty, or has too few species to be trained on or scored."""
    subsets = {
        "train": splits.train,
        "validation queries": splits.val.query,
        "validation gallery": splits.val.gallery,
        "test queries": splits.test.query,
        "test gallery": splits.test.gallery,
    }
    empty = [name for name, ids in subsets.items() if not ids.size]
    if empty:
        raise DataError(
            f"protocol={splits.protocol} leaves no images for: {', '.join(empty)} "
            f"({len(manifest)} images of {len(manifest.species)} species). Add images, or change the split "
            "column or the split.* shares."
        )
    if np.unique(manifest.labels[splits.train]).size < 2:
        raise DataError("training needs images of two species at least; found one. Add species.")
    # the test is scored last and compared over species: what cannot be must not come to light only then
    for name, subset, needed in (("validation", splits.val, 1), ("test", splits.test, 2)):
        answerable = subset.query[subset.count_positives(manifest.labels) > 0]
        species = np.unique(manifest.labels[answerable]).size
        if species < needed:
            raise DataError(
                f"protocol={splits.protocol} leaves {species} species in {name} with a query and another image to "
                f"find; {needed} needed. Add images or species, or change the split column or the split.* shares."
            )
