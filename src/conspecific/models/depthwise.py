"""Depthwise convolutions whose weights learn fast on a CPU."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input

SMALLEST_KERNEL = 5  # oneDNN's gradient of 3 x 3 kernels is fast
MOST_POSITIONS = 64  # of the output; on larger maps oneDNN's own gradient is faster


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution with the weights, output and gradients of the one it is made from.

    On a CPU, the gradient of large kernels on small maps is computed by `_DepthwiseConvolution`: oneDNN's takes twenty
    times as long as the convolution, a sixth of a training step of EfficientNet-Lite0's last two stages.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]  # the stubs of torch want a pair, and give a tuple
            stride=conv.stride,  # type: ignore[arg-type]
            padding=conv.padding,  # type: ignore[arg-type]
            groups=conv.groups,
            bias=False,
            device="meta",
        )
        self.weight = conv.weight
        self.same = isinstance(conv, Conv2dSame)

    def forward(self, input: Tensor) -> Tensor:
        padding = self.padding
        if self.same:
            input, padding = pad_same(input, list(self.kernel_size), list(self.stride)), (0, 0)
        if self._learns_on_cpu(input):
            found: Tensor = _DepthwiseConvolution.apply(input, self.weight, self.stride, padding)
            return found
        return F.conv2d(input, self.weight, None, self.stride, padding, 1, self.groups)

    def _learns_on_cpu(self, images: Tensor) -> bool:
        positions = images.shape[2] * images.shape[3] // (self.stride[0] * self.stride[1])
        is_plain = (
            images.device.type == "cpu" and images.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        )
        return is_plain and self.weight.requires_grad and torch.is_grad_enabled() and positions <= MOST_POSITIONS


class _DepthwiseConvolution(torch.autograd.Function):
    """[B, C, H, W] and [C, 1, k, l] -> [B, C, h, w].

    The gradient of the weights is a depthwise convolution itself: of the input by the gradient of the output, each
    image with a kernel of its own. Taken as B x C channels of one image, it runs as fast as other convolutions.
    """

    @staticmethod
    def forward(
        context: Any, images: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        context.save_for_backward(images, weight)
        context.stride, context.padding = stride, padding
        return F.conv2d(images, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        images, weight = context.saved_tensors
        of_images: Tensor | None = None
        if context.needs_input_grad[0]:
            size, groups = images.shape, len(weight)
            of_images = conv2d_input(size, weight, gradient, context.stride, context.padding, 1, groups)  # type: ignore[no-untyped-call]
        batch, channels = images.shape[:2]
        height, width = weight.shape[2:]
        kernels = _as_channels(gradient).transpose(0, 1)
        found = F.conv2d(_as_channels(images), kernels, None, 1, context.padding, context.stride, batch * channels)
        of_weight = found[..., :height, :width].reshape(batch, channels, height, width).sum(dim=0)
        return of_images, of_weight[:, None], None, None


def _as_channels(images: Tensor) -> Tensor:
    """Return images [B, C, H, W] as one of B x C channels, [1, B * C, H, W], channels last."""
    batch, channels, height, width = images.shape
    return images.permute(2, 3, 0, 1).reshape(1, height, width, batch * channels).permute(0, 3, 1, 2)


def learn_depthwise_fast(net: nn.Module) -> None:
    """Replace depthwise convolutions that are trained, where `DepthwiseConv2d` is made for them."""
    for name, module in list(net.named_modules()):
        if type(module) in (nn.Conv2d, Conv2dSame) and _is_eligible(module):
            net.set_submodule(name, DepthwiseConv2d(module))


def _is_eligible(conv: nn.Conv2d) -> bool:
    is_depthwise = conv.groups == conv.in_channels == conv.out_channels > 1 and conv.bias is None
    is_simple = tuple(conv.dilation) == (1, 1) and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    is_large = min(conv.kernel_size) >= SMALLEST_KERNEL
    return is_depthwise and is_simple and is_large and conv.weight.requires_grad
