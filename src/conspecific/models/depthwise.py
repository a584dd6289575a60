"""Depthwise convolutions that learn fast on a CPU."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_weight

SMALLEST_KERNEL = 5  # oneDNN's gradient of the weights of 3 x 3 kernels is fast
MOST_POSITIONS = 64  # of the output; on larger maps oneDNN's own gradient of the weights is faster
Pair = tuple[int, int]


def depthwise_convolution(images: Tensor, weight: Tensor, bias: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """Convolve each channel with a kernel of its own: [B, C, H, W], [C, 1, k, l] and [C] -> [B, C, h, w], float32.

    Output and gradients are those of `F.conv2d(..., groups=C)`. On maps of a few positions, oneDNN's gradients take
    twenty times as long as the convolution.
    """
    found: Tensor = _DepthwiseConvolution.apply(images, weight, bias, stride, padding)
    return found


class _DepthwiseConvolution(torch.autograd.Function):
    """Both gradients are depthwise convolutions themselves, which run as fast as the one forward.

    That of the images is of the gradient of the output by the mirrored kernels (Dumoulin and Visin 2016,
    arXiv:1603.07285, section 4); that of the weights is of the images by the gradient of the output, each image with a
    kernel of its own, taken as B x C channels of one image.
    """

    @staticmethod
    def forward(context: Any, images: Tensor, weight: Tensor, bias: Tensor, stride: Pair, padding: Pair) -> Tensor:
        context.save_for_backward(images, weight)
        context.stride, context.padding = stride, padding
        return F.conv2d(images, weight, bias, stride, padding, 1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        images, weight = context.saved_tensors
        of_images, of_weight, of_bias = context.needs_input_grad[:3]
        where = context.stride, context.padding
        return (
            _of_images(images, weight, gradient, *where) if of_images else None,
            _of_weight(images, weight, gradient, *where) if of_weight else None,
            gradient.sum(dim=(0, 2, 3)) if of_bias else None,
            None,
            None,
        )


def _of_images(images: Tensor, weight: Tensor, gradient: Tensor, stride: Pair, padding: Pair) -> Tensor:
    (batch, channels, *sides), kernel = images.shape, weight.shape[2:]
    missing = [side + 2 * pad - size for side, pad, size in zip(sides, padding, kernel, strict=True)]
    if max(stride) > 1:
        spread = gradient.new_zeros(batch, missing[0] + 1, missing[1] + 1, channels).permute(0, 3, 1, 2)
        spread[:, :, :: stride[0], :: stride[1]] = gradient
        gradient = spread
    around = kernel[0] - 1 - padding[0], kernel[1] - 1 - padding[1]
    return F.conv2d(gradient, weight.flip(2, 3), None, 1, around, 1, channels)


def _of_weight(images: Tensor, weight: Tensor, gradient: Tensor, stride: Pair, padding: Pair) -> Tensor:
    (batch, channels), (height, width) = images.shape[:2], weight.shape[2:]
    positions = gradient.shape[2] * gradient.shape[3]
    if min(height, width) < SMALLEST_KERNEL or positions > MOST_POSITIONS:
        found: Tensor = conv2d_weight(images, weight.shape, gradient, stride, padding, 1, channels)  # type: ignore[no-untyped-call]
        return found
    kernels = _as_channels(gradient).transpose(0, 1)
    of_each = F.conv2d(_as_channels(images), kernels, None, 1, padding, stride, batch * channels)
    of_each = of_each[0, :, :height, :width].permute(1, 2, 0)
    return of_each.reshape(height, width, batch, channels).sum(dim=2).permute(2, 0, 1)[:, None]


def _as_channels(images: Tensor) -> Tensor:
    """Return images [B, C, H, W] as one of B x C channels, [1, B * C, H, W], channels last."""
    batch, channels, height, width = images.shape
    return images.permute(2, 3, 0, 1).reshape(1, height, width, batch * channels).permute(0, 3, 1, 2)
