"""Depthwise convolutions that learn fast: the same output and gradients as torch's own."""

import pytest
import torch
import torch.nn.functional as F

from conspecific.models import depthwise
from conspecific.models.depthwise import depthwise_convolution


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        ((5, 5), (1, 1), (2, 2)),
        ((3, 3), (1, 1), (1, 1)),
        ((5, 7), (2, 2), (2, 3)),
        ((5, 5), (2, 2), (0, 0)),
        ((3, 3), (2, 1), (1, 0)),
    ],
    ids=str,
)
@pytest.mark.parametrize("side", [5, 10, 13], ids=lambda side: f"{side} px")
def test_output_and_gradients_are_those_of_torch(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    side: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    images = torch.randn(3, 12, side, side + 1).contiguous(memory_format=torch.channels_last)
    parts = [images, torch.randn(12, 1, *kernel), torch.randn(12)]
    given, own = ([part.clone().requires_grad_() for part in parts] for _ in range(2))
    called = []
    monkeypatch.setattr(depthwise, "_as_channels", lambda x, own=depthwise._as_channels: called.append(1) or own(x))
    expected = F.conv2d(given[0], given[1], given[2], stride, padding, 1, 12)
    found = depthwise_convolution(own[0], own[1], own[2], stride, padding)
    weights = torch.randn_like(expected)
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    torch.testing.assert_close(found, expected)
    for mine, theirs in zip(own, given, strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-4)
    positions = found.shape[2] * found.shape[3]
    assert bool(called) == (positions <= depthwise.MOST_POSITIONS and min(kernel) >= depthwise.SMALLEST_KERNEL)


def test_only_the_gradients_that_are_needed_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a gradient that nobody asked for")

    monkeypatch.setattr(depthwise, "_of_images", fail)
    monkeypatch.setattr(depthwise, "_of_weight", fail)
    bias = torch.zeros(4, requires_grad=True)
    depthwise_convolution(torch.ones(2, 4, 5, 5), torch.ones(4, 1, 3, 3), bias, (1, 1), (1, 1)).sum().backward()
    assert bias.grad is not None and bias.grad.tolist() == [50.0] * 4
