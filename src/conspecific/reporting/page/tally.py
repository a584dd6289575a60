"""The bar at the top of a page: how many of the ten nearest images are hits, on average."""

from dataclasses import dataclass

from conspecific.reporting.page.answers import SHOWN
from conspecific.reporting.page.wording import number


@dataclass(frozen=True, slots=True)
class Tally:
    """The mean number of hits in the top ten of one encoder.

    role: its color, as in `Encoder`. fills: the filled share of each of the ten cells, in [0, 1].
    ceiling: the mean number that is possible.
    """

    role: str
    name: str
    value: str
    fills: tuple[float, ...]
    ceiling: float = SHOWN

    @property
    def ceiling_at(self) -> float:
        """Where the ceiling is drawn, in pixels: a cell of 36 for each hit, 4 between two."""
        whole, part = divmod(self.ceiling, 1)
        return round(40 * whole + 36 * part, 1)


def tally(role: str, name: str, hits: float, ceiling: float = SHOWN) -> Tally:
    """Return the bar of a mean number of hits in [0, 10]. ceiling: the mean number that is possible, in (0, 10]."""
    fills = tuple(round(min(1.0, max(0.0, hits - place)), 3) for place in range(SHOWN))
    return Tally(role, name, number(hits, 1), fills, ceiling)
