"""What a run can keep: all that exists once training is over."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

from torch import Tensor

from conspecific.config.schema import TrainConfig
from conspecific.evaluation import Evaluator
from conspecific.models import Embedder, pooled_reference
from conspecific.models.tensor_file import read_tensors, save_tensors
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import SelectedWeights
from conspecific.training.recipe.class_probabilities import add_class_probabilities
from conspecific.training.recipe.initialization import Heads
from conspecific.training.recipe.refit_whitening import can_refit, refit_whitening
from conspecific.training.recipe.wise_ft import interpolate

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Start:
    """The embedder before training: its weights, and those of untrained heads by the strength of their whitening."""

    weights: State
    heads: Mapping[float, State]

    @classmethod
    def of(cls, embedder: Embedder, heads: Heads) -> Self:
        """Copy the weights that an embedder has now."""
        weights = {name: tensor.detach().cpu().clone() for name, tensor in embedder.state_dict().items()}
        return cls(weights, {strength: head.state_dict() for strength, head in heads.items()})

    def save(self, run: RunDirectory) -> None:
        """Write them into the checkpoints of a run."""
        named = {f"{strength:g}/{name}": own for strength, state in self.heads.items() for name, own in state.items()}
        save_tensors(self.weights, run.start)
        if named:
            save_tensors(named, run.untrained_heads)

    @classmethod
    def load(cls, run: RunDirectory) -> Self:
        """Read what `save` wrote."""
        heads: dict[float, dict[str, Tensor]] = {}
        for name, tensor in (read_tensors(run.untrained_heads) if run.untrained_heads.is_file() else {}).items():
            strength, _, own = name.partition("/")
            heads.setdefault(float(strength), {})[own] = tensor
        return cls(read_tensors(run.start), heads)


@dataclass(frozen=True)
class Trained:
    """What training on some images made.

    ended: the embedder after the last of `epochs` epochs; before training where that is 0. best: the epoch with the
    best validation metric and its embedder, where there is a choice.
    """

    start: Start
    ended: Embedder
    epochs: int
    best: tuple[int, Embedder] | None = None

    @cached_property
    def before(self) -> Embedder:
        """The embedder before training."""
        before = copy.deepcopy(self.ended)
        before.load_state_dict(dict(self.start.weights))
        return before

    def embedder(self, kept: SelectedWeights, evaluator: Evaluator) -> Embedder:
        """Return the embedder that these words describe; `evaluator` has the training images, to fit what is fitted.

        Untrained ones share one backbone.
        """
        if kept.class_probabilities:
            without = self.embedder(replace(kept, class_probabilities=0.0), evaluator)
            return add_class_probabilities(without, evaluator, kept.class_probabilities)
        if kept.whitening_refitted:
            return refit_whitening(self.embedder(replace(kept, whitening_refitted=False), evaluator), evaluator)
        if kept.is_trained:
            if kept.wise_ft_alpha < 1:
                return interpolate(self.ended, self.start.weights, kept.wise_ft_alpha)
            return self.best[1] if self.best and self.best[0] == kept.chosen_epoch else self.ended
        before = self.before
        if kept.pooled_reference:
            return pooled_reference(before.backbone)
        if kept.whitening_strength is None:
            return before
        head = copy.deepcopy(before.head)
        head.load_state_dict(dict(self.start.heads[kept.whitening_strength]))
        return Embedder(before.backbone, before.pooling, head, before.normalize, before.search_head)


def candidates_of(trained: Trained, config: TrainConfig) -> Iterator[SelectedWeights]:
    """Yield what can be kept, that nearest the start first.

    It is the pooled reference; the embedder before training, with untrained heads of several strengths and with its
    own; the last epoch interpolated with it at each of `recipe.wise_ft_alphas`; the best and the last epoch.
    """
    if config.model.get("dimensions") is None and not config.recipe.matryoshka:  # else its dimensions are not as asked
        yield SelectedWeights(0, pooled_reference=True)
    for strength in sorted(trained.start.heads):
        yield SelectedWeights(0, whitening_strength=strength)
    yield SelectedWeights(0)
    if trained.epochs:
        for alpha in sorted(config.recipe.wise_ft_alphas):
            yield SelectedWeights(trained.epochs, alpha)
        if trained.best and trained.best[0] != trained.epochs:
            yield SelectedWeights(trained.best[0])
        yield SelectedWeights(trained.epochs)


def refitted(kept: SelectedWeights, trained: Trained, config: TrainConfig) -> SelectedWeights | None:
    """Return trained weights with their whitening refitted, None where `recipe.refit_whitening` or the head forbids."""
    if config.recipe.refit_whitening is False or not kept.is_trained or not can_refit(trained.ended):
        return None
    return replace(kept, whitening_refitted=True)
