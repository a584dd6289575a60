"""The bar at the top of a page: how many of the ten nearest images are hits, on average."""

from dataclasses import dataclass

from conspecific.reporting.page.answers import SHOWN
from conspecific.reporting.page.wording import number


@dataclass(frozen=True, slots=True)
class Tally:
    """The mean number of hits in the top ten of one encoder.

    role: its color, as in `Encoder`. fills: the filled share of each of the ten cells, in [0, 1].
    """

    role: str
    name: str
    value: str
    fills: tuple[float, ...]


def tally(role: str, name: str, hits: float) -> Tally:
    """Return the bar of a mean number of hits in [0, 10]."""
    fills = tuple(round(min(1.0, max(0.0, hits - place)), 3) for place in range(SHOWN))
    return Tally(role, name, number(hits, 1), fills)
