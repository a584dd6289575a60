"""What is asked of a person: about a suspect label, an image that may be of a new species, or a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from conspecific.data.manifest import Manifest
from conspecific.evaluation.clusters import NearestSpecies
from conspecific.runs.answers import Threshold
from conspecific.types import EmbeddingSet, FloatArray, IntArray, Neighbors

LABEL, KNOWN, CLUSTER = "suspect label", "known or new", "cluster"  # kinds, in the order in which they are asked
BESIDE = 3  # images of the suggested species that an image or a cluster is shown with


@dataclass(frozen=True, slots=True)
class Beside:
    """An image to compare with. row: of the known images, see `Question`. caption: what it is."""

    row: int
    caption: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question about one image or several.

    kind: LABEL, KNOWN or CLUSTER. images: rows of the reviewed manifest whose label is asked for. suggested: the
    species that they may be. told: why they are worth a look. beside: images to compare with, rows of the known images:
    the reviewed ones for LABEL, those of the run else.
    """

    kind: str
    images: tuple[int, ...]
    suggested: str
    told: str
    beside: tuple[Beside, ...]


def label_questions(suspects: pl.DataFrame, manifest: Manifest) -> list[Question]:
    """Ask about each row of what `suspect_labels` returned."""
    row_of = {path: row for row, path in enumerate(manifest.table["path"])}
    return [
        Question(
            LABEL,
            (row_of[row["path"]],),
            row["suggested"],
            f"It is labelled {shown(row['label'])} and looks more like {shown(row['suggested'])}: similarity "
            f"{row['like_suggested']:.3f} against {row['like_label']:.3f}.",
            (
                Beside(row_of[row["nearest_suggested"]], f"nearest {shown(row['suggested'])}"),
                Beside(row_of[row["nearest"]], f"nearest {shown(row['label'])}"),
            ),
        )
        for row in suspects.iter_rows(named=True)
    ]


def known_questions(
    rows: IntArray, found: Neighbors, known: Manifest, threshold: Threshold, most: int
) -> list[Question]:
    """Ask about the images whose best score is nearest to the threshold, up to `most` of them, the nearest first.

    rows: [Q] of the images without a label. found: their nearest known images, [Q, BESIDE] or fewer.
    """
    best = found.scores[:, 0]
    order = np.argsort(np.abs(best - threshold.score), kind="stable")[:most]
    questions = []
    for place in order.tolist():
        near = [int(row) for row in found.ids[place] if row >= 0 and known.labels[row] >= 0]
        if not near:
            continue  # a distractor suggests no species
        species = [known.species[int(known.labels[row])] for row in near]
        side = "above" if best[place] >= threshold.score else "below"
        told = (
            f"Its best score, {best[place]:.3f}, is just {side} {threshold.score:.3f}, which {threshold.kept:.0%} of "
            "the validation queries reach, whose species are in the gallery."
        )
        beside = tuple(Beside(row, shown(name)) for row, name in zip(near, species, strict=True))
        questions.append(Question(KNOWN, (int(rows[place]),), species[0], told, beside))
    return questions


def cluster_questions(
    images: EmbeddingSet, clusters: IntArray, nearest: Sequence[NearestSpecies], gallery: EmbeddingSet, known: Manifest
) -> list[Question]:
    """Ask about each cluster. clusters: of each of the images, -1 for those in none. gallery: the known images."""
    questions = []
    for number, species in enumerate(nearest):
        inside = clusters == number
        told = (
            f"They are near each other and apart from the rest; the nearest known species is {shown(species.species)} "
            f"(similarity {species.score:.3f})."
        )
        label = known.species.index(species.species)
        beside = _most_alike(images.vectors[inside].mean(axis=0), gallery, label)
        besides = tuple(Beside(row, shown(species.species)) for row in beside)
        questions.append(Question(CLUSTER, tuple(images.ids[inside].tolist()), species.species, told, besides))
    return questions


def _most_alike(vector: FloatArray, gallery: EmbeddingSet, label: int) -> list[int]:
    """Return the images of a species that are most like a vector."""
    own = gallery.select(gallery.ids[gallery.labels == label])
    best = np.argsort(-(own.vectors @ vector), kind="stable")[:BESIDE]
    return [int(row) for row in own.ids[best]]


def shown(species: str) -> str:
    """Return a species as people read it: with spaces for underscores."""
    return species.replace("_", " ")
