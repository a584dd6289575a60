"""From a feature map [B, C, H, W] to one vector an image."""

from typing import get_args

import torch
from torch import Tensor, nn

from conspecific.config.choices import PoolingName, check_choice


class GeM(nn.Module):
    """Generalised mean pooling, (mean of x^p)^(1/p) with a learnt p (Radenovic et al. 2018): [B, C, H, W] -> [B, C].

    It begins at 2 where the paper has 3: between the mean and what frozen features were best at (docs/log.md).
    """

    def __init__(self, p: float = 2.0, floor: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p))
        self.floor = floor

    def forward(self, features: Tensor) -> Tensor:
        clamped = features.clamp(min=self.floor)
        if self.p.requires_grad and torch.is_grad_enabled():
            # by logarithms: the gradient of a power whose exponent is learnt takes four times as long
            powers = (clamped.float().log() * self.p).exp()
        else:
            powers = clamped.pow(self.p)
        return powers.mean(dim=(2, 3)).pow(1 / self.p)


class Average(nn.Module):
    """Mean over positions: [B, C, H, W] -> [B, C]."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean(dim=(2, 3))


class Maximum(nn.Module):
    """Maximum over positions: [B, C, H, W] -> [B, C]."""

    def forward(self, features: Tensor) -> Tensor:
        return features.amax(dim=(2, 3))


class ClassToken(nn.Module):
    """The class token of a transformer, which is the first of its tokens: [B, C, P + N, 1] -> [B, C]."""

    def forward(self, features: Tensor) -> Tensor:
        return features[:, :, 0, 0]


POOLINGS: dict[str, type[nn.Module]] = {
    "flatten": nn.Flatten,
    "avg": Average,
    "max": Maximum,
    "gem": GeM,
    "cls": ClassToken,
}


def create_pooling(name: str) -> nn.Module:
    """Return a pooling by name. `flatten` keeps every position: [B, C, H, W] -> [B, C * H * W]."""
    check_choice("model.pooling", name, get_args(PoolingName))
    return POOLINGS[name]()
