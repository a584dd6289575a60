"""The retrieved images of a query as the pages show them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """One retrieved image.

    hit: whether it is of the query's species, None where its species is not known. is_beyond: whether more images are
    nearer than the gallery has of the species, so that a miss is no error: a perfect answer has one there too.
    """

    path: str
    label: str | None
    hit: bool | None
    is_beyond: bool = False

    @property
    def judged(self) -> bool | None:
        """Whether it is a hit or an error, None where it is neither."""
        return None if self.is_beyond and not self.hit else self.hit

    @property
    def mark(self) -> str:
        """How it is drawn: 'hit', 'miss', or 'open' for neither."""
        return "open" if self.judged is None else "hit" if self.judged else "miss"


def answers_of(
    paths: Iterable[str | None], labels: Iterable[str | None], hits: Iterable[bool | None], possible: int = SHOWN
) -> tuple[Answer, ...]:
    """Return the first ten answers from the lists of a per-query table, nearest first.

    possible: how many images of the query's species are in the gallery, itself excluded.
    """
    rows = [row for row in zip(paths, labels, hits, strict=True) if row[0] is not None][:SHOWN]
    return tuple(
        Answer(path, label, hit, rank > possible)
        for rank, (path, label, hit) in enumerate(rows, start=1)
        if path is not None
    )


def count_hits(answers: Sequence[Answer]) -> int:
    """Return how many answers are known to be of the query's species."""
    return sum(answer.hit is True for answer in answers)


def describe_hits(answers: Sequence[Answer]) -> str:
    """Return how many of the hits that are possible were found.

    >>> describe_hits(answers_of("abc", "xxy", [True, True, False], possible=2))
    '2 of 2 possible correct'
    """
    possible = sum(not answer.is_beyond for answer in answers)
    return f"{count_hits(answers)} of {possible}{' possible' if possible < len(answers) else ''} correct"
