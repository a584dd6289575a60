"""Images as tensors."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conspecific.data.dataset import AugmentedView, EvaluationImages, TrainingImages
from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_folder
from conspecific.images import center_crop, image_tensor


@pytest.fixture
def birds(make_folder: Callable[..., Path]) -> Manifest:
    return from_folder(str(make_folder({"robin": 3, "wren": 2}, size=(80, 60))))


def test_evaluation_item_is_a_square_with_its_label_and_sample_id(birds: Manifest) -> None:
    images = EvaluationImages(birds, [4, 1], size=32)
    assert len(images) == 2
    item = images[0]
    assert item["image"].shape == (3, 32, 32)
    assert item["image"].dtype == torch.uint8
    assert item["image"].is_contiguous()
    assert (item["index"].item(), item["label"].item()) == (4, 1)
    assert item["index"].dtype == item["label"].dtype == torch.int64
    assert images[1]["index"].item() == 1


def test_mirrored_evaluation_swaps_left_and_right(birds: Manifest) -> None:
    plain, mirrored = EvaluationImages(birds, [2], 16), EvaluationImages(birds, [2], 16, mirrored=True)
    assert torch.equal(mirrored[0]["image"], plain[0]["image"].flip(2))
    assert not torch.equal(mirrored[0]["image"], plain[0]["image"])


def test_evaluation_reads_images_from_anywhere_alike(birds: Manifest) -> None:
    image = EvaluationImages(birds, [3], size=32)[0]["image"]
    assert torch.equal(image, image_tensor(birds.path(3), 32))


@pytest.mark.parametrize("size", [(400, 100), (100, 400)])
def test_evaluation_shows_the_centre_and_cuts_the_longer_side(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "red")
    centre = tuple(side // 2 - 50 for side in size)
    image.paste("blue", (*centre, centre[0] + 100, centre[1] + 100))
    square = np.asarray(center_crop(image, 20))
    assert square.shape == (20, 20, 3)
    assert (square[2:-2, 2:-2] == [0, 0, 255]).all()


@pytest.mark.parametrize("size", [(33, 47), (47, 33), (224, 225), (1, 5), (224, 224)])
def test_evaluation_square_has_its_size_whatever_the_image(size: tuple[int, int]) -> None:
    assert center_crop(Image.new("RGB", size), 32).size == (32, 32)


def test_images_of_the_right_size_stay_as_they_are() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8))
    np.testing.assert_array_equal(np.asarray(center_crop(image, 48)), np.asarray(image))


def test_a_view_is_decided_by_sample_id_and_seed(birds: Manifest) -> None:
    first = TrainingImages(birds, (0.3, 1.0), 0.2)
    again = TrainingImages(birds, (0.3, 1.0), 0.2)
    torch.manual_seed(1)
    image = first[AugmentedView(2, 77, 32)]["image"]
    torch.manual_seed(2)
    again[AugmentedView(0, 5, 32)]
    assert torch.equal(image, again[AugmentedView(2, 77, 32)]["image"])


def test_views_differ_by_seed_and_by_image(birds: Manifest) -> None:
    images = TrainingImages(birds, (0.3, 1.0), 0.2)
    views = [images[AugmentedView(*view, 32)]["image"] for view in ((2, 77), (2, 78), (1, 77))]
    assert not torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


def test_making_views_leaves_the_random_numbers_of_others_alone(birds: Manifest) -> None:
    images = TrainingImages(birds, (0.3, 1.0), 0.2)
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    images[AugmentedView(0, 1, 32)]
    assert torch.equal(torch.rand(2), wanted)


def test_training_item_has_the_shape_of_an_evaluation_item(birds: Manifest) -> None:
    trained, evaluated = (
        TrainingImages(birds, (0.3, 1.0), 0.2)[AugmentedView(4, 0, 32)],
        EvaluationImages(birds, [4], 32)[0],
    )
    for key in ("image", "label", "index"):
        assert trained[key].shape == evaluated[key].shape  # type: ignore[literal-required]
        assert trained[key].dtype == evaluated[key].dtype  # type: ignore[literal-required]
    assert trained["label"] == evaluated["label"]
    assert trained["index"] == evaluated["index"]


def test_a_view_has_the_side_it_is_asked_for(birds: Manifest) -> None:
    images = TrainingImages(birds, (0.3, 1.0), 0.2)
    assert [images[AugmentedView(2, 7, side)]["image"].shape for side in (32, 48, 32)] == [
        (3, 32, 32),
        (3, 48, 48),
        (3, 32, 32),
    ]
