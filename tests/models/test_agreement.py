"""Which regions of two images agree: an exact share of the similarity for each pair of cells, and the planted one."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.evaluation.why import why_picture
from conspecific.models import Embedder, build_embedder
from conspecific.models.agreement import agreement
from conspecific.models.class_probabilities import WithClassProbabilities
from conspecific.models.pooling import create_pooling


class Colours(nn.Module):
    """A backbone whose features are the mean colours of cells of 8 x 8 pixels."""

    name, prefix_tokens = "colours", 0

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(images.float() / 255, 8) * self.weight


def with_squares(*squares: tuple[int, int, int]) -> Tensor:
    """A black image with squares: (row, column, channel) of cells."""
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    for row, column, channel in squares:
        image[channel, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 255
    return image


@pytest.mark.parametrize("pooling", ["avg", "gem", "max"])
def test_the_cells_that_show_the_same_are_found(pooling: str) -> None:
    embedder: Any = Embedder(Colours(), create_pooling(pooling), nn.Identity(), normalize=True, search_head=False)  # type: ignore[arg-type]
    images = torch.stack([with_squares((1, 2, 0), (6, 6, 2)), with_squares((4, 5, 0), (0, 0, 1))])
    found = agreement(embedder, images)
    assert found.matches == (((1, 2), (4, 5)),)
    assert np.unravel_index(found.first.argmax(), (8, 8)) == (1, 2) and found.first[6, 6] < 0.01
    assert np.unravel_index(found.second.argmax(), (8, 8)) == (4, 5) and found.second[0, 0] < 0.01


@pytest.mark.parametrize(("pooling", "head"), [("avg", "linear"), ("gem", "whitened"), ("max", "none"), ("gem", "mlp")])
def test_the_pairs_of_cells_add_up_to_the_similarity(pooling: str, head: str) -> None:
    torch.manual_seed(0)
    embedder = build_embedder("test_resnet", "none", pooling=pooling, head=head, normalize=False).eval()
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    with torch.inference_mode():
        first, second = embedder(images)
    found = agreement(embedder, images)
    assert found.pairs.sum() == pytest.approx(float(first @ second), rel=1e-3)
    assert found.first.shape == (3, 3) and max(found.first.max(), found.second.max()) <= 1


def test_probabilities_of_species_change_no_region() -> None:
    torch.manual_seed(0)
    embedder = build_embedder("test_resnet", "none", head="linear", dimensions=8).eval()
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    plain = agreement(embedder, images)
    embedder.head = WithClassProbabilities(embedder.head, F.normalize(torch.randn(5, 8)))
    assert np.allclose(agreement(embedder, images).pairs, plain.pairs)


def test_tokens_of_a_transformer_are_cells_if_they_form_a_square(monkeypatch: pytest.MonkeyPatch) -> None:
    for pooling in ("cls", "avg"):
        embedder = build_embedder("test_vit", "none", pooling=pooling, head="none").eval()
        images = torch.randint(0, 256, (2, 3, 160, 160), dtype=torch.uint8)
        assert agreement(embedder, images).first.shape == (10, 10)
    monkeypatch.setattr(embedder.backbone, "prefix_tokens", 2)
    with pytest.raises(ConfigError, match="99 tokens an image, which form no square"):
        agreement(embedder, images)


def test_a_network_of_one_size_is_shown_images_of_that_size() -> None:
    embedder = build_embedder("test_vit", "none", pooling="avg", head="none")
    images = Image.new("RGB", (200, 180), "orange"), Image.new("RGB", (160, 300), "blue")
    picture = why_picture(embedder, images, 160, ("query", "a wren"))
    assert picture.width > 2 * 320 and picture.height > 320
