"""What is asked of a person: about species, copies, suspect labels, images that may be of a new species, clusters."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from conspecific.data.manifest import Manifest
from conspecific.evaluation.clusters import NearestSpecies
from conspecific.evaluation.cross_validation import CrossValidation
from conspecific.runs.answers import Threshold
from conspecific.types import EmbeddingSet, EvalResult, FloatArray, IntArray, Neighbors

SPECIES, COPY, LABEL, KNOWN, CLUSTER = "two names", "copy", "suspect label", "known or new", "cluster"  # kinds
BESIDE = 3  # images of the suggested species that an image or a cluster is shown with


@dataclass(frozen=True, slots=True)
class Beside:
    """An image to compare with. row: of the known images, see `Question`. caption: what it is."""

    row: int
    caption: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question about one image or several.

    kind: SPECIES, COPY, LABEL, KNOWN or CLUSTER. images: rows of the reviewed manifest whose label is asked for.
    suggested: the species that they may be. told: why they are worth a look. beside: images to compare with, rows of
    the known images: those of the run for images without a label, the reviewed ones else.
    """

    kind: str
    images: tuple[int, ...]
    suggested: str
    told: str
    beside: tuple[Beside, ...]


def species_questions(pairs: pl.DataFrame, images: EmbeddingSet, manifest: Manifest) -> list[Question]:
    """Ask about each row of what `look_alikes` returned: whether the images of the smaller species are of the larger.

    images: of the manifest, with labels.
    """
    questions = []
    for first, second, area, bound in pairs.select("first", "second", "auroc", "at_most").iter_rows():
        own = images.select(images.ids[images.labels == manifest.species.index(second)])
        told = (
            f"Each is the other's nearest species, and cross-validation hardly tells them apart: the area under the "
            f"ROC curve is {area:.2f}, at most {bound:.2f}; by chance it is 0.50."
        )
        near = _most_alike(own.vectors.mean(axis=0), images, manifest.species.index(first))
        beside = tuple(Beside(row, shown(first)) for row in near)
        questions.append(Question(SPECIES, tuple(own.ids.tolist()), first, told, beside))
    return questions


def copy_questions(copies: pl.DataFrame, found: CrossValidation, manifest: Manifest) -> list[Question]:
    """Ask about images that are copies of each other and labelled as different species, the most alike first.

    copies: as `find_copies` returns them. Of a pair, the image is asked about that looks more like the other's species,
    when each is compared with the images of other folds.
    """
    labels, questions = manifest.labels, []
    table = copies.sort("similarity", "first", "second", descending=[True, False, False])
    for first, second, kind, view in table.select("first", "second", "kind", "view").iter_rows():
        if labels[first] == labels[second] or min(labels[first], labels[second]) < 0:
            continue
        turned = found.margin(first, int(labels[second])) > found.margin(second, int(labels[first]))
        asked, other = (first, second) if turned else (second, first)
        names = [shown(manifest.species[labels[row]]) for row in (asked, other)]
        copy = "the very file" if kind == "exact" else "a near-duplicate" + f" ({view})" * (view != "same")
        told = f"It is labelled {names[0]}, and is {copy} of an image that is labelled {names[1]}."
        beside = (Beside(other, f"labelled {names[1]}"),)
        questions.append(Question(COPY, (asked,), manifest.species[labels[other]], told, beside))
    return questions


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

    rows: [Q] of the images. found: their nearest known images, [Q, BESIDE] or fewer.
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


def doubtful_answers(result: EvalResult, manifest: Manifest) -> tuple[IntArray, Neighbors]:
    """Return the queries of a result whose first answer is of another species, and their nearest images, by row.

    Queries and answers that the manifest does not have, with the same label, are left out.
    """
    row_of = {pair: row for row, pair in enumerate(manifest.table.select("path", "label").iter_rows())}
    rows, ids, scores = [], [], []
    columns = "path", "label", "neighbor_paths", "neighbor_labels", "neighbor_scores", "neighbor_hits"
    for path, label, paths, species, found, hits in result.per_query.select(columns).iter_rows():
        near = [row_of.get(pair, -1) for pair in zip(paths[:BESIDE], species[:BESIDE], strict=True)]
        if (path, label) in row_of and len(near) == BESIDE and not hits[0] and near[0] >= 0:
            rows.append(row_of[path, label])
            ids.append(near)
            scores.append(found[:BESIDE])
    shape = len(rows), BESIDE
    return np.array(rows, np.int64), Neighbors(
        np.array(ids, np.int64).reshape(shape), np.array(scores, np.float32).reshape(shape)
    )


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
