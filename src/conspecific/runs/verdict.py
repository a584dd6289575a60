"""Whether fine-tuning helped: one judgement, for the last lines of a run and for its report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from conspecific.evaluation import Difference
from conspecific.evaluation.tables import NAMES, format_interval
from conspecific.runs.record import RunRecord, SelectedWeights

Outcome = Literal["better", "worse", "no difference", "untrained"]
FEW_IMAGES, FEW_SPECIES = 20, 50  # training images a species, training species: below, more of them help most


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the kept encoder compares with the better reference on test, by the monitored metric.

    outcome: better or worse where the interval of the difference excludes zero; untrained where validation preferred
        the pooled reference to all else. reference: the better reference, flatten or pooled. kept: what was compared.
    """

    outcome: Outcome
    reference: str
    difference: Difference
    kept: SelectedWeights
    advice: str

    @property
    def claim(self) -> str:
        """The judgement as a clause without a full stop."""
        what = "Fine-tuning" if self.kept.is_trained else "The fitted head alone, on the frozen backbone,"
        return {
            "better": f"{what} helped",
            "worse": f"{what} did harm",
            "no difference": f"{what} made no difference that this test can show",
            "untrained": "Fine-tuning did not help",
        }[self.outcome]

    @property
    def reason(self) -> str:
        """Why nothing that was trained is kept, in a sentence; empty where `difference` is the reason."""
        kept = "On validation, no trained weights were better than the pooled reference, which is kept."
        return kept if self.outcome == "untrained" else ""

    def __str__(self) -> str:
        """Sentences with the values, the interval and, where fine-tuning did not help, what would."""
        found = self.difference
        evidence = (
            f"{found.metric} {found.other:.3f} -> {found.value:.3f}, {found.interval.mean:+.3f} "
            f"({format_interval(found.interval)}) against {NAMES[self.reference]}."
        )
        told = (
            f"{self.claim}: {self.reason[:1].lower()}{self.reason[1:]}" if self.reason else f"{self.claim}: {evidence}"
        )
        return f"{told} {self.advice}".rstrip()


def verdict(record: RunRecord) -> Verdict | None:
    """Judge a run; None where nothing was trained, or the record has no differences of the monitored metric."""
    found = over_better_reference(record.gains, record.config.monitor)
    if record.selection is None or found is None:
        return None
    reference, difference = found
    outcome = outcome_of(difference, record.selection)
    return Verdict(outcome, reference, difference, record.selection, "" if outcome == "better" else _advice(record))


def over_better_reference(gains: Mapping[str, Sequence[Difference]], metric: str) -> tuple[str, Difference] | None:
    """Return the reference with the higher value of a metric and the difference to it; None without that metric."""
    found = [(name, each) for name, differences in gains.items() for each in differences if each.metric == metric]
    return max(found, key=lambda pair: pair[1].other, default=None)


def outcome_of(difference: Difference, selection: SelectedWeights) -> Outcome:
    """Return what a difference to the better reference says of the kept weights."""
    if selection.pooled_reference:
        return "untrained"
    if difference.interval.holds_zero:
        return "no difference"
    return "better" if difference.interval.mean > 0 else "worse"


def _advice(record: RunRecord) -> str:
    """Say what is likely to help, from the number of images that it was trained on."""
    train = record.trained
    species = train["label"].n_unique()
    each = train.height / max(species, 1)
    more = []
    if each < FEW_IMAGES:
        more.append(f"more images of each species (training has {each:.0f})")
    if species < FEW_SPECIES and record.config.protocol == "unseen":
        more.append(f"more training species (there are {species})")
    if record.config.protocol == "unseen":
        more.append("training on the species you search for, if you have images of them (protocol=seen)")
    return f"What can help: {'; '.join(more) or 'another backbone, larger images or longer training'}."
