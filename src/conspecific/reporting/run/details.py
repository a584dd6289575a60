"""How the run was made: facts, encoders, command, configuration."""

from dataclasses import dataclass
from typing import Any

from conspecific.reporting.page.wording import DASH, fact_lines
from conspecific.reporting.run.subject import Encoder, Report

_SIMILARITIES = {"cosine": "cosine similarity", "l2": "squared Euclidean distance"}


@dataclass(frozen=True, slots=True)
class EncoderRow:
    """The number of dimensions of an encoder's embeddings, and how they are compared."""

    encoder: Encoder
    dimensions: str
    similarity: str


def details(run: Report) -> dict[str, Any]:
    """Build the section."""
    return {"facts": fact_lines(run.facts), "encoders": [_encoder_row(encoder) for encoder in run.encoders]}


def _encoder_row(encoder: Encoder) -> EncoderRow:
    size, similarity = encoder.result.facts.get("dimensions"), str(encoder.result.facts.get("similarity", ""))
    dimensions = f"{size:,}" if isinstance(size, int) else DASH
    return EncoderRow(encoder, dimensions, _SIMILARITIES.get(similarity, similarity or DASH))
