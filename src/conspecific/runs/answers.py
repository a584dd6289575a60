"""Query images, and what a search found for them. Imported without torch, which takes seconds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conspecific.data.listing import is_image, list_files
from conspecific.data.manifest import Manifest
from conspecific.errors import DataError
from conspecific.evaluation.taxonomy import roll_up
from conspecific.types import Neighbors


@dataclass(frozen=True)
class Threshold:
    """The score that the first answers of a share of the validation queries reach, all of known species.

    kept: that share, in (0, 1].
    """

    score: float
    kept: float

    def describe(self, best: float) -> str:
        """Return a sentence on a query whose best score is below the threshold."""
        return (
            f"Probably none of these: the best score, {best:.3f}, is below {self.score:.3f}, which {self.kept:.0%} of "
            "the validation queries reach, whose species are in the gallery."
        )


@dataclass(frozen=True)
class Answers:
    """The nearest images of each query.

    neighbors: ids in `manifest` and scores, one row a query; -1 for no image. encoder: the file or folder of the
    weights that answered. threshold: None where the record of the run has none for these embeddings. sure: the share of
    votes from which on an answer at species or a rank above is sure, see `evaluation.taxonomy`; empty likewise, and
    where no ranks are known.
    """

    queries: tuple[Path, ...]
    manifest: Manifest
    neighbors: Neighbors
    encoder: Path
    threshold: Threshold | None = None
    sure: Mapping[str, float] = field(default_factory=dict)

    def rolled_up(self, query: int) -> tuple[str, str] | None:
        """Return the lowest rank at which the answer to a query is sure, and the answer; None where it is at none."""
        labels = [self.manifest.table["label"][row] for row in self.neighbors.ids[query].tolist() if row >= 0]
        return roll_up(labels, self.manifest.taxa, self.sure, self.is_unknown(query))

    def best_score(self, query: int) -> float:
        """Return the highest score of the answers to a query, -inf where it has none."""
        return float(self.neighbors.scores[query].max(initial=-float("inf")))

    def is_unknown(self, query: int) -> bool:
        """Whether no answer to a query reaches the threshold: its species is probably none of these."""
        return self.threshold is not None and self.best_score(query) < self.threshold.score


def find_queries(places: Sequence[str]) -> tuple[Path, ...]:
    """Return the images that are named, of folders all images below them.

    Raises DataError for a place that does not exist, an address of the web, and a folder without images.
    """
    return tuple(path for place in places for path in _images_at(place))


def _images_at(place: str) -> list[Path]:
    if re.match(r"[a-z][a-z0-9+.-]+://", place, re.IGNORECASE):
        raise DataError(f"{place} is an address of the web: download the image, and give its file")
    path = Path(place).expanduser()
    if not path.is_dir():
        return [path]  # whoever opens it says what is wrong with it
    found = [file for file in list_files(path) if is_image(file)]
    if not found:
        raise DataError(f"{path} is a folder without images: give an image, or a folder that holds some")
    return found
