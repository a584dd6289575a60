"""Where the encoders err: species, mix-ups, hubs and the shape of the space, as plain values for the page."""

from dataclasses import dataclass, fields

from conspecific.evaluation.diagnose import by_species, confused_pairs, hubs
from conspecific.metrics import Geometry
from conspecific.reporting.page.thumbnails import Side
from conspecific.reporting.page.wording import DASH, number, percent, plural, species_name
from conspecific.reporting.run.examples import SHOWN
from conspecific.reporting.run.record import Report
from conspecific.types import EvalResult

MOST_SPECIES = 500
MOST_MIX_UPS = 9  # three rows of three on a wide page


@dataclass(frozen=True, slots=True)
class SpeciesRow:
    """One species under the baseline and under the best encoder.

    support: how many queries this rests on, and how many images there were to find. first: how often the first answer
    was right. hits: right answers among ten. order: map@r.
    """

    name: str
    support: str
    first: tuple[str, str]
    hits: tuple[str, str]
    order: tuple[str, str]


@dataclass(frozen=True, slots=True)
class MixUp:
    """Two species taken for each other, with the nearest wrong answer and the query it was given to."""

    names: tuple[str, str]
    wrong: str
    share: str
    sides: tuple[Side, Side]


@dataclass(frozen=True, slots=True)
class Hub:
    """An image that turns up in many first tens. wrong: in words, how often it was a wrong answer."""

    path: str
    label: str | None
    count: str
    wrong: str


@dataclass(frozen=True, slots=True)
class HubSide:
    """The hubs of one encoder."""

    role: str
    name: str
    skewness: str
    never: str
    expected: str
    images: tuple[Hub, ...]


@dataclass(frozen=True, slots=True)
class GeometryRow:
    """One number on the shape of the space under every encoder: role, name and text."""

    name: str
    sentence: str
    values: tuple[tuple[str, str, str], ...]


_GEOMETRY = {
    "alignment": (
        "Alignment",
        3,
        "How far apart two images of one species are, as a mean squared distance from 0 to 4: lower is tighter.",
    ),
    "uniformity": (
        "Uniformity",
        2,
        "How evenly all images fill the space: 0 if all are in one place, lower to about minus 4, is more even.",
    ),
    "effective_rank": (
        "Effective rank",
        1,
        "How many directions the encoder really uses, however many numbers it gives: few means it tells little apart.",
    ),
    "mean_similarity": (
        "Mean similarity",
        3,
        "How alike any two images are on average, as a cosine: 0 is unlike, 1 the same, above 0.98 a collapse.",
    ),
}


def species_rows(report: Report, most: int = MOST_SPECIES) -> tuple[list[SpeciesRow], str]:
    """Return the species, the hardest first, and how many are left away, in words: those from the middle."""
    before, after = by_species(report.flatten), by_species(report.best)
    rows = after.join(before, on="label", how="left", suffix="_before", maintain_order="left", nulls_equal=True)
    found = [_species_row(row) for row in rows.iter_rows(named=True)]
    if len(found) <= most:
        return found, ""
    half = most // 2
    left = len(found) - 2 * half
    return found[:half] + found[-half:], f"The {left:,} species between the {half} hardest and the {half} easiest"


def hardest_and_easiest(rows: list[SpeciesRow], most: int = 8) -> tuple[list[SpeciesRow], list[SpeciesRow]]:
    """Return both ends of `species_rows`; all in the first list where they are few."""
    return (rows, []) if len(rows) <= 2 * most else (rows[:most], rows[: -most - 1 : -1])


def mix_ups(report: Report) -> list[MixUp]:
    """Return the species that the best encoder confuses most."""
    found = []
    for row in confused_pairs(report.best, MOST_MIX_UPS).iter_rows(named=True):
        query, answer = species_name(row["query_label"]), species_name(row["answer_label"])
        found.append(
            MixUp(
                names=(species_name(row["label"]), species_name(row["other"])),
                wrong=plural(row["wrong"], "wrong answer"),
                share=percent(row["share"], 1),
                sides=(
                    Side(row["query_path"], "query", query, f"The query: {query}"),
                    Side(row["answer_path"], f"answer · {number(row['score'])}", answer, f"The wrong answer: {answer}"),
                ),
            )
        )
    return found


def hub_sides(report: Report) -> list[HubSide]:
    """Return the hubs of the baseline and of the best encoder."""
    return [_hub_side(*encoder) for encoder in (report.encoders[0], report.encoders[-1])]


def geometry_rows(report: Report) -> list[GeometryRow]:
    """Return the shape of every encoder's space; empty where no result tells of it."""
    found = [(role, name, _geometry(result)) for role, name, result in report.encoders]
    if all(geometry is None for _, _, geometry in found):
        return []
    return [
        GeometryRow(
            title,
            sentence,
            tuple((role, name, number(getattr(geometry, key, None), digits)) for role, name, geometry in found),
        )
        for key, (title, digits, sentence) in _GEOMETRY.items()
    ]


def collapsed(report: Report) -> list[str]:
    """Return the names of the encoders under which all images have become nearly one."""
    found = ((name, _geometry(result)) for _, name, result in report.encoders)
    return [name for name, geometry in found if geometry is not None and geometry.is_collapsed]


def geometry_note(report: Report) -> str:
    """Return what the shape was measured on; empty where that is not known."""
    geometry = _geometry(report.best)
    if geometry is None:
        return ""
    sample = plural(geometry.images, "image")
    return f"Alignment is of all images, the rest of {sample} drawn by chance, the same for every encoder."


def _geometry(result: EvalResult) -> Geometry | None:
    stored = result.facts.get("geometry") or {}
    names = [field.name for field in fields(Geometry)]
    return Geometry(**{name: stored[name] for name in names}) if stored.keys() >= set(names) else None


def _species_row(row: dict[str, float]) -> SpeciesRow:
    def both(metric: str, digits: int, scale: int = 1) -> tuple[str, str]:
        before, after = row[f"{metric}_before"], row[metric]
        return (DASH if before is None else number(scale * before, digits)), number(scale * after, digits)

    return SpeciesRow(
        name=species_name(str(row["label"])),
        support=f"{plural(int(row['queries']), 'query', 'queries')}, {number(row['positives'], 0)} to find",
        first=both("recall@1", 2),
        hits=both(f"precision@{SHOWN}", 1, SHOWN),
        order=both("map@r", 2),
    )


def _hub_side(role: str, name: str, result: EvalResult) -> HubSide:
    found = hubs(result)
    images = tuple(
        Hub(row["path"], row["label"], f"{row['count']:,}", f"{row['wrong']:,} wrong")
        for row in found.images.iter_rows(named=True)
    )
    return HubSide(role, name, number(found.skewness, 2), percent(found.never, 1), number(found.expected, 1), images)
