"""The top of the comparison page: which group is better, by how much, and how certain that is."""

from conspecific.evaluation.compare import Difference
from conspecific.evaluation.tables import format_p_value
from conspecific.metrics import Interval
from conspecific.reporting.comparison.subject import Subject, difference_of, is_significant, ordered
from conspecific.reporting.page.wording import (
    MAIN_METRIC,
    number,
    percent,
    plural,
    protocol_sentence,
    signed,
)
from conspecific.runs.groups import CONFIDENCE, Contrast


def headline(subject: Subject) -> str:
    """Return whether the first group and the best of the others differ significantly, in one sentence."""
    found, main, names = subject.found, subject.main, subject.names
    best, other = ordered(main)
    scores = f"{MAIN_METRIC} {number(best.means[MAIN_METRIC])} against {number(other.means[MAIN_METRIC])}"
    here = " with these seeds" if _may_reverse(main) else ""
    if len(found.groups) == 2:
        if not is_significant(main):
            return f"No significant difference: {scores}."
        return f"{names[best.letter]} is better than {names[other.letter]}{here}: {scores}."
    if is_significant(main):
        return (
            f"{names[best.letter]} is the best of {len(found.groups)} groups{here}: {scores} of {names[other.letter]}."
        )
    return (
        f"{names[best.letter]} is the best of {len(found.groups)} groups, but not significantly better than "
        f"{names[other.letter]}: {scores}."
    )


def lead(subject: Subject) -> list[str]:
    """Return what was tested, the difference with its interval, and what other seeds may change."""
    found, main, names = subject.found, subject.main, subject.names
    facts, (best, other), difference = found.facts, ordered(main), difference_of(main, MAIN_METRIC)
    interval, over_seeds = difference.interval, main.over_seeds[MAIN_METRIC]
    if best is main.first:
        interval, over_seeds = _negated(interval), over_seeds and _negated(over_seeds)
    sentences = [
        f"All runs were tested on the same {plural(facts['queries'], 'query', 'queries')}, "
        f"{plural(facts['gallery'], 'gallery image')} and {plural(facts['species'], 'species', 'species')}. "
        f"{protocol_sentence(facts['protocol'])}",
        f"Paired difference {names[best.letter]} minus {names[other.letter]}: {signed(interval.mean)} in {MAIN_METRIC} "
        f"({percent(CONFIDENCE)} interval over {difference.unit} {signed(interval.low)} to "
        f"{signed(interval.high)}, p {_p(difference)}).",
        _about_seeds(over_seeds, _has_seeds(main)),
    ]
    if len(found.groups) > 2:
        sentences.append(
            f"Every group is compared with {names[main.first.letter]}, the first; the p-values are adjusted for the "
            "number of comparisons. The other groups are not compared with one another."
        )
    return sentences


def _may_reverse(main: Contrast) -> bool:
    """Return whether runs with other seeds may reverse the order of two groups with several runs each."""
    over_seeds = main.over_seeds[MAIN_METRIC]
    return _has_seeds(main) if over_seeds is None else over_seeds.holds_zero


def _has_seeds(main: Contrast) -> bool:
    """Return whether both groups have several runs."""
    return min(len(main.group.runs), len(main.first.runs)) > 1


def _about_seeds(over_seeds: Interval | None, has_several: bool) -> str:
    if over_seeds is None and has_several:
        return "Two seeds that differ so much say nothing of others: their interval is wider than the metric's range."
    if over_seeds is None:
        return "The variance over seeds is unknown, because that needs two runs or more with different seeds per group."
    bounds = f"{signed(over_seeds.low)} to {signed(over_seeds.high)}"
    meaning = (
        "other seeds may reverse the order"
        if over_seeds.holds_zero
        else "other seeds are unlikely to reverse the order"
    )
    return f"The interval over seeds is {bounds}: {meaning}."


def _p(found: Difference) -> str:
    text = format_p_value(found.p_value)
    return f"< {text[1:]}" if text.startswith("<") else f"= {text}"


def _negated(interval: Interval) -> Interval:
    return Interval(-interval.mean, -interval.high, -interval.low)
