"""What the sections of the report are built from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from PIL import Image

from conspecific.evaluation.compare import Difference
from conspecific.reporting.page.answers import SHOWN
from conspecific.runs.names import data_name, loss_name
from conspecific.runs.record import RunRecord
from conspecific.runs.verdict import Verdict, verdict
from conspecific.types import EvalResult


@dataclass(frozen=True, slots=True)
class Encoder:
    """One of the encoders that a run scores on its test split.

    role: its color on the page: 'baseline', 'pooled' or 'model'. name: its name in tables. phrase: its name in a
    sentence.
    """

    role: str
    name: str
    phrase: str
    result: EvalResult

    @property
    def short(self) -> str:
        """Its name where there is little room."""
        return self.name.partition(" ")[0]


@dataclass(frozen=True, slots=True)
class Cell:
    """One encoder's value in a table.

    before: a second value, shown less prominently before it. verdict: 'better', 'worse' or 'unsure' than the better
    reference, which colors it; empty for a value that is not judged.
    """

    encoder: Encoder
    text: str
    before: str = ""
    verdict: str = ""


# Name in the record -> role, name and phrase of the encoder.
_ENCODERS = {
    "flatten": ("baseline", "Baseline", "the baseline"),
    "pooled": ("pooled", "Pooled reference", "the pooled reference"),
    "model": ("model", "Fine-tuned", "the fine-tuned encoder"),
}


@dataclass(frozen=True)
class Subject:
    """A finished run, and what several sections need to know of it.

    open_image: path as in the results of the run -> RGB image.
    """

    record: RunRecord
    open_image: Callable[[str], Image.Image]

    @property
    def title(self) -> str:
        """The name of the run: the last two folders of its path."""
        return f"{self.record.path.parent.name} / {self.record.path.name}"

    @property
    def made_of(self) -> tuple[str, ...]:
        """The names of the data set, the network and, where something was trained, the loss."""
        config = self.record.config
        names = data_name(config.data, self.record.counts.data_root), str(config.model["backbone"])
        return (*names, loss_name(config.loss)) if self.is_trained else names

    @cached_property
    def judged(self) -> Verdict | None:
        """How the kept encoder compares with the better reference; None where nothing can be compared."""
        return verdict(self.record)

    @property
    def is_trained(self) -> bool:
        """Whether the run trained an encoder."""
        return self.record.selection is not None

    @property
    def selected_epoch(self) -> int | None:
        """The epoch whose weights are the run's, None where they are interpolated or nothing was trained."""
        selection = self.record.selection
        return selection.chosen_epoch if selection and selection.is_trained and selection.wise_ft_alpha == 1 else None

    @property
    def encoders(self) -> list[Encoder]:
        """The baseline, the pooled reference and, where something was trained, the fine-tuned encoder."""
        named, selection = dict(_ENCODERS), self.record.selection
        if selection is not None and not selection.is_trained:
            named["model"] = "model", "Kept, untrained", "the kept encoder, which is not fine-tuned,"
        return [Encoder(*words, self.record.test[name]) for name, words in named.items() if name in self.record.test]

    @property
    def baseline(self) -> Encoder:
        """The pretrained backbone, its last feature map flattened."""
        return self.encoders[0]

    @property
    def best(self) -> Encoder:
        """The encoder that the baseline is compared with: the fine-tuned one, or else the pooled reference."""
        return self.encoders[-1]

    @property
    def rival(self) -> Encoder:
        """The reference with more hits among the ten nearest images: what the best encoder has to exceed."""
        metric = f"precision@{SHOWN}"
        return max(self.encoders[:-1], key=lambda encoder: encoder.result.metrics.get(metric, 0.0))

    @property
    def over_baseline(self) -> Sequence[Difference]:
        """The paired differences of the best encoder to the baseline."""
        return self.record.gains.get("flatten", ())

    @property
    def over_pooled(self) -> Sequence[Difference]:
        """The paired differences of the fine-tuned encoder to the pooled reference; empty where nothing was trained."""
        return self.record.gains.get("pooled", ())

    @property
    def leaked(self) -> int:
        """The number of queries with a duplicate in the train or validation split; 0 where these were dropped."""
        leaks = self.record.leaks
        if leaks is None or self.record.config.leaks == "drop":
            return 0
        return int(self.best.result.per_query["id"].is_in(leaks.leaked_queries.tolist()).sum())


def judge(difference: Difference) -> str:
    """Return 'better' or 'worse' where the deciding interval excludes zero, otherwise 'unsure'."""
    interval = difference.interval
    return "better" if interval.low > 0 else "worse" if interval.high < 0 else "unsure"
