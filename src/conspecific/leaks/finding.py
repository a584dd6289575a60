"""Finding what training or validation shares with the test."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations, cycle, islice, permutations

import numpy as np
import polars as pl

from conspecific.data.manifest import Manifest
from conspecific.data.splits import Splits
from conspecific.leaks.image_hashes import ImageHashes
from conspecific.leaks.record import PAIRS, Leaks
from conspecific.leaks.spelling import SpellingMatch, same_species

SUBSETS = ("train", "val", "test")


def find_leaks(copies: pl.DataFrame, splits: Splits, manifest: Manifest, found: ImageHashes) -> Leaks:
    """Return what the subsets share.

    Each image counts as one of a single subset: test if it is a test query, else val if it is a validation query, else
    train if it is trained on, else test or val if it is in a gallery. So to train on the test's gallery, as
    `query_gallery` does, is not a leak, but a copy of a query in that gallery is one. Images without a label are of no
    subset: they are neither trained on nor searched with.

    copies: as `find_copies` returns them for these hashes.
    """
    subsets = _subsets(splits, len(manifest))
    subsets[manifest.distractors] = ""
    groups = _groups(copies)
    exact = copies.filter(pl.col("kind") == "exact")["first"].unique().to_list()
    near = copies.filter(pl.col("kind") == "near")
    rows = [("exact", "same", 1.0, *pair) for first in exact for pair in _across(groups[first], groups[first], subsets)]
    for first, second, view, similarity in near.select("first", "second", "view", "similarity").iter_rows():
        rows += [("near", view, similarity, *pair) for pair in _across(groups[first], groups[second], subsets)]
    inside = sum(max(0, int(np.sum(subsets[groups[first]] == "test")) - 1) for first in exact)
    for first, second in near.select("first", "second").iter_rows():
        inside += bool((subsets[groups[first]] == "test").any() and (subsets[groups[second]] == "test").any())
    names = manifest.table["label"].fill_null("").to_numpy().astype(object)
    species, respelt = _spellings(splits, subsets, names)
    return Leaks(
        pairs=_described(rows, subsets, manifest),
        inside=inside,
        species=species,
        compared=int(np.sum(subsets != "")),
        blank=int(np.sum(subsets[found.blank] != "")),
        crops=found.has_crops,
        respelt=respelt,
        synonyms=_synonyms(set(names[subsets != ""]), species),
        two_species=tuple(_two_species([groups[first] for first in exact], manifest)),
    )


def _subsets(splits: Splits, count: int) -> np.ndarray:
    """Return the subset [N] of each image, empty if it has none. Later lines overwrite earlier ones."""
    subsets = np.full(count, "", dtype="<U5")
    subsets[splits.test.gallery] = "test"
    subsets[np.setdiff1d(splits.val.gallery, splits.test.gallery)] = "val"
    subsets[splits.train] = "train"
    subsets[splits.val.query] = "val"
    subsets[splits.test.query] = "test"
    return subsets


def _groups(copies: pl.DataFrame) -> defaultdict[int, list[int]]:
    """Map the first of identical files to all of them, and every other image of a near pair to itself."""
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for first, second, kind in copies.select("first", "second", "kind").iter_rows():
        for name in (first, second) if kind == "near" else (first,):
            groups[name] = groups[name] or [name]
        if kind == "exact":
            groups[first].append(second)
    return groups


def _across(ones: list[int], others: list[int], subsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield pairs of images in different subsets, the earlier subset first.

    Every image that has a partner in another subset is in at least one pair with that subset; there are as many pairs
    as the larger side has images, not their product.

    ones, others: the groups on both sides of a near pair; the same list twice for identical files.
    """
    for first_subset, second_subset in combinations(SUBSETS, 2):
        for left, right in ((ones, others),) if ones is others else permutations((ones, others)):
            first = [index for index in left if subsets[index] == first_subset]
            second = [index for index in right if subsets[index] == second_subset]
            if first and second:
                longer = max(len(first), len(second))
                yield from zip(islice(cycle(first), longer), islice(cycle(second), longer), strict=True)


def _two_species(groups: Iterable[list[int]], manifest: Manifest) -> Iterator[str]:
    """Name, in each group of identical files, the first image with the first image of each other species."""
    for group in groups:
        firsts = {manifest.labels[index]: index for index in reversed(group) if manifest.labels[index] >= 0}
        if not firsts:
            continue
        first, *others = sorted(firsts.values())
        for other in others:
            yield " and ".join(
                f"{path} ({name})" for path, name in manifest.table["path", "label"][[first, other]].rows()
            )


def _described(rows: list[tuple[str, str, float, int, int]], subsets: np.ndarray, manifest: Manifest) -> pl.DataFrame:
    table = pl.DataFrame(rows, schema=list(PAIRS.items())[:5], orient="row")
    table = table.sort("kind", -pl.col("similarity"), "first_id", "second_id")
    for side in ("first", "second"):
        ids = table[f"{side}_id"].to_numpy()
        images = manifest.table[ids]
        table = table.with_columns(
            pl.Series(f"{side}_subset", subsets[ids].tolist(), pl.String),
            images["path"].alias(f"{side}_path"),
            images["label"].alias(f"{side}_label"),
        )
    return table.select(list(PAIRS))


def _spellings(
    splits: Splits, subsets: np.ndarray, names: np.ndarray
) -> tuple[tuple[SpellingMatch, ...], tuple[int, ...]]:
    """Return species that are on both sides of `unseen` under two names, and the ids to remove for the certain ones."""
    if splits.protocol != "unseen":
        return (), ()
    before = np.isin(subsets, ("train", "val"))
    found = same_species(set(names[before]), set(names[subsets == "test"]))
    certain = [match.name for match in found if match.certain]
    return tuple(found), tuple(np.flatnonzero(before & np.isin(names.astype(str), certain)).tolist())


def _synonyms(names: set[str], known: tuple[SpellingMatch, ...]) -> tuple[SpellingMatch, ...]:
    """Return pairs of names that may mean one species, each once, without those that are known."""
    listed = {frozenset((match.name, match.other)) for match in known}
    found = (match for match in same_species(names, names) if match.name < match.other)
    return tuple(match for match in found if frozenset((match.name, match.other)) not in listed)
