"""Convolutions with their frozen batch norm folded in: the same network, with the same weights."""

import copy

import pytest
import torch
from torch import Tensor, nn

from conspecific.models import build_embedder
from conspecific.models.backbone import Backbone
from conspecific.models.folded_norms import ConvNorm


def folded(backbone: Backbone) -> list[ConvNorm]:
    assert backbone._split is not None
    return [module for module in backbone._split.trained.modules() if isinstance(module, ConvNorm)]


def moved_norms(name: str, trainable_stages: int | None) -> Backbone:
    """A network of random weights whose norms do something, as those of a trained network do."""
    torch.manual_seed(0)
    backbone = build_embedder(name, "none", trainable_stages=trainable_stages).backbone
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return backbone.train()


def learnt(backbone: Backbone, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    backbone.zero_grad()
    found = backbone(images)
    (found * torch.arange(found.numel()).view_as(found).sin()).sum().backward()
    return found, {name: each.grad for name, each in backbone.named_parameters() if each.grad is not None}


@pytest.mark.parametrize(
    ("name", "trainable_stages", "count"),
    [("mobilenetv3_small_050", 2, 10), ("regnetx_002", None, 44), ("test_resnet", 1, 3), ("test_convnext", 1, 0)],
)
def test_output_and_gradients_are_those_of_the_network(name: str, trainable_stages: int | None, count: int) -> None:
    backbone, images = moved_norms(name, trainable_stages), torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    assert len(folded(backbone)) == count
    found, gradients = learnt(backbone, images)
    backbone._split = None
    expected, own = learnt(backbone, images)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert gradients.keys() == own.keys()
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, own[key], rtol=1e-2, atol=1e-3 * float(own[key].abs().max()), msg=key)


def test_the_weights_keep_their_names() -> None:
    plain = build_embedder("mobilenetv3_small_050", "none", trainable_stages=2, freeze_norms=False)
    joined = build_embedder("mobilenetv3_small_050", "none", trainable_stages=2)
    assert joined.state_dict().keys() == plain.state_dict().keys()
    assert folded(joined.backbone) and not folded(plain.backbone)


def test_a_copy_learns_weights_of_its_own() -> None:
    backbone = moved_norms("test_resnet", 1)
    other = copy.deepcopy(backbone)
    other(torch.zeros(1, 3, 64, 64)).sum().backward()
    assert folded(other)[0].conv.weight.grad is not None
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_a_norm_that_learns_its_statistics_is_called_as_it_is() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)
    images = torch.randn(2, 3, 5, 5)
    expected = copy.deepcopy(norm)(conv(images))
    torch.testing.assert_close(ConvNorm(conv, norm)(images), expected)
    assert int(norm.num_batches_tracked or 0) == 1
