"""The top of the comparison page: which group is better, by how much, and how certain that is."""

from conspecific.evaluation.compare import Difference
from conspecific.evaluation.tables import format_p_value
from conspecific.metrics import Interval
from conspecific.reporting.comparison.subject import Subject, difference_of, is_significant, ordered
from conspecific.reporting.page.statistics import unit
from conspecific.reporting.page.wording import (
    MAIN_METRIC,
    number,
    percent,
    plural,
    protocol_sentence,
    signed,
)
from conspecific.runs.groups import CONFIDENCE


def headline(subject: Subject) -> str:
    """Return whether the first group and the best of the others differ significantly, in one sentence."""
    found, main = subject.found, subject.main
    best, other = ordered(main)
    scores = f"{MAIN_METRIC} {number(best.means[MAIN_METRIC])} against {number(other.means[MAIN_METRIC])}"
    over_seeds = main.over_seeds[MAIN_METRIC]
    here = " with these seeds" if over_seeds is not None and over_seeds.holds_zero else ""
    if len(found.groups) == 2:
        if not is_significant(main):
            return f"No significant difference: {scores}."
        return f"{best.letter} is better than {other.letter}{here}: {scores}."
    if is_significant(main):
        return f"{best.letter} is the best of {len(found.groups)} groups{here}: {scores} of {other.letter}."
    return (
        f"{best.letter} is the best of {len(found.groups)} groups, but not significantly better than {other.letter}: "
        f"{scores}."
    )


def lead(subject: Subject) -> list[str]:
    """Return what was tested, the difference with its interval, and what other seeds may change."""
    found, main = subject.found, subject.main
    facts, (best, other), difference = found.facts, ordered(main), difference_of(main, MAIN_METRIC)
    interval, over_seeds = difference.interval, main.over_seeds[MAIN_METRIC]
    if best is main.first:
        interval, over_seeds = _negated(interval), over_seeds and _negated(over_seeds)
    sentences = [
        f"All runs were tested on the same {plural(facts['queries'], 'query', 'queries')}, "
        f"{plural(facts['gallery'], 'gallery image')} and {plural(facts['species'], 'species', 'species')}. "
        f"{protocol_sentence(facts['protocol'])}",
        f"Paired difference {best.letter} minus {other.letter}: {signed(interval.mean)} in {MAIN_METRIC} "
        f"({percent(CONFIDENCE)} interval over {unit(difference.over_species)} {signed(interval.low)} to "
        f"{signed(interval.high)}, p {_p(difference)}).",
        _about_seeds(over_seeds),
    ]
    if len(found.groups) > 2:
        sentences.append(
            f"Every group is compared with {main.first.letter}, the first; the p-values are adjusted for the number of "
            "comparisons. The other groups are not compared with one another."
        )
    return sentences


def _about_seeds(over_seeds: Interval | None) -> str:
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
