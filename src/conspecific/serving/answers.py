"""What the API answers with: typed, and the same as a table."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import polars as pl
from pydantic import BaseModel, Field

from conspecific.evaluation.taxonomy import SURE, roll_up
from conspecific.metrics import TPR
from conspecific.serving.gallery import Found, ServedGallery
from conspecific.tables import csv_text


class Answer(BaseModel):
    """One image that was found."""

    rank: int = Field(description="from 1, the nearest")
    id: int = Field(description="sample id; the image is at /api/images/{id}")
    species: str | None = Field(description="as the data names it; null where species are not known")
    score: float = Field(
        description="higher is nearer: cosine similarity, or minus the squared distance; refined ones have their own"
    )
    precision: float | None = Field(
        description="share of right ones among the validation answers with such a score; null where it is not known"
    )
    path: str = Field(description="below the root of the data")


class Vote(BaseModel):
    """How many of the answers are of one species."""

    species: str | None
    count: int


class SureAnswer(BaseModel):
    """The answer at the lowest rank at which it is sure."""

    rank: str = Field(description="species, or a rank above, such as genus")
    taxon: str = Field(description="of that rank, as the data names it")


class Answers(BaseModel):
    """The nearest images by one network."""

    network: str
    answers: list[Answer] = Field(description="the nearest first")
    votes: list[Vote] = Field(description="the most frequent species first, then the one with the nearest answer")
    threshold: float | None = Field(
        description=f"the score that {TPR:.0%} of the validation queries reach, whose species are in the gallery"
    )
    may_be_none: bool = Field(description="whether the best score is below the threshold: probably no species fits")
    sure_as: SureAnswer | None = Field(
        description=f"{SURE:.0%} of such answers were right on validation; null where it is sure at no rank, where no "
        "ranks are known, and for answers of one species"
    )
    told: str = Field(description="what re-ranking was worth on validation; empty where answers are not re-ranked")


class GalleryImage(BaseModel):
    """An image of the gallery."""

    id: int = Field(description="sample id; the image is at /api/images/{id}")
    species: str | None
    path: str = Field(description="below the root of the data")


class SearchResult(BaseModel):
    """The answers of the run's model, and those of the same network before training."""

    recognized: list[GalleryImage] = Field(
        description="images of the gallery whose file is the uploaded one, byte for byte; none is among the answers"
    )
    model: Answers
    reference: Answers | None
    seconds: float = Field(description="from the uploaded bytes to the answers")


class Species(BaseModel):
    """A species of the gallery."""

    species: str
    images: int


class GalleryFacts(BaseModel):
    """What is searched, and what may be sent."""

    run: str
    images: int
    species: list[Species]
    model: str
    refinements: list[str] = Field(description="methods that a request may ask for with refine=")
    refinement: str = Field(description="the method where a request names none")
    reference: str | None
    no_reference: str = Field(description="why there is no reference; empty where there is one")
    examples: list[int] = Field(description="sample ids to try, of images that the run was not trained on")
    formats: list[str] = Field(description="media types of images that can be sent")
    upload_mb: float
    pixels: int


class Refused(BaseModel):
    """Why a request was not answered."""

    error: str


def search_result(
    gallery: ServedGallery,
    found: tuple[Found, Found | None],
    recognized: Sequence[int],
    seconds: float,
    one_species: bool = False,
) -> SearchResult:
    """Put what was found into words and numbers.

    recognized: sample ids of images that were uploaded. one_species: whether answers of one species were asked for.
    """
    model, reference = found
    return SearchResult(
        recognized=[
            GalleryImage(id=each, species=gallery.label(each), path=gallery.image_path(each)) for each in recognized
        ],
        model=_answers(gallery, model, one_species),
        reference=None if reference is None else _answers(gallery, reference, one_species),
        seconds=seconds,
    )


def _answers(gallery: ServedGallery, found: Found, one_species: bool) -> Answers:
    worth = found.encoded.worth
    answers = [
        Answer(
            rank=rank,
            id=sample_id,
            species=gallery.label(sample_id),
            score=score,
            precision=None if worth is None else worth.near(score),
            path=gallery.image_path(sample_id),
        )
        for rank, (sample_id, score) in enumerate(
            zip(found.neighbors.ids[0].tolist(), found.neighbors.scores[0].tolist(), strict=True), start=1
        )
    ]
    votes = Counter(answer.species for answer in answers).most_common()
    threshold = None if worth is None else worth.threshold
    may_be_none = threshold is not None and bool(answers) and answers[0].score < threshold
    shares = {} if worth is None or one_species else worth.sure
    sure = roll_up([answer.species for answer in answers], gallery.manifest.taxa, shares, may_be_none)
    return Answers(
        network=found.encoded.title,
        answers=answers,
        votes=[Vote(species=species, count=count) for species, count in votes],
        threshold=threshold,
        may_be_none=may_be_none,
        sure_as=None if sure is None else SureAnswer(rank=sure[0], taxon=sure[1]),
        told="" if found.encoded.local is None else f"{found.encoded.local.calibration}.",
    )


def to_csv(result: SearchResult) -> str:
    """Return the answers of both networks, a row each; no cell is what a spreadsheet would compute."""
    rows: list[dict[str, object]] = []
    by: list[tuple[Literal["model", "reference"], Answers | None]] = [
        ("model", result.model),
        ("reference", result.reference),
    ]
    for name, answers in by:
        for answer in answers.answers if answers else ():
            row = answer.model_dump(include={"rank", "species", "score", "precision", "path"})
            rows.append({"by": name, **row})
    schema = {"by": pl.String, "rank": pl.Int64, "species": pl.String, "score": pl.Float64, "precision": pl.Float64}
    table = pl.DataFrame(rows, schema={**schema, "path": pl.String})
    return csv_text(table)
