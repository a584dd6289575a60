"""From a run, and perhaps images that nobody has labelled, to a review."""

from collections import Counter
from collections.abc import Container
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from conspecific.config.schema import ReviewConfig
from conspecific.config.targets import CORRECTIONS
from conspecific.data.corrections import read_corrections
from conspecific.data.manifest import Manifest
from conspecific.encoding import Encoders
from conspecific.evaluation import device_for
from conspecific.evaluation.clusters import cluster_images, nearest_species
from conspecific.evaluation.cross_validation import CrossValidation
from conspecific.evaluation.look_alikes import look_alikes
from conspecific.evaluation.suspects import suspects_of
from conspecific.images import workers_for
from conspecific.index import Searcher
from conspecific.leaks.copies import find_copies
from conspecific.leaks.image_hashes import image_hashes
from conspecific.runs.gallery import validated_threshold
from conspecific.runs.open import OpenRun, open_run
from conspecific.runs.record import read_result
from conspecific.runs.reference import embed_untrained
from conspecific.serving.review.app import Review
from conspecific.serving.review.questions import (
    BESIDE,
    Question,
    cluster_questions,
    copy_questions,
    doubtful_answers,
    known_questions,
    label_questions,
    species_questions,
)
from conspecific.serving.review.session import Session
from conspecific.types import EmbeddingSet

FILE = "corrections.csv"


def open_review(config: ReviewConfig, console: Console) -> Review:
    """Find what is worth a look, and go on with the answers that the file of corrections has already.

    Of images with labels, pairs of species that may be one, copies under two labels, suspect ones, and test images near
    the threshold of "probably none of these" whose first answer is of another species are asked about. Of images
    without, as data=images data.root=FOLDER finds them, clusters are, and those whose score is near that threshold;
    they are compared with the images of the run.
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
        questions += _of_labelled(opened, manifest, untrained, console)
    if not listed.labelled or listed.distractors.size:
        manifest, fresh, gallery, known = _images(opened, Console(quiet=True) if listed.labelled else console)
        questions += _newcomers(opened, fresh, gallery, known, console)
    others = known if known is not manifest else None
    session = Session(manifest, (others or manifest).species, questions, file, base)
    _say(console, session)
    return Review("/".join(place.absolute().parts[-2:]), session, others)


def _of_labelled(opened: OpenRun, manifest: Manifest, untrained: EmbeddingSet, console: Console) -> list[Question]:
    """Return the questions about images with a label: species under two names, copies, suspects, doubtful answers.

    untrained: by the network before training, which has memorised no label.
    """
    assert isinstance(opened.config, ReviewConfig)
    most, found = opened.config.most, CrossValidation.of(untrained, manifest)
    suspects = suspects_of(found, manifest).head(most)
    key, workers = manifest.fingerprint(), workers_for(opened.config.workers)
    encoders = Encoders.of(opened.config.encode, device_for(opened.config.device), opened.cache, console)
    hashes = image_hashes(manifest, key, opened.cache, workers, console)
    copies = find_copies(manifest, key, hashes, opened.cache, encoders, console)
    labelled = replace(found.embeddings, labels=found.labels)
    return [
        *species_questions(look_alikes(found, manifest).head(most), labelled, manifest),
        *copy_questions(copies, found, manifest)[:most],
        *label_questions(suspects, manifest),
        *_doubtful(opened, manifest, set(suspects["path"]), most),
    ]


def _doubtful(opened: OpenRun, manifest: Manifest, asked: Container[str], most: int) -> list[Question]:
    """Return questions about test images of the run whose first answer is of another species, near the threshold.

    asked: paths that are asked about already.
    """
    threshold, run = validated_threshold(opened), opened.run
    if threshold is None or run is None or opened.config.data is not None:
        return []
    result = read_result(run, "test", "model")
    rest = result.per_query.filter([path not in asked for path in result.per_query["path"]])
    rows, nearest = doubtful_answers(replace(result, per_query=rest), manifest)
    return known_questions(rows, nearest, manifest, threshold, most)


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
