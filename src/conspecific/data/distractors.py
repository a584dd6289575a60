"""Where images without a label are searched: distractors, which make a gallery larger and are nobody's positive."""

import numpy as np

from conspecific.data.manifest import Manifest
from conspecific.types import IntArray


def divide_distractors(
    manifest: Manifest, val: IntArray, test: IntArray, share: float, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Return the distractors of the validation gallery and those of the test gallery, ascending.

    The split column decides where it names one of the two; an image that it calls train is in neither. Of the others,
    one whose group has images with a label is where these are: in neither gallery if they are trained on or left out.
    The rest is drawn: `share` of its groups for validation.

    val, test: sample ids of the images with a label in each. share: in (0, 1).
    """
    own, groups = manifest.distractors, manifest.groups
    split = manifest.table["split"].gather(own).fill_null("").to_numpy()
    grouped = groups[own]
    drawn = np.isin(grouped, _some(np.unique(grouped), share, rng))
    placed = np.where(drawn, "val", "test").astype("<U5")
    placed[np.isin(grouped, groups[manifest.labels >= 0])] = "train"
    placed[np.isin(grouped, groups[val])] = "val"
    placed[np.isin(grouped, groups[test])] = "test"
    placed = np.where(split == "", placed, split)
    return own[placed == "val"], own[placed == "test"]


def distractors_by_role(manifest: Manifest) -> tuple[IntArray, IntArray]:
    """Return the distractors of the validation gallery alone and those of the test gallery, ascending.

    Where images have roles, those with the role gallery are in the test gallery; without roles, all that the split
    column calls neither train nor val.
    """
    own, table = manifest.distractors, manifest.table
    split, role = (table[name].gather(manifest.distractors).fill_null("").to_numpy() for name in ("split", "role"))
    has_roles = not table["role"].is_null().all()
    tested = role == "gallery" if has_roles else ~np.isin(split, ("train", "val"))
    return own[(split == "val") & ~tested], own[tested]


def _some(numbers: IntArray, share: float, rng: np.random.Generator) -> IntArray:
    return rng.permutation(numbers)[: round(len(numbers) * share)]
