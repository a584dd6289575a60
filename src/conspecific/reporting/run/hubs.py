"""Hubs: images that are among the nearest images of many queries."""

from dataclasses import dataclass
from typing import Any

from conspecific.evaluation.diagnose import hubs
from conspecific.reporting.page.wording import number, percent
from conspecific.reporting.run.subject import Encoder, Subject

SHOWN = 4  # images of each encoder


@dataclass(frozen=True, slots=True)
class Hub:
    """One image, how often it is retrieved, and how often it is a miss."""

    path: str
    label: str | None
    count: str
    misses: str


@dataclass(frozen=True, slots=True)
class EncoderHubs:
    """The hubs of one encoder. expected: mean count of a gallery image. never: share of images never retrieved."""

    encoder: Encoder
    skewness: str
    never: str
    expected: str
    images: tuple[Hub, ...]


def hub_section(run: Subject) -> dict[str, Any]:
    """Build the section."""
    return {"sides": [encoder_hubs(encoder) for encoder in run.encoders]}


def encoder_hubs(encoder: Encoder) -> EncoderHubs:
    """Return the hubs of one encoder."""
    found = hubs(encoder.result, SHOWN)
    images = tuple(
        Hub(row["path"], row["label"], f"{row['count']:,}", f"{row['wrong']:,} as a miss")
        for row in found.images.iter_rows(named=True)
    )
    return EncoderHubs(encoder, number(found.skewness, 2), percent(found.never, 1), number(found.expected, 1), images)
