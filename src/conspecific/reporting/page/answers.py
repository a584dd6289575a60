"""The retrieved images of a query as the pages show them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """One retrieved image. hit: whether it is of the query's species, None where its species is not known."""

    path: str
    label: str | None
    hit: bool | None


def answers_of(
    paths: Iterable[str | None], labels: Iterable[str | None], hits: Iterable[bool | None]
) -> tuple[Answer, ...]:
    """Return the first ten answers from the lists of a per-query table, nearest first."""
    found = [Answer(path, label, hit) for path, label, hit in zip(paths, labels, hits, strict=True) if path is not None]
    return tuple(found[:SHOWN])


def count_hits(answers: Sequence[Answer]) -> int:
    """Return how many answers are known to be of the query's species."""
    return sum(answer.hit is True for answer in answers)
