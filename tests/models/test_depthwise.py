"""Depthwise convolutions that learn fast: the same output and gradients as torch's own."""

import copy

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from conspecific.models import build_embedder, depthwise
from conspecific.models.depthwise import DepthwiseConv2d, learn_depthwise_fast


def gradients(conv: nn.Module, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    images = images.clone().requires_grad_()
    output = conv(images)
    conv.zero_grad()
    (output * torch.arange(output.numel()).view_as(output).sin()).sum().backward()
    assert images.grad is not None and isinstance(conv.weight, Tensor) and conv.weight.grad is not None
    return output, images.grad, conv.weight.grad.clone()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (nn.Conv2d, {"kernel_size": 5, "padding": 2}),
        (nn.Conv2d, {"kernel_size": (5, 7), "stride": 2, "padding": (2, 3)}),
        (Conv2dSame, {"kernel_size": 5, "stride": 2}),
    ],
    ids=["5 x 5", "5 x 7 by 2", "same padding"],
)
@pytest.mark.parametrize("side", [5, 10], ids=lambda side: f"{side} px")
def test_output_and_gradients_are_those_of_torch(
    kind: type[nn.Conv2d], options: dict[str, int], side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    conv = kind(12, 12, groups=12, bias=False, **options)  # type: ignore[arg-type]
    images = torch.randn(3, 12, side, side).contiguous(memory_format=torch.channels_last)
    expected = gradients(conv, images)
    called = []
    monkeypatch.setattr(depthwise, "_as_channels", lambda x, own=depthwise._as_channels: called.append(1) or own(x))
    for found, wanted in zip(gradients(DepthwiseConv2d(conv), images), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert bool(called) == (side * side // conv.stride[0] ** 2 <= depthwise.MOST_POSITIONS)


def test_trained_stages_have_them_and_frozen_ones_do_not() -> None:
    embedder = build_embedder("tf_efficientnet_lite0", "none", trainable_stages=2)
    replaced = [module for module in embedder.modules() if isinstance(module, DepthwiseConv2d)]
    assert [tuple(module.weight.shape) for module in replaced] == [(672, 1, 5, 5)] + [(1152, 1, 5, 5)] * 3
    assert embedder.state_dict().keys() == build_embedder("tf_efficientnet_lite0", "none").state_dict().keys()


def test_a_copy_learns_weights_of_its_own() -> None:
    net = nn.Sequential(nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False))
    learn_depthwise_fast(net)
    other = copy.deepcopy(net)
    other(torch.randn(2, 4, 5, 5)).sum().backward()
    assert other[0].weight.grad is not None and net[0].weight.grad is None
