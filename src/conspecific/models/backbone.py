"""The pretrained network up to its last feature map."""

from collections.abc import Iterator
from typing import Any

import torch
from timm.models import group_parameters
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.models.folded_norms import fold_norms
from conspecific.models.networks import is_pooled_by_class_token
from conspecific.models.stage_split import StageSplit, split_at_frozen, used_parameters
from conspecific.models.weights import open_backbone


class FrozenStages(nn.Module):
    """The frozen stages of a backbone as a network of their own, without the trained ones.

    forward: unnormalised images [B, 3, H, W] -> activations, as `Backbone.activations` gives them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: "Backbone") -> None:
        super().__init__()
        assert backbone._split is not None and backbone._split.frozen is not None, "the caller asks is_split"
        self.stages = backbone._split.frozen
        self.register_buffer("mean", backbone.mean, persistent=False)
        self.register_buffer("std", backbone.std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.stages(_normalised(images, self.mean, self.std))
        return found


class Backbone(nn.Module):
    """A timm model from unnormalised images to its last feature map.

    forward: uint8 [B, 3, H, W], or float in [0, 1], -> [B, C, h, w]. The tokens of a transformer become
    [B, C, P + N, 1]: the P `prefix_tokens` that belong to no position, such as the class token, then the N positions.
    origin: where its pretrained weights come from, None where that is not known.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, weights: str) -> None:
        super().__init__()
        self.name = name
        self.net: Any  # timm models differ in what they offer beyond nn.Module
        self.net, self.origin = open_backbone(name, weights)
        config = self.net.pretrained_cfg
        for moment in ("mean", "std"):
            self.register_buffer(moment, torch.tensor(config[moment]).view(1, 3, 1, 1), persistent=False)
        self.channels = int(self.net.num_features)
        self.prefix_tokens = int(getattr(self.net, "num_prefix_tokens", 0))
        self.frozen_norms = False
        self._split: StageSplit | None = None
        self.to(memory_format=torch.channels_last)  # the faster layout for convolutions, on CPU and GPU

    def forward(self, images: Tensor) -> Tensor:
        return self.feature_map(_normalised(images, self.mean, self.std))

    def feature_map(self, normalized: Tensor) -> Tensor:
        """Return the last feature map of images [B, 3, H, W] float32 that `mean` and `std` have normalised.

        Raises ConfigError where the network takes images of another size only.
        """
        try:
            if self.training and self._split is not None:  # the trained stages have their norms folded in
                frozen = self._split.frozen
                return self._as_map(self._split.trained(frozen(normalized) if frozen else normalized))
            return self._as_map(self.net.forward_features(normalized))
        except torch.OutOfMemoryError:
            raise
        except (AssertionError, RuntimeError) as error:  # how networks of a fixed size refuse others
            reason = str(error).partition("\n")[0]
            raise ConfigError(
                f"{self.name} does not take images of {normalized.shape[-1]} px, as loader.image_size or train_size "
                f"has them: {reason}"
            ) from error

    @property
    def has_class_token(self) -> bool:
        """Whether the first token is a class token, which `model.pooling=cls` takes."""
        found = getattr(self.net, "has_class_token", getattr(self.net, "cls_token", None) is not None)
        return bool(found) and self.prefix_tokens > 0

    @property
    def is_pooled_by_class_token(self) -> bool:
        """Whether timm embeds an image by the class token, as for most ViTs, DINOv2 and CLIP among them."""
        return self.has_class_token and is_pooled_by_class_token(self.name)

    @property
    def is_split(self) -> bool:
        """Whether `activations` and `forward_tail` can be called: stages are frozen, and torch.fx can split the
        network behind them."""
        return self._split is not None and self._split.frozen is not None

    def activations(self, images: Tensor) -> Tensor:
        """Return the output of the frozen stages for images [B, 3, H, W]; training does not change it."""
        found: Tensor = FrozenStages(self)(images)
        return found

    @torch.inference_mode()
    def activation_size(self, side: int) -> int:
        """Return how many numbers `activations` gives for an image of this side, in pixels."""
        assert self._split is not None and self._split.frozen is not None, "the caller asks is_split"
        training = self.training
        self.eval()
        found: Tensor = self._split.frozen(torch.zeros(1, 3, side, side, device=self.mean.device))
        self.train(training)
        return found.numel()

    def forward_tail(self, activations: Tensor) -> Tensor:
        """Return the last feature map from the output of `activations`, equal to that of `forward`."""
        assert self._split is not None, "the caller asks is_split"
        return self._as_map(self._split.trained(activations))

    def _as_map(self, features: Tensor) -> Tensor:
        if features.ndim == 3:
            return features.transpose(1, 2).unsqueeze(-1)
        if getattr(self.net, "output_fmt", "NCHW") == "NHWC":
            return features.permute(0, 3, 1, 2)
        return features

    def stages(self) -> list[list[nn.Parameter]]:
        """Return the parameters of each stage, the first stage first, grouped as timm does for layer-wise learning
        rates.

        Parameters that the feature map does not depend on are left out: they would be a last stage that never learns.
        Raises ConfigError if timm defines no stages for the network.
        """
        try:
            matcher = self.net.group_matcher(coarse=True)
        except (AttributeError, AssertionError) as error:
            raise ConfigError(
                f"timm names no stages for {self.name}: set model.trainable_stages=null to train it all"
            ) from error
        named, used = dict(self.net.named_parameters()), {id(parameter) for parameter in used_parameters(self.net)}
        groups = group_parameters(self.net, matcher)
        stages = [[named[name] for name in groups[key] if id(named[name]) in used] for key in sorted(groups)]
        return [stage for stage in stages if stage]

    def freeze(self, trainable_stages: int | None, norms: bool) -> None:
        """Train the last `trainable_stages` stages only (None: all); keep batch-norm statistics if `norms`.

        Autograd records nothing before the first trainable stage, so frozen stages cost only their forward pass.
        """
        self.requires_grad_(trainable_stages is None)
        if trainable_stages is not None:
            if trainable_stages < 0:
                raise ConfigError(f"model.trainable_stages must be 0 or more (null: all); found {trainable_stages}")
            stages = self.stages()
            if trainable_stages > len(stages):
                raise ConfigError(
                    f"model.trainable_stages={trainable_stages} is more than the {len(stages)} stages of {self.name}: "
                    "set model.trainable_stages=null to train all of it"
                )
            for parameters in stages[len(stages) - trainable_stages :]:
                for parameter in parameters:
                    parameter.requires_grad_(True)
        self.frozen_norms = norms
        training = self.training
        self.eval()  # so that the trace holds no random layers of training mode
        # split here and not on first use: a copy for averaging is frozen whole and must keep this split
        self._split = split_at_frozen(self.net)
        if self._split is not None and norms:
            fold_norms(self._split.trained)
        self.train(training)

    def _apply(self, fn: Any, recurse: bool = True) -> "Backbone":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self._split is not None:  # it holds buffers of its own, which must be on the network's device too
            for part in (self._split.frozen, self._split.trained):
                if part is not None:
                    part._apply(fn)  # type: ignore[no-untyped-call]
        return self

    def train(self, mode: bool = True) -> "Backbone":
        super().train(mode)
        for norm in self._norms_to_keep():
            norm.eval()
        if self._split is not None and self._split.frozen is not None:
            self._split.frozen.eval()  # frozen stages drop no layers at random
        return self

    def _norms_to_keep(self) -> Iterator[nn.Module]:
        """Yield the batch norms whose statistics stay: all if `frozen_norms`, else those of frozen stages."""
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                frozen = module.weight is not None and not module.weight.requires_grad
                if self.frozen_norms or frozen:
                    yield module


def _normalised(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    pixels = images.float() / 255 if images.dtype == torch.uint8 else images
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
