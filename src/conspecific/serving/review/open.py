"""From a run, and perhaps images that nobody has labelled, to a review."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from conspecific.config.schema import ReviewConfig
from conspecific.config.targets import CORRECTIONS
from conspecific.data.corrections import read_corrections
from conspecific.data.manifest import Manifest
from conspecific.evaluation.clusters import cluster_images, nearest_species
from conspecific.evaluation.suspects import suspect_labels
from conspecific.index import Searcher
from conspecific.runs.gallery import validated_threshold
from conspecific.runs.open import OpenRun, open_run
from conspecific.runs.reference import embed_untrained
from conspecific.serving.review.app import Review
from conspecific.serving.review.questions import (
    BESIDE,
    Question,
    cluster_questions,
    known_questions,
    label_questions,
)
from conspecific.serving.review.session import Session
from conspecific.types import EmbeddingSet

FILE = "corrections.csv"


def open_review(config: ReviewConfig, console: Console) -> Review:
    """Find what is worth a look, and go on with the answers that the file of corrections has already.

    Of images with labels, suspect ones are asked about. Of images without, as data=images data.root=FOLDER finds them,
    clusters are, and those whose score is near the threshold of "probably none of these"; they are
    compared with the images of the run.
    """
    opened = open_run(config)
    place = opened.run.path if opened.run is not None else Path.cwd()
    file = Path(config.output).expanduser() if config.output else place / FILE
    corrected = opened.data().get(CORRECTIONS)
    base = read_corrections(Path(corrected).expanduser()) if corrected else []
    listed = opened.manifest()
    known, questions = None, list[Question]()
    if listed.labelled:
        manifest, untrained = embed_untrained(opened, console)
        questions += label_questions(suspect_labels(untrained, manifest).head(config.most), manifest)
    if not listed.labelled or listed.distractors.size:
        manifest, fresh, gallery, known = _images(opened, Console(quiet=True) if listed.labelled else console)
        questions += _newcomers(opened, fresh, gallery, known, console)
    others = known if known is not manifest else None
    session = Session(manifest, (others or manifest).species, questions, file, base)
    _say(console, session)
    return Review("/".join(place.absolute().parts[-2:]), session, others)


def _images(opened: OpenRun, console: Console) -> tuple[Manifest, EmbeddingSet, EmbeddingSet, Manifest]:
    """Return the reviewed images, the embeddings of those without a label, those of the known ones, and their manifest.

    The known ones are those of the reviewed images that have a label; those of the run where none has.
    """
    _, manifest, embeddings = opened.embed_all(console)
    if manifest.labelled:
        has_label = embeddings.labels >= 0
        fresh, gallery = (embeddings.select(embeddings.ids[rows]) for rows in (~has_label, has_label))
        return manifest, fresh, gallery, manifest
    _, known, gallery = _own(opened).embed_all(Console(quiet=True))
    return manifest, embeddings, gallery.select(gallery.ids[gallery.labels >= 0]), known


def _own(opened: OpenRun) -> OpenRun:
    """Return the run with its own images."""
    return replace(opened, config=replace(opened.config, data=None))


def _newcomers(
    opened: OpenRun, fresh: EmbeddingSet, gallery: EmbeddingSet, known: Manifest, console: Console
) -> list[Question]:
    """Return the questions about images without a label: clusters, then images near the threshold."""
    assert isinstance(opened.config, ReviewConfig)
    fewest, most, questions = opened.config.min_images, opened.config.most, []
    if len(fresh) >= max(fewest, 3):
        clusters = cluster_images(fresh.vectors, fewest)
        if clusters.max() >= 0:
            nearest = nearest_species(fresh.vectors, clusters, gallery, known.species)
            questions += cluster_questions(fresh, clusters, nearest, gallery, known)[:most]
    threshold = validated_threshold(_own(opened))
    if threshold is None:
        told = "No image is asked about by its score: the run has no validated threshold."
        console.print(told, highlight=False, soft_wrap=True)
        return questions
    asked = EmbeddingSet(fresh.vectors, -1 - fresh.ids, np.full(len(fresh), -1))
    found = Searcher(gallery, opened.embedder.metric).search(asked, min(BESIDE, len(gallery)))
    return [*questions, *known_questions(fresh.ids, found, known, threshold, most)]


def _say(console: Console, session: Session) -> None:
    kinds = Counter(each.kind for each in session.questions)
    counts = ", ".join(f"{count} of {kind}" for kind, count in kinds.items())
    told = f"{len(session.questions)} questions: {counts}" if kinds else "Nothing here is worth a question."
    console.print(told, highlight=False, soft_wrap=True)
    if session.answered:
        console.print(f"{session.answered} of them are answered in {session.file}", highlight=False, soft_wrap=True)
