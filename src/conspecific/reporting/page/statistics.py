"""A paired difference as the cells of a table."""

from dataclasses import dataclass

from conspecific.evaluation.compare import Difference
from conspecific.evaluation.tables import format_interval, format_p_value
from conspecific.reporting.page.wording import signed


@dataclass(frozen=True, slots=True)
class Statistic:
    """One paired difference as text.

    counts: queries whose value is higher, equal and lower. shares: the same in percent, together 100.
    """

    metric: str
    mean: str
    over_queries: str
    over_species: str
    p_value: str
    counts: tuple[str, str, str]
    shares: tuple[float, float, float]


def statistic(difference: Difference) -> Statistic:
    """Return a paired difference as text."""
    counts = difference.won, difference.unchanged, difference.lost
    total = max(1, sum(counts))
    won, unchanged, lost = (round(100 * count / total, 2) for count in counts)
    return Statistic(
        metric=difference.metric,
        mean=signed(difference.interval.mean),
        over_queries=format_interval(difference.by_query, signed),
        over_species=format_interval(difference.by_species, signed),
        p_value=format_p_value(difference.p_value),
        counts=(f"{difference.won:,}", f"{difference.unchanged:,}", f"{difference.lost:,}"),
        shares=(won, unchanged, lost),
    )
