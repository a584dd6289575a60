"""What the report page is written from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from conspecific.evaluation.compare import Difference
from conspecific.leaks.record import Leaks
from conspecific.types import EvalResult


@dataclass(frozen=True, slots=True)
class Report:
    """Everything one run has to show.

    title: what was run, in a few words.
    facts: how it was run, label -> value, shown in the order given.
    flatten, pooled: the frozen backbone on the test subset: the baseline, and the pooled, normalised reference.
    model: the fine-tuned encoder on the test subset, or None for a run that only measured the two others.
    open_image: path as it stands in the results -> RGB image.
    epochs: one mapping an epoch: `epoch`, `loss`, and validation metrics by name.
    flatten_validation, pooled_validation: the two references' metrics on the validation subset.
    chosen_epoch, chosen_by: the epoch whose weights were kept, and the validation metric that chose it.
    wise_ft_alpha: of the way from the weights before training to that epoch's. whitening_refitted: whether the head
    was then whitened again. Both were chosen by the same metric.
    over_flatten, over_pooled: differences on the test subset, of the model (of `pooled` where there is no model).
    validation: the result of `best` on the validation subset, which a threshold is chosen on; None where there is none.
    leaks: the images found in more than one subset, None where nobody looked; leak_policy: what was done about them,
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
    def kept_epoch(self) -> int | None:
        """The epoch whose very weights were kept; None where there is none such."""
        return self.chosen_epoch if self.wise_ft_alpha == 1 else None

    @property
    def encoders(self) -> list[tuple[str, str, EvalResult]]:
        """Role, name and test result of each encoder, the baseline first."""
        found = [("baseline", "Baseline", self.flatten), ("pooled", "Pooled reference", self.pooled)]
        return found if self.model is None else [*found, ("model", "Fine-tuned", self.model)]

    @property
    def leaked(self) -> int:
        """How many queries have a copy that the encoder learnt from or was chosen on; 0 where those were dropped."""
        if self.leaks is None or self.leak_policy == "drop":
            return 0
        return int(self.best.per_query["id"].is_in(self.leaks.leaked_queries.tolist()).sum())

    @property
    def best(self) -> EvalResult:
        """The encoder the baseline is compared with: the model, or the pooled reference where there is none."""
        return self.pooled if self.model is None else self.model

    @property
    def best_name(self) -> str:
        """What the page calls `best`."""
        return "Pooled reference" if self.model is None else "Fine-tuned"

    @property
    def best_phrase(self) -> str:
        """What a sentence calls `best`."""
        return "the pooled reference" if self.model is None else "the fine-tuned encoder"
