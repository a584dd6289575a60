"""A running average of the weights, searched with in their place."""

from types import SimpleNamespace

import pytest
import torch
from pytorch_metric_learning.losses import ArcFaceLoss

from conspecific.config.schema import RecipeConfig
from conspecific.losses import MetricLoss
from conspecific.models import Embedder, build_embedder
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.optimizers import GroupedOptimizer
from conspecific.training.recipe.ema import running_average


def embedder_of(stages: int | None = 1) -> Embedder:
    torch.manual_seed(0)
    return build_embedder("test_resnet", "none", head="linear", dimensions=3, trainable_stages=stages)


def tuner(ema: float) -> FineTuner:
    embedder = embedder_of()
    optimizer = GroupedOptimizer(torch.optim.AdamW, 0.1, 0.2, 0.3, 0.0, 0.0)
    return FineTuner(embedder, MetricLoss(ArcFaceLoss, 2, 3), 2, optimizer=optimizer, recipe=RecipeConfig(ema=ema))


def test_the_average_is_that_of_the_formula() -> None:
    """By hand: the first step is taken as it is; after n steps min(decay, (1 + n) / (10 + n)) of it is kept."""
    embedder = embedder_of()
    average = running_average(embedder, decay=0.2)
    found = []
    for weight in (8.0, 4.0, 2.0, 1.0):
        with torch.no_grad():
            embedder.head.bias.fill_(weight)
        average.update_parameters(embedder)
        found.append(average.module.head.bias[0].item())
    second = 2 / 11 * 8 + 9 / 11 * 4  # 2 / 11 and then 3 / 12, which is above 0.2
    third = 0.2 * second + 0.8 * 2
    assert found == pytest.approx([8.0, second, third, 0.2 * third + 0.8 * 1])


def test_what_does_not_change_stays_to_the_bit_and_buffers_are_taken_over() -> None:
    embedder = embedder_of()
    average = running_average(embedder, decay=0.9)
    for step in range(5):
        with torch.no_grad():
            embedder.head.weight.add_(1)
            for name, buffer in embedder.named_buffers():
                if name.endswith("running_mean"):
                    buffer.fill_(step)
        average.update_parameters(embedder)
    assert torch.equal(average.module.head.bias, embedder.head.bias)
    frozen = dict(average.module.backbone.named_parameters())
    assert all(torch.equal(each, frozen[name]) for name, each in embedder.backbone.named_parameters())
    buffers = dict(average.module.named_buffers())
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in embedder.named_buffers())
    assert not torch.equal(average.module.head.weight, embedder.head.weight)


def test_the_average_is_searched_from_the_first_step_on() -> None:
    """Before it, the average knows nothing of what a whitened head was given as it began."""
    module = tuner(ema=0.5)
    assert module.average is not None
    assert module.eval_embedder is module.embedder
    module.average.update_parameters(module.embedder)
    assert module.eval_embedder is module.average.module
    assert module.eval_embedder.backbone.is_split
    assert not any(parameter.requires_grad for parameter in module.eval_embedder.parameters())
    assert any(parameter.requires_grad for parameter in module.embedder.parameters())
    assert tuner(ema=0.0).average is None


def test_the_average_is_no_business_of_the_optimizer_but_of_the_checkpoint() -> None:
    module = tuner(ema=0.5)
    module.trainer = SimpleNamespace(max_epochs=2, estimated_stepping_batches=4)  # type: ignore[assignment]
    optimizer = module.configure_optimizers()["optimizer"]  # type: ignore[index,call-overload]
    given = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    owned = [*module.embedder.parameters(), *module.loss.parameters()]
    assert given == {id(parameter) for parameter in owned if parameter.requires_grad}
    saved = module.state_dict()
    assert {"average.n_averaged", "average.module.head.weight", "embedder.head.weight"} <= saved.keys()
    with torch.no_grad():
        module.embedder.head.weight.fill_(3.0)
    assert module.average is not None
    module.average.update_parameters(module.embedder)
    other = tuner(ema=0.5)
    other.load_state_dict(module.state_dict())
    assert (other.eval_embedder.head.weight == 3.0).all(), "what was averaged is searched with after a resume, too"
