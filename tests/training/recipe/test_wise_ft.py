"""WiSE-FT: weights between those before and those after fine-tuning."""

import pytest
import torch

from conspecific.models import build_embedder
from conspecific.training.recipe.wise_ft import interpolate


@pytest.mark.parametrize("alpha", [0.25, 0.75])
def test_interpolated_weights_are_between_start_and_fine_tuned(alpha: float) -> None:
    embedder = build_embedder("test_resnet", "none", head="linear", dimensions=3, trainable_stages=1)
    torch.nn.init.zeros_(embedder.head.bias)  # type: ignore[arg-type]
    start = {name: tensor.clone() for name, tensor in embedder.state_dict().items()}
    torch.nn.init.ones_(embedder.head.bias)  # type: ignore[arg-type]
    mixed = interpolate(embedder, start, alpha)
    assert mixed.head.bias.tolist() == [alpha] * 3  # type: ignore[operator]
    assert mixed.backbone.is_split, "cached activations of the frozen stages can be used"
    assert embedder.head.bias.tolist() == [1.0] * 3  # type: ignore[operator]
    assert start["head.bias"].tolist() == [0.0] * 3
