"""What the sections of the report are built from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from conspecific.evaluation.compare import Difference
from conspecific.leaks.record import Leaks
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
    """One encoder's value in a table. before: a second value, shown less prominently before it."""

    encoder: Encoder
    text: str
    before: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything one run has to show.

    title: what was run, in a few words.
    facts: how it was run, label -> value, shown in the order given.
    flatten, pooled: the frozen backbone on the test split: the baseline, and the pooled, normalized reference.
    model: the fine-tuned encoder on the test split, or None for a run that only measured the two others.
    open_image: path as it stands in the results -> RGB image.
    epochs: one mapping an epoch: `epoch`, `loss`, and validation metrics by name.
    flatten_validation, pooled_validation: the two references' metrics on the validation split.
    chosen_epoch, chosen_by: the epoch whose weights were kept, and the validation metric that chose it.
    wise_ft_alpha: of the interpolation between the weights before training and that epoch's. whitening_refitted:
    whether the head's whitening was refitted afterwards. Both were chosen by the same metric.
    over_flatten, over_pooled: differences on the test split, of the model (of `pooled` where there is no model).
    validation: the result of `best` on the validation split, which a threshold is chosen on; None where there is none.
    leaks: the images found in more than one split, None without a leak check; leak_policy: what was done about them,
        'report' or 'drop'.
    command, config: the command line and the resolved configuration as YAML.
    """

    title: str
    facts: Mapping[str, Any]
    flatten: EvalResult
    pooled: EvalResult
    model: EvalResult | None
    open_image: Callable[[str], Image.Image]
    epochs: Sequence[Mapping[str, Any]] = ()
    flatten_validation: Mapping[str, float] = field(default_factory=dict)
    pooled_validation: Mapping[str, float] = field(default_factory=dict)
    chosen_epoch: int | None = None
    chosen_by: str = ""
    wise_ft_alpha: float = 1.0
    whitening_refitted: bool = False
    over_flatten: Sequence[Difference] = ()
    over_pooled: Sequence[Difference] = ()
    validation: EvalResult | None = None
    leaks: Leaks | None = None
    leak_policy: str = ""
    command: str = ""
    config: str = ""

    @property
    def selected_epoch(self) -> int | None:
        """The epoch whose weights are the run's, None where they are interpolated or nothing was trained."""
        return self.chosen_epoch if self.wise_ft_alpha == 1 else None

    @property
    def baseline(self) -> Encoder:
        """The pretrained backbone, its last feature map flattened."""
        return Encoder("baseline", "Baseline", "the baseline", self.flatten)

    @property
    def encoders(self) -> list[Encoder]:
        """The baseline, the pooled reference and, where something was trained, the fine-tuned encoder."""
        found = [self.baseline, Encoder("pooled", "Pooled reference", "the pooled reference", self.pooled)]
        if self.model is not None:
            found.append(Encoder("model", "Fine-tuned", "the fine-tuned encoder", self.model))
        return found

    @property
    def best(self) -> Encoder:
        """The encoder the baseline is compared with: the fine-tuned one, or else the pooled reference."""
        return self.encoders[-1]

    @property
    def is_trained(self) -> bool:
        """Whether the run trained an encoder."""
        return self.model is not None

    @property
    def leaked(self) -> int:
        """The number of queries with a copy in the train or validation split; 0 where the copies were dropped."""
        if self.leaks is None or self.leak_policy == "drop":
            return 0
        return int(self.best.result.per_query["id"].is_in(self.leaks.leaked_queries.tolist()).sum())
