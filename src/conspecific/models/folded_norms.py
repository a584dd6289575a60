"""Convolutions that are trained with the frozen batch norm behind them folded in."""

import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.padding import pad_same
from torch import Tensor, fx, nn

from conspecific.models.depthwise import depthwise_convolution


class ConvNorm(nn.Module):
    """A convolution and the batch norm behind it, with the modules and thus the weights of the network.

    Where the statistics of the norm are kept, it is a factor and a summand of each channel, which are multiplied into
    the kernels and become the bias of the convolution: two passes over the feature map less, and three less backward.
    On a CPU, 1 x 1 convolutions are matrix products, which are faster there. Elsewhere, and where the norm learns its
    statistics, both modules are called as they are.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm
        self.is_pointwise = conv.kernel_size == conv.stride == (1, 1) and conv.groups == 1 and conv.padding == (0, 0)

    def forward(self, images: Tensor) -> Tensor:
        if self.norm.training or images.device.type != "cpu":
            found: Tensor = self.norm(self.conv(images))
            return found
        weight, bias = self._folded()
        if not self.is_pointwise:
            return self._activated(self._convolved(images, weight, bias))
        rows = images.permute(0, 2, 3, 1)
        found = F.linear(rows.flatten(0, 2), weight.flatten(1), bias)
        # activated before it is viewed as a map: in place on a view, autograd would copy it whole
        return self._activated(found).view(*rows.shape[:3], -1).permute(0, 3, 1, 2)

    def _activated(self, features: Tensor) -> Tensor:
        if isinstance(self.norm, BatchNormAct2d):  # timm's, which holds the activation
            features = self.norm.act(self.norm.drop(features))
        return features

    def _folded(self) -> tuple[Tensor, Tensor]:
        norm = self.norm
        assert norm.running_mean is not None and norm.running_var is not None, "_is_factor"
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        return self.conv.weight * scale.view(-1, 1, 1, 1), norm.bias - norm.running_mean * scale

    def _convolved(self, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        conv = self.conv
        padding = conv.padding
        if isinstance(conv, Conv2dSame):
            images, padding = pad_same(images, list(conv.kernel_size), list(conv.stride)), (0, 0)
        is_depthwise = conv.groups == conv.in_channels == conv.out_channels > 1
        if is_depthwise and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu"):
            return depthwise_convolution(images, weight, bias, conv.stride, padding)  # type: ignore[arg-type]
        return F.conv2d(images, weight, bias, conv.stride, padding, conv.dilation, conv.groups)


def fold_norms(stages: fx.GraphModule) -> None:
    """Join each convolution with the batch norm that alone follows it, in trained stages whose norms are frozen."""
    modules = dict(stages.named_modules())
    for node in list(stages.graph.nodes):
        if node.op != "call_module" or not isinstance(node.args[0], fx.Node):
            continue
        before, norm = node.args[0], modules[node.target]
        conv = modules.get(str(before.target)) if before.op == "call_module" else None
        if len(before.users) > 1 or not (_is_foldable(conv) and _is_factor(norm)):
            continue
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d), "both functions ask for them"
        name = f"{str(before.target).replace('.', '_')}_and_norm"
        stages.add_submodule(name, ConvNorm(conv, norm))
        with stages.graph.inserting_before(node):
            node.replace_all_uses_with(stages.graph.call_module(name, before.args))
        stages.graph.erase_node(node)
        stages.graph.erase_node(before)
    stages.recompile()


def _is_foldable(conv: nn.Module | None) -> bool:
    """Whether a module is a convolution that takes a factor and a summand of each channel of its output."""
    if type(conv) not in (nn.Conv2d, Conv2dSame):
        return False
    assert isinstance(conv, nn.Conv2d), "both types are"
    is_simple = conv.dilation == (1, 1) and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    return is_simple and conv.bias is None


def _is_factor(norm: nn.Module) -> bool:
    """Whether a module is a batch norm, which is a factor and a summand of each channel while its statistics stay."""
    is_kept = type(norm) in (nn.BatchNorm2d, BatchNormAct2d)
    return is_kept and norm.running_var is not None and norm.weight is not None
