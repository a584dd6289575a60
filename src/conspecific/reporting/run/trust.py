"""How far the result can be trusted: the interval, the leak check and the protocol, for the first screen."""

from dataclasses import dataclass
from typing import Literal

from conspecific.evaluation.diagnose import describe_imbalance
from conspecific.evaluation.evaluate import without_queries
from conspecific.evaluation.tables import NAMES, format_interval
from conspecific.reporting.page.wording import number, percent, plural, signed
from conspecific.reporting.run.subject import Subject
from conspecific.runs.verdict import Verdict

Tone = Literal["good", "bad", "caution", "open"]
SIGNS: dict[Tone, str] = {"good": "✓", "bad": "✗", "caution": "!", "open": "i"}
_TONES: dict[str, Tone] = {"better": "good", "worse": "bad"}
_PROTOCOLS = {
    "seen": "Known species. Every tested species was trained on too; nothing is said of other species.",
    "unseen": "New species. None of the tested species was trained on.",
    "query_gallery": "Separate gallery. The queries are searched in images that are no queries.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason to trust the result or not. tone: its color. title: a few words. text: a sentence or two."""

    tone: Tone
    title: str
    text: str

    @property
    def sign(self) -> str:
        """Its sign, which says the same as its color."""
        return SIGNS[self.tone]


def findings(run: Subject) -> list[Finding]:
    """Return what is to be known before the numbers: difference, leaks, groups, unequal species and protocol."""
    return [_outcome(run, run.judged), leaks_finding(run), *_own_group(run), *_imbalance(run), _protocol(run)]


def _outcome(run: Subject, judged: Verdict | None) -> Finding:
    if judged is None and run.is_trained:
        return Finding("caution", "Not judged.", f"No difference in {run.record.config.monitor} was recorded.")
    if judged is None:
        return Finding("open", "Nothing was trained.", "This run scored the two references alone.")
    found = judged.difference
    sure = "includes" if found.interval.holds_zero else "excludes"
    evidence = judged.reason or (
        f"{found.metric} {number(found.other)} → {number(found.value)} against {NAMES[judged.reference]}, the better "
        f"one: {signed(found.interval.mean)}; the {percent(0.95)} interval over {found.unit} "
        f"({format_interval(found.interval, signed)}) {sure} zero."
    )
    text = f"{evidence} {judged.advice}".rstrip()
    return Finding(_TONES.get(judged.outcome, "open"), f"{judged.claim}.", f"{text} Kept: {judged.kept}.")


def leaks_finding(run: Subject) -> Finding:
    """Return what the leak check says, judged by what the leaked queries change."""
    leaks = run.record.leaks
    if leaks is None:
        return Finding("caution", "No leak check.", "Whether test images were trained on is not known.")
    compared = f"{plural(leaks.compared, 'image')} compared"
    if leaks.pairs.is_empty() and not leaks.species:
        return Finding("good", "No leaks.", f"{compared}: no image is in two splits.")
    if run.record.config.leaks == "drop":
        return Finding("good", "Leaks removed.", f"{compared}: training has no copy of a test image.")
    if leaks.species:
        return Finding("bad", "Leaks.", f"{plural(len(leaks.species), 'species', 'species')} in two splits by name.")
    if not run.leaked:
        return Finding("caution", "Copies.", f"{compared}: some are in training and validation; test has none.")
    return _leaked(run)


def _leaked(run: Subject) -> Finding:
    """Judge leaked queries by what the monitored metric is without them."""
    result, metric = run.best.result, run.record.config.monitor
    assert run.record.leaks is not None, "leaked queries are those of a leak check"
    queries = plural(result.per_query.height, "query", "queries")
    found = f"{run.leaked:,} of {queries} have a copy in training or validation"
    if run.leaked == result.per_query.height or metric not in result.metrics:
        return Finding("bad", "Leaks.", f"{found}.")
    before = number(result.metrics[metric])
    after = number(without_queries(result, run.record.leaks.leaked_queries).metrics[metric])
    if before == after:
        return Finding("caution", "Few leaks.", f"{found}; without them, {metric} is the same, {after}.")
    return Finding("bad", "Leaks.", f"{found}; without them, {metric} is {after} instead of {before}.")


def _own_group(run: Subject) -> list[Finding]:
    """Say what images of a query's own group are worth, where images have groups; see `Evaluator.score`."""
    facts = run.best.result.facts
    if not (found := facts.get("own_group")):
        return []
    counted = "without" if facts.get("exclude_group") else "with"
    text = (
        f"Recall@1 is {number(found['with'])} where a query may be answered by images of its own group, and "
        f"{number(found['without'])} where it may not (of {plural(found['queries'], 'query', 'queries')} that have "
        f"another group to find). The scores of this report are {counted} them."
    )
    return [Finding("open" if counted == "without" else "caution", "Own group.", text)]


def _imbalance(run: Subject) -> list[Finding]:
    """Give the means over species where species differ much in size."""
    best, metric = run.best.result, run.record.config.monitor
    if not (told := describe_imbalance(best)) or metric not in best.macro:
        return []
    values = ", ".join(
        f"{number(encoder.result.macro[metric])} ({encoder.name})"
        for encoder in run.encoders
        if metric in encoder.result.macro
    )
    text = f"{told}: means over queries are of the large ones. Each species counted equally, {metric} is {values}."
    return [Finding("caution", "Unequal species.", text)]


def _protocol(run: Subject) -> Finding:
    facts, result = run.best.result.facts, run.best.result
    protocol = _PROTOCOLS.get(str(facts.get("protocol", "")), "")
    title, _, rest = protocol.partition(". ")
    tested = (
        f"{plural(int(facts.get('queries', result.per_query.height)), 'query', 'queries')} of "
        f"{plural(int(facts.get('species', result.per_query['label'].n_unique())), 'species', 'species')}"
    )
    if facts.get("subset") != "test":
        return Finding("caution", "Not the test split.", f"{tested}. {rest}".strip())
    chosen = "all choices were made on the validation split" if run.is_trained else "nothing was chosen by them"
    return Finding("open", f"{title or 'Test'}.", f"{rest} {tested}; {chosen}.".strip())
