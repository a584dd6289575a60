"""Folds: other divisions into training and validation images, where one validation part is too small to tell."""

from dataclasses import replace

import numpy as np

from conspecific.data.splits import Splits, Subset
from conspecific.types import IntArray

FEW = 1000  # training and validation images together: below, training several times takes minutes at most
QUERIES, SPECIES = 200, 10  # of all folds together, where there are that many: fewer cannot tell candidates apart
MOST = 5
FEWEST = 4  # species that are held out together, or half of them: among fewer, anything finds the right one


def folds_of(splits: Splits, labels: IntArray, asked: int | None, groups: IntArray | None = None) -> list[Splits]:
    """Return divisions of the training and validation images, that of the run first where it is one of them.

    No image is in the validation part of two of them. Under `unseen`, whole species are held out, four or half of all
    at least; else some images of each species. labels: of each sample id. asked: how many there are to be; None: as
    many as it takes for 200 queries and, under `unseen`, 10 species, and five at most; only the given one where the run
    has 1,000 images or more. There are fewer where images or species do not suffice. groups: of each sample id; no
    group is in both parts of a division, for which images are left out of training.
    """
    if asked == 1 or (asked is None and not trains_again(splits, None)):
        return [splits]
    if np.isin(labels[splits.val.query], labels[splits.train]).any():
        wanted = asked or _enough(QUERIES / len(splits.val.query))
        drawn = _images(splits, labels, groups, wanted - 1)
        return [splits, *(_divided(splits, ids, groups) for ids in drawn)]
    ids, own = everything(splits), np.unique(labels[splits.val.query]).size
    species = np.unique(labels[ids])
    size = max(own, min(FEWEST, species.size // 2))
    wanted = asked or _enough(max(QUERIES * species.size / (size * len(ids)), SPECIES / size))
    if size > own:
        return [_divided(splits, held_out, groups) for held_out in _species(ids, labels, size, wanted)]
    drawn = _species(splits.train, labels, size, wanted - 1)
    return [splits, *(_divided(splits, held_out, groups) for held_out in drawn)]


def trains_again(splits: Splits, asked: int | None) -> bool:
    """Whether the final weights are trained on the training and validation images together, see `folds_of`."""
    return asked > 0 if asked is not None else len(everything(splits)) < FEW


def everything(splits: Splits) -> IntArray:
    """Return the sample ids of training and validation images, ascending."""
    return np.union1d(splits.train, splits.val.query)


def _enough(folds: float) -> int:
    return min(MOST, int(np.ceil(folds)))


def _divided(splits: Splits, held_out: IntArray, groups: IntArray | None) -> Splits:
    """Return the splits with another validation part.

    Its gallery holds the training images where it did before, and the images that are neither trained on nor queries.
    """
    train = np.setdiff1d(everything(splits), held_out)
    if groups is not None:
        train = train[~np.isin(groups[train], groups[held_out])]
    is_searched = np.isin(splits.train, splits.val.gallery).all()
    gallery, distractors = train if is_searched else held_out, np.setdiff1d(splits.val.gallery, everything(splits))
    return replace(splits, train=train, val=Subset(held_out, np.append(gallery, distractors)))


def _species(ids: IntArray, labels: IntArray, size: int, count: int) -> list[IntArray]:
    """Draw the images of `size` whole species, `count` times."""
    own = np.random.default_rng(0).permutation(np.unique(labels[ids]))
    parts = [own[start : start + size] for start in range(0, len(own) - size + 1, size)]
    return [ids[np.isin(labels[ids], part)] for part in parts[:count]]


def _images(splits: Splits, labels: IntArray, groups: IntArray | None, count: int) -> list[IntArray]:
    """Draw as many images of each species as validation has, `count` times; a species without that many sits out.

    Images of a group are drawn one after another.
    """
    rng, parts = np.random.default_rng(0), [[splits.train[:0]] for _ in range(count)]
    for label in np.unique(labels[splits.val.query]):
        own = rng.permutation(splits.train[labels[splits.train] == label])
        if groups is not None:
            _, first, group = np.unique(groups[own], return_index=True, return_inverse=True)
            own = own[np.argsort(first[group], kind="stable")]
        size = int((labels[splits.val.query] == label).sum())
        for part, start in zip(parts, range(0, len(own) - size + 1, size), strict=False):
            part.append(own[start : start + size])
    found = [np.sort(np.concatenate(part)) for part in parts]
    most = len(splits.val.query)
    return [ids for ids in found if 2 * len(ids) > most]
