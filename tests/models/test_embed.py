"""Images of any kind to embeddings, with the model alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conspecific.data.dataset import EvaluationImages
from conspecific.data.sources import from_folder
from conspecific.errors import ConfigError, DataError, RunError
from conspecific.evaluation.embed import embed
from conspecific.models import Backbone, Embedder, pooled_reference


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    torch.manual_seed(0)
    found = pooled_reference(Backbone("resnet18", "none"))
    found.image_size = 32
    return found


@pytest.fixture
def paths(make_folder: Callable[..., Path]) -> list[Path]:
    return sorted(make_folder({"robin": 3, "wren": 4}).rglob("*.png"))


def test_paths_are_embedded_as_the_evaluation_embeds_them(embedder: Embedder, paths: list[Path]) -> None:
    manifest = from_folder(str(paths[0].parents[1]))
    images = EvaluationImages(manifest, np.arange(7), 32)
    [expected] = embed([embedder], images, batch_size=3, workers=1)
    found = embedder.embed(paths, batch_size=3, workers=2, device="cpu")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected.vectors)
    np.testing.assert_array_equal(embedder.embed((str(path) for path in paths), batch_size=3, device="cpu"), found)


def test_every_kind_of_image_gives_the_same(embedder: Embedder, paths: list[Path]) -> None:
    pixels = np.array(Image.open(paths[0]))
    channels_first = torch.from_numpy(pixels).permute(2, 0, 1)
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    kinds = [paths[0], str(paths[0]), Image.open(paths[0]), pixels, opaque, channels_first, channels_first / 255]
    found = embedder.embed(kinds, device="cpu")
    np.testing.assert_allclose(found, np.repeat(found[:1], len(kinds), axis=0), atol=1e-6)
    grey = pixels[:, :, 0]
    kinds = [grey, Image.fromarray(grey), torch.from_numpy(grey)[None], grey.astype(np.uint16) * 257, grey / 255]
    found = embedder.embed([kind.astype(np.float32) if kind is kinds[4] else kind for kind in kinds], device="cpu")
    np.testing.assert_allclose(found, np.repeat(found[:1], len(kinds), axis=0), atol=1e-6)


def test_sizes_mix_and_a_stack_is_a_sequence(embedder: Embedder) -> None:
    rng = np.random.default_rng(0)
    mixed = [rng.integers(0, 255, (*side, 3), np.uint8) for side in ((32, 32), (90, 33), (7, 200))]
    assert embedder.embed(mixed, batch_size=2).shape == (3, 512)
    stack = torch.rand(4, 3, 40, 40)
    assert embedder.embed(stack).shape == (4, 512)
    embedder.image_size = 64
    assert not np.allclose(embedder.embed(stack)[0], embedder.embed(stack[:, :, 4:36, 4:36])[0])
    embedder.image_size = 32


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["missing.jpg"], r"^missing\.jpg cannot be read as an image: no such file"),
        ([np.zeros((4, 4), np.uint8), None], "image 1 cannot be embedded: an image is a path, .*; found NoneType"),
        ([np.zeros((4, 4, 3))], r"an image array is uint8 .*; found float64 of shape \[4, 4, 3\]"),
        ([np.zeros((0, 4), np.uint8)], r"holds no pixels: its shape is \[0, 4\]"),
        ([np.zeros((4, 4), complex)], "of type complex128 cannot be read: use uint8"),
        ([torch.zeros(4, 4)], r"an image tensor has the shape \[3, H, W\] or \[1, H, W\]; found \[4, 4\]"),
        ([torch.full((3, 4, 4), 2.0)], r"a float image tensor has values in \[0, 1\]; found 2 to 2"),
        ([torch.full((3, 4, 4), torch.nan)], r"a float image tensor has values in \[0, 1\]; found nan"),
        ([], "there are no images to embed"),
        ("photo.jpg", r"for one image, give \[image\]"),
        (np.zeros((4, 4, 3), np.uint8), r"for one image, give \[image\]"),
    ],
)
def test_what_cannot_be_embedded_is_named(embedder: Embedder, images: object, message: str) -> None:
    embedder.train()
    with pytest.raises(DataError, match=message):
        embedder.embed(images, device="cpu")  # type: ignore[arg-type]
    assert embedder.training


def test_batch_size_and_device_are_checked(embedder: Embedder) -> None:
    with pytest.raises(DataError, match="batch_size must be 1 or more; found 0"):
        embedder.embed(torch.zeros(1, 3, 8, 8), batch_size=0)
    with pytest.raises(ConfigError, match="device=gpu cannot be used here"):
        embedder.embed(torch.zeros(1, 3, 8, 8), device="gpu")


def test_images_are_read_ahead_but_not_all_at_once(embedder: Embedder) -> None:
    read: list[int] = []

    def images() -> object:
        for number in range(40):
            read.append(number)
            yield np.zeros((8, 8), np.uint8)
            if number == 30:
                raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        embedder.embed(images(), batch_size=2)  # type: ignore[arg-type]
    assert read[-1] == 30


def test_embeddings_with_nan_are_refused(paths: list[Path]) -> None:
    damaged = pooled_reference(Backbone("resnet18", "none"))
    damaged.image_size = 32
    with torch.no_grad():
        next(damaged.parameters())[0] = float("nan")
    with pytest.raises(RunError, match=r"^3 of 3 embeddings hold NaN or Inf, the first that of image 1: the weights"):
        damaged.embed(paths, batch_size=3, device="cpu")
