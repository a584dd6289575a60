"""The geometry of the embeddings of every encoder."""

from dataclasses import dataclass, fields
from typing import Any

from conspecific.metrics import Geometry
from conspecific.reporting.page.wording import number, plural
from conspecific.reporting.run.subject import Cell, Encoder, Subject


@dataclass(frozen=True, slots=True)
class GeometryRow:
    """One measure of the embedding geometry under every encoder."""

    name: str
    sentence: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """A field of `Geometry` as a row: its name, the digits it is shown with, and its definition."""

    field: str
    name: str
    digits: int
    sentence: str


MEASURES = (
    Measure(
        "alignment",
        "Alignment",
        3,
        "Mean squared distance between embeddings of the same species, from 0 to 4. Lower is tighter "
        "(Wang and Isola 2020).",
    ),
    Measure(
        "uniformity",
        "Uniformity",
        2,
        "Logarithm of the mean Gaussian potential of all pairs, from about -4 (uniform on the sphere) to 0 (all "
        "embeddings equal; Wang and Isola 2020).",
    ),
    Measure(
        "effective_rank",
        "Effective rank",
        1,
        "Effective number of dimensions that the embeddings use (Roy and Vetterli 2007). Low values indicate "
        "dimensional collapse.",
    ),
    Measure(
        "mean_similarity",
        "Mean similarity",
        3,
        "Mean cosine similarity of two different images. Above 0.98 the embeddings have collapsed.",
    ),
)


def geometry(run: Subject) -> dict[str, Any] | None:
    """Build the section; None where no result has its geometry."""
    rows = geometry_rows(run)
    return {"rows": rows, "note": geometry_note(run), "collapsed": collapsed(run)} if rows else None


def geometry_rows(run: Subject) -> list[GeometryRow]:
    """Return the geometry of every encoder; empty where no result has it."""
    found = [(encoder, _geometry(encoder)) for encoder in run.encoders]
    if all(geometry is None for _, geometry in found):
        return []
    return [
        GeometryRow(
            measure.name,
            measure.sentence,
            tuple(
                Cell(encoder, number(getattr(geometry, measure.field, None), measure.digits))
                for encoder, geometry in found
            ),
        )
        for measure in MEASURES
    ]


def collapsed(run: Subject) -> list[str]:
    """Return the names of the encoders whose embeddings have collapsed."""
    found = ((encoder.name, _geometry(encoder)) for encoder in run.encoders)
    return [name for name, geometry in found if geometry is not None and geometry.is_collapsed]


def geometry_note(run: Subject) -> str:
    """Return which images the geometry was measured on; empty where it is not known."""
    geometry = _geometry(run.best)
    if geometry is None:
        return ""
    sample = plural(geometry.images, "image")
    return (
        f"Alignment is computed on all images, the other measures on a random sample of {sample}, the same for every "
        "encoder."
    )


def _geometry(encoder: Encoder) -> Geometry | None:
    stored = encoder.result.facts.get("geometry") or {}
    names = [field.name for field in fields(Geometry)]
    return Geometry(**{name: stored[name] for name in names}) if stored.keys() >= set(names) else None
