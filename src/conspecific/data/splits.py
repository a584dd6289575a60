"""The division into training, validation and test: three protocols, deterministic from a seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl

from conspecific.config.choices import Protocol
from conspecific.data.distractors import distractors_by_role, divide_distractors
from conspecific.data.groups import draw_groups
from conspecific.data.manifest import Manifest
from conspecific.errors import DataError, did_you_mean
from conspecific.files import write_whole
from conspecific.parquet import write_parquet
from conspecific.types import IntArray

SMALLEST_SEEN = 6  # images of a species that can be in train, validation and test, with a positive in each
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)


@dataclass(frozen=True)
class Subset:
    """Sample ids of queries and gallery; a query that is in the gallery is not its own positive."""

    query: IntArray
    gallery: IntArray

    @property
    def ids(self) -> IntArray:
        """The sample ids of queries and gallery, each once, ascending."""
        return np.union1d(self.query, self.gallery)

    def count_positives(self, labels: IntArray, groups: IntArray | None = None) -> IntArray:
        """Return R of each query [Q]: the number of images of its species in the gallery, without itself.

        labels: species number of each sample id, -1 for an unknown species, which has no positives. groups: number of
        the group of each sample id, where images of the query's group do not count either.
        """
        gallery, query = labels[self.gallery], labels[self.query]
        support = np.bincount(gallery[gallery >= 0], minlength=int(labels.max(initial=0)) + 1)
        own = np.isin(self.query, self.gallery) if groups is None else self._in_own_group(labels, groups)
        return np.where(query >= 0, support[query] - own, 0).astype(np.int64)

    def _in_own_group(self, labels: IntArray, groups: IntArray) -> IntArray:
        """Return how many images of the gallery have both species and group of each query, [Q]."""
        both = groups * (int(labels.max(initial=0)) + 2) + labels + 1  # a number for each pair
        pairs, counts = np.unique(both[self.gallery], return_counts=True)
        place = np.minimum(np.searchsorted(pairs, both[self.query]), len(pairs) - 1)
        found: IntArray = np.where(pairs[place] == both[self.query], counts[place], 0)
        return found


@dataclass(frozen=True)
class Splits:
    """Sample ids of the training images, and of the validation and test subsets.

    apart: how many images were left out of training or validation because others of their group are in validation or
        test.
    """

    protocol: Protocol
    train: IntArray
    val: Subset
    test: Subset
    apart: int = 0

    def table(self, manifest: Manifest, contents: Sequence[str]) -> pl.DataFrame:
        """Return a row an image: path, label, content (a hash of each file) and one bool column for each use."""
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
        return manifest.table.select("path", "label").with_columns(columns)

    def save(self, path: Path, manifest: Manifest, contents: Sequence[str]) -> None:
        """Write `table` as Parquet, with a checksum."""
        with write_whole(path) as temporary:
            write_parquet(self.table(manifest, contents), temporary)


def split(
    manifest: Manifest,
    protocol: str,
    *,
    seed: int = 0,
    test_share: float = 0.5,
    val_share: float = 0.2,
    gallery_images: int = 10,
    query_images: int = 3,
    exclude_group: bool = False,
) -> Splits:
    """Divide a manifest into training, validation and test under a protocol.

    seen: every species is in train and test. The test is the split column's, or else `test_share` of each species'
        images, drawn at random. Validation is the split column's, or else `val_share` of each species' training images.
    unseen: test species are not trained on. The test is the split column's if it shares no species with the rest;
        otherwise it is the last `test_share` of the species in the order of their names (the zero-shot protocol of Song
        et al. 2016). Validation is the split column's if it shares no species with train, or else `val_share` of the
        training species, drawn at random, two at least where there are five.
    query_gallery: the test is given by the role column; without one, the first `gallery_images` images of each species
        are the gallery and the next `query_images` the queries. Training images are those that the split column calls
        train, or else the gallery. In the latter case validation queries are `val_share` of each species' training
        images, and the validation gallery is the rest of them.

    Groups are drawn whole. Where species are divided, or the split column divides a group, images of training are left
    out whose group is in validation or test, and images of validation whose group is in test; under query_gallery,
    which trains on its gallery, the test is left as it is.

    Images without a label are distractors: in the gallery of validation or test, see `distractors`, and never a query
    nor trained on. The rest is divided as it is without them.

    Args:
        manifest: the images.
        protocol: seen, unseen or query_gallery.
        seed: of the random draws.
        test_share, val_share: shares in (0, 1).
        gallery_images, query_images: numbers of images per species.
        exclude_group: whether queries will be scored without the answers of their own group.

    Raises:
        DataError: the protocol is unknown, a share is out of range, a subset is empty or has too few species to train
            on or to score, or the split column is class-disjoint under seen.
    """
    for name, share in (("test_share", test_share), ("val_share", val_share)):
        if not 0 < share < 1:
            raise DataError(f"split.{name} must be between 0 and 1, both excluded; found {share}")
    if protocol not in PROTOCOLS:
        raise DataError(f"protocol={protocol} is unknown. {did_you_mean(protocol, PROTOCOLS)}")

    if len(manifest.species) < 2:
        raise DataError(
            f"all {len(manifest)} images are of one species, {manifest.species[0]}: two or more are needed. Is "
            f"{manifest.root} the folder that holds the species folders?"
        )

    def divide(name: str) -> Splits:
        rng = np.random.default_rng(seed)
        if name == "seen":
            splits = _seen(manifest, rng, test_share, val_share)
        elif name == "unseen":
            splits = _unseen(manifest, rng, test_share, val_share)
        else:
            splits = _query_gallery(manifest, rng, val_share, gallery_images, query_images)
        splits = _with_distractors(_groups_apart(splits, manifest), manifest, val_share, seed)
        require_usable(splits, manifest, exclude_group)
        return splits

    try:
        return divide(protocol)
    except DataError as error:
        usable = [f"protocol={name}" for name in PROTOCOLS if name != protocol and _succeeds(divide, name)]
        hint = f" As they are, these images can be used with {' or '.join(usable)}." if usable else ""
        raise DataError(f"{error}{hint}") from None


def _succeeds(divide: Callable[[str], Splits], protocol: str) -> bool:
    try:
        divide(protocol)
    except DataError:
        return False
    return True


def _seen(manifest: Manifest, rng: np.random.Generator, test_share: float, val_share: float) -> Splits:
    train, val, test = _named_split(manifest)
    most = int(np.bincount(manifest.labels[_labelled(manifest)]).max())
    if not (val.size or test.size) and most < SMALLEST_SEEN:
        raise DataError(
            f"protocol=seen needs {SMALLEST_SEEN} images of a species, two each in train, validation and test; no "
            f"species has more than {most}. Add images."
        )
    if train.size and test.size and not _share_species(manifest, train, test):
        raise DataError(
            "protocol=seen tests species that were trained on, but the split column has no species in both train and "
            "test."
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
        train, val = np.setdiff1d(_labelled(manifest), test), test[:0]
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
    test = Subset(*(ids[manifest.labels[ids] >= 0] for ids in (query, gallery)))
    train, val, _ = (np.setdiff1d(ids, test.ids) for ids in _named_split(manifest))
    if val.size:
        return Splits("query_gallery", train, Subset(val, val), test)
    if not train.size:
        train, val = _draw_images(manifest, test.gallery, val_share, rng)
        return Splits("query_gallery", train, Subset(val, train), test)
    cut = _draw_images if _share_species(manifest, train, test.ids) else _draw_species
    train, val = cut(manifest, train, val_share, rng)
    return Splits("query_gallery", train, Subset(val, val), test)


def _named_split(manifest: Manifest) -> tuple[IntArray, IntArray, IntArray]:
    """Return the sample ids of images with a label that the split column calls train, val and test."""
    column, labelled = manifest.table["split"], manifest.labels >= 0
    train, val, test = (
        np.flatnonzero((column == name).fill_null(False).to_numpy() & labelled) for name in ("train", "val", "test")
    )
    return train, val, test


def _labelled(manifest: Manifest) -> IntArray:
    return np.flatnonzero(manifest.labels >= 0)


def _all_but(manifest: Manifest, ids: IntArray) -> IntArray:
    return np.setdiff1d(_labelled(manifest), ids)


def _share_species(manifest: Manifest, ids: IntArray, others: IntArray) -> bool:
    return bool(np.intersect1d(manifest.labels[ids], manifest.labels[others]).size)


def _place_in_species(manifest: Manifest) -> IntArray:
    """Return [N], the position from 0 of each image among its species' images sorted by path."""
    rank = manifest.table.select(pl.col("path").rank("ordinal").over("label") - 1)
    return rank.to_series().to_numpy().astype(np.int64)


def _draw_images(
    manifest: Manifest, ids: IntArray, share: float, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Draw a share of each species' images. At least two are drawn, so that each has a positive, and two are kept."""
    if manifest.grouped:
        return draw_groups(manifest, ids, share, rng)
    kept, drawn = [ids[:0]], [ids[:0]]
    for label in np.unique(manifest.labels[ids]):
        own = rng.permutation(ids[manifest.labels[ids] == label])
        count = min(max(round(len(own) * share), 2), max(len(own) - 2, 0))
        drawn.append(own[:count])
        kept.append(own[count:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(drawn))


def _groups_apart(splits: Splits, manifest: Manifest) -> Splits:
    """Leave images out of training and validation where others of their group are in a later subset."""
    if not manifest.grouped or splits.protocol == "query_gallery":
        return splits
    groups = manifest.groups
    val = splits.val.ids[~np.isin(groups[splits.val.ids], groups[splits.test.ids])]
    train = splits.train[~np.isin(groups[splits.train], groups[np.union1d(val, splits.test.ids)])]
    apart = len(splits.val.ids) + len(splits.train) - len(val) - len(train)
    return replace(splits, train=train, val=Subset(val, val), apart=apart) if apart else splits


def _with_distractors(splits: Splits, manifest: Manifest, share: float, seed: int) -> Splits:
    """Add the images without a label to the galleries, see `distractors`."""
    if not manifest.distractors.size:
        return splits
    val, test = splits.val, splits.test
    if splits.protocol == "query_gallery":
        more_val, more_test = distractors_by_role(manifest)
        if np.isin(val.gallery, test.gallery).all():  # validation searches in the gallery, all that is in it included
            more_val = np.union1d(more_val, more_test)
    else:
        more_val, more_test = divide_distractors(manifest, val.ids, test.ids, share, np.random.default_rng(seed))
    val, test = (
        Subset(part.query, np.union1d(part.gallery, more)) for part, more in ((val, more_val), (test, more_test))
    )
    return replace(splits, val=val, test=test)


def _draw_species(
    manifest: Manifest, ids: IntArray, share: float, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    species = np.unique(manifest.labels[ids])
    fewest = 2 if len(species) > 4 else 1  # one by itself is found without any skill
    count = min(max(round(len(species) * share), fewest), len(species) - 1)
    drawn = np.isin(manifest.labels[ids], rng.permutation(species)[:count])
    return ids[~drawn], ids[drawn]


def _told_apart(splits: Splits) -> str:
    found = f"{splits.apart} of them left out because others of their group are in a later part"
    return f"; {found}" if splits.apart else ""


def require_usable(splits: Splits, manifest: Manifest, exclude_group: bool = False) -> None:
    """Raise DataError if a subset is empty or has too few species to train on or to score; see `split`."""
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
            f"({len(manifest)} images of {len(manifest.species)} species{_told_apart(splits)}). Add images, or change "
            "the split column or the split.* shares."
        )
    if np.unique(manifest.labels[splits.train]).size < 2:
        raise DataError(f"protocol={splits.protocol} leaves one species in train; two are needed. Add species.")
    # the test is scored last, with intervals over species: a test that cannot be scored must be refused before training
    for name, subset, needed in (("validation", splits.val, 1), ("test", splits.test, 2)):
        positives = subset.count_positives(manifest.labels, manifest.groups if exclude_group else None)
        answerable = subset.query[positives > 0]
        species = np.unique(manifest.labels[answerable]).size
        if species < needed:
            raise DataError(
                f"protocol={splits.protocol} leaves {species} species in {name} with a query and another image"
                f"{', of another group,' if exclude_group else ''} to find; {needed} needed. Add images or species, or "
                "change the split column or the split.* shares."
            )
