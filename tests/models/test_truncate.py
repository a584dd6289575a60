"""Searching with the first dimensions alone."""

import pytest
import torch
from torch import nn

from conspecific.models.embedder import Embedder


class Colours(nn.Module):
    """Stands for a backbone: eight channels, made of three."""

    prefix_tokens = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([images.float(), images.float() ** 2, images[:, :2].float() + 7], dim=1)


def embedder(normalize: bool) -> Embedder:
    pooling = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Embedder(Colours(), pooling, nn.Identity(), normalize, search_head=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("normalize", [True, False])
def test_the_first_dimensions_are_those_of_the_whole(normalize: bool) -> None:
    images = torch.randint(0, 255, (4, 3, 32, 32), dtype=torch.uint8)
    found = embedder(normalize)
    whole = found(images)
    found.truncate = 3
    first = found(images)
    assert whole.shape == (4, 8) and first.shape == (4, 3)
    expected = nn.functional.normalize(whole[:, :3]) if normalize else whole[:, :3]
    torch.testing.assert_close(first, expected)


def test_the_loss_sees_all_dimensions() -> None:
    found = embedder(True)
    found.truncate = 2
    assert found.project(torch.zeros(1, 3, 32, 32)).shape == (1, 8)
    assert found.loss_dimensions(32) == 8
