"""What the sections of the comparison page are built from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from conspecific.evaluation.compare import Difference
from conspecific.evaluation.tables import format_interval
from conspecific.reporting.comparison.names import group_names
from conspecific.reporting.page.statistics import Statistic, statistic
from conspecific.reporting.page.thumbnails import Thumbnails
from conspecific.reporting.page.wording import DASH, MAIN_METRIC, signed
from conspecific.runs.groups import Comparison, Contrast, Group

SIGNIFICANT_BELOW = 0.05


@dataclass(frozen=True)
class Subject:
    """A comparison, and the contrast that the page is about.

    main: the first group against the best of the others. queries: see `changes.query_changes`.
    images: the test images, None where they cannot be found.
    """

    found: Comparison
    main: Contrast
    queries: pl.DataFrame
    images: Thumbnails | None

    @property
    def over_species(self) -> bool:
        """Whether the interval over species decides; otherwise the one over queries does."""
        return self.found.contrasts[0].differences[0].over_species

    @property
    def fine_unit(self) -> str:
        """What is resampled where species are not: queries, or groups of them."""
        return "groups" if self.found.contrasts[0].differences[0].grouped else "queries"

    @property
    def has_seeds(self) -> bool:
        """Whether a group has several runs."""
        return any(len(group.runs) > 1 for group in self.found.groups)

    @property
    def has_answers(self) -> bool:
        """Whether all results have the retrieved images of every query."""
        return self.queries["right"].null_count() == 0 == self.queries["right_after"].null_count()

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Letter -> what the page calls a group."""
        return group_names(self.found)

    @property
    def roles(self) -> Mapping[str, str]:
        """Letter -> the role that colors a group: 'model' only for a group that is significantly better."""
        return {group.letter: self._role(group) for group in self.found.groups}

    def _role(self, group: Group) -> str:
        if group is ordered(self.main)[0] and is_significant(self.main):
            return "model"
        return "baseline" if group is self.main.first else "pooled"


@dataclass(frozen=True, slots=True)
class Row:
    """One difference. name: of the metric or the group. verdict: 'better', 'worse' or 'unsure'."""

    name: str
    verdict: str
    over_seeds: str
    statistic: Statistic


def rival(found: Comparison) -> Contrast:
    """Return the contrast of the best of the other groups, by map@r, with the first group."""
    return max(found.contrasts, key=lambda contrast: contrast.group.means[MAIN_METRIC])


def difference_of(contrast: Contrast, metric: str) -> Difference:
    """Return the difference in one metric."""
    return next(found for found in contrast.differences if found.metric == metric)


def verdict(found: Difference) -> str:
    """Return 'better' or 'worse' where the interval excludes zero and p < 0.05 (adjusted), otherwise 'unsure'."""
    if not found.is_significant or found.p_value >= SIGNIFICANT_BELOW:
        return "unsure"
    return "better" if found.interval.mean > 0 else "worse"


def is_significant(contrast: Contrast) -> bool:
    """Return whether the two groups differ significantly in map@r."""
    return verdict(difference_of(contrast, MAIN_METRIC)) != "unsure"


def ordered(contrast: Contrast) -> tuple[Group, Group]:
    """Return the two groups, the better one by map@r first."""
    group, first = contrast.group, contrast.first
    return (group, first) if group.means[MAIN_METRIC] > first.means[MAIN_METRIC] else (first, group)


def row(contrast: Contrast, metric: str, name: str) -> Row:
    """Return the difference in one metric as a row of a table."""
    found, over_seeds = difference_of(contrast, metric), contrast.over_seeds[metric]
    return Row(name, verdict(found), format_interval(over_seeds, signed) if over_seeds else DASH, statistic(found))


def count_runs(groups: Sequence[Group]) -> int:
    """Return the number of runs of all groups."""
    return sum(len(group.runs) for group in groups)
