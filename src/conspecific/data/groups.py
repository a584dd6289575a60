"""Drawing whole groups of images, as bursts, visits or individuals."""

import numpy as np

from conspecific.data.manifest import Manifest
from conspecific.types import IntArray


def draw_groups(manifest: Manifest, ids: IntArray, share: float, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Draw whole groups until about a share of each species' images is drawn; return what is kept, and what is drawn.

    A group may hold several species: it is drawn if more than half of it is still missing. Of each species one group is
    kept at least; one is drawn at least where there are two, and two where there are four, so that each has a positive
    in another group: the smallest where those drawn at random do not suffice.
    """
    labels, groups = manifest.labels[ids], manifest.groups[ids]
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    species = [np.unique(labels[rows], return_counts=True) for rows in members]
    total = np.bincount(labels)
    missing = np.minimum(np.maximum(np.round(total * share), 2), np.maximum(total - 2, 0))
    remaining = np.bincount(np.concatenate([own for own, _ in species]))
    lacking = np.minimum(remaining // 2, 2)  # groups of each species that must still be drawn
    drawn = np.zeros(len(ids), np.bool_)

    def draw(place: int) -> None:
        own, counts = species[place]
        drawn[members[place]] = True
        missing[own] -= counts
        remaining[own] -= 1
        lacking[own] -= 1

    for place in rng.permutation(len(members)).tolist():
        own, counts = species[place]
        wanted = np.minimum(counts, np.maximum(missing[own], 0)).sum()
        if 2 * wanted > counts.sum() and (remaining[own] > 1).all():
            draw(place)
    for place in np.argsort([len(rows) for rows in members], kind="stable").tolist():
        own, _ = species[place]
        if (lacking[own] > 0).any() and (remaining[own] > 1).all() and not drawn[members[place][0]]:
            draw(place)
    return ids[~drawn], ids[drawn]
