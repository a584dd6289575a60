"""The loop that every encoding goes through."""

import gc
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from conspecific.data.dataset import EvaluationImages
from conspecific.data.sources import from_folder
from conspecific.evaluation.embed import embed
from conspecific.models import Backbone, Embedder, build_embedder, flatten_baseline, pooled_reference

embed_module = sys.modules["conspecific.evaluation.embed"]  # the package exports a function of the same name


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    return Backbone("resnet18", "none")


@pytest.fixture
def images(make_folder: Callable[..., Path]) -> EvaluationImages:
    manifest = from_folder(str(make_folder({"robin": 4, "wren": 5})))
    return EvaluationImages(manifest, [8, 0, 5, 3, 2, 7, 1], size=32)


@torch.inference_mode()
def one_by_one(embedder: Embedder, images: EvaluationImages) -> np.ndarray:
    embedder.eval()
    return np.concatenate([embedder(images[place]["image"][None]).numpy() for place in range(len(images))])


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("batch_size", [2, 3, 100])
def test_rows_follow_the_order_of_the_images(
    backbone: Backbone, images: EvaluationImages, batch_size: int, workers: int
) -> None:
    embedder = pooled_reference(backbone)
    [embeddings] = embed([embedder], images, batch_size=batch_size, workers=workers)
    assert embeddings.ids.tolist() == [8, 0, 5, 3, 2, 7, 1]
    assert embeddings.labels.tolist() == [1, 0, 1, 0, 0, 1, 0]
    assert embeddings.vectors.dtype == np.float32
    np.testing.assert_allclose(embeddings.vectors, one_by_one(embedder, images), atol=1e-5)


def test_embedders_share_one_pass_of_the_backbone(
    backbone: Backbone, images: EvaluationImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    plain = backbone.forward

    def counted(batch: Tensor) -> Tensor:
        seen.append(len(batch))
        return plain(batch)

    monkeypatch.setattr(backbone, "forward", counted)
    flatten, pooled = embed([flatten_baseline(backbone), pooled_reference(backbone)], images, batch_size=3)
    assert seen == [3, 3, 1]
    assert flatten.vectors.shape == pooled.vectors.shape == (7, 512)  # one position is left at 32 px
    np.testing.assert_allclose(
        pooled.vectors, flatten.vectors / np.linalg.norm(flatten.vectors, axis=1, keepdims=True), atol=1e-6
    )


def test_embedders_of_different_backbones_are_refused(backbone: Backbone, images: EvaluationImages) -> None:
    other = build_embedder("resnet18", "none", pooling="avg", head="none")
    with pytest.raises(AssertionError, match="share their backbone"):
        embed([pooled_reference(backbone), other], images)


def test_what_is_larger_than_the_limit_lies_in_a_file_that_leaves_with_it(
    backbone: Backbone, images: EvaluationImages, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    [in_memory] = embed([pooled_reference(backbone)], images)
    monkeypatch.setattr("conspecific.files.IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gc.collect()  # what others left open is not to be closed meanwhile
    before = open_files()
    [mapped] = embed([pooled_reference(backbone)], images)
    assert not isinstance(in_memory.vectors, np.memmap)
    assert isinstance(mapped.vectors, np.memmap)
    np.testing.assert_array_equal(mapped.vectors, in_memory.vectors)
    assert list(tmp_path.glob("conspecific-*")) == []
    assert maps_below(tmp_path) == 1
    del mapped
    gc.collect()
    assert maps_below(tmp_path) == 0
    assert open_files() == before


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def maps_below(folder: Path) -> int:
    """How many files of a folder are mapped into memory, deleted ones too."""
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("this system does not tell what is mapped")
    with open("/proc/self/maps") as lines:
        return sum(f"{folder}/conspecific-" in line for line in lines)


@pytest.mark.parametrize("training", [True, False])
def test_training_mode_is_left_as_it_was(images: EvaluationImages, training: bool) -> None:
    embedder = build_embedder(
        "resnet18", "none", pooling="avg", head="none", trainable_stages=1, freeze_norms=False
    ).train(training)
    before = {name: module.training for name, module in embedder.named_modules()}
    statistics = {name: buffer.clone() for name, buffer in embedder.named_buffers()}
    embed([embedder], images)
    assert {name: module.training for name, module in embedder.named_modules()} == before
    assert all(torch.equal(buffer, statistics[name]) for name, buffer in embedder.named_buffers())


def test_training_mode_is_restored_and_the_error_told_when_a_image_fails(images: EvaluationImages) -> None:
    embedder = build_embedder("resnet18", "none", pooling="avg", head="none", trainable_stages=None).train()
    images.manifest.path(3).write_bytes(b"")
    with pytest.raises(OSError, match="not an image"):
        embed([embedder], images, batch_size=2)
    assert embedder.training


def test_what_was_embedded_can_be_trained_after(images: EvaluationImages) -> None:
    embedder = build_embedder("resnet18", "none", "avg", "linear", dimensions=4, trainable_stages=None)
    embed([embedder], images)
    embedder.train().project(torch.stack([images[0]["image"], images[1]["image"]])).sum().backward()
    assert all(parameter.grad is not None for parameter in embedder.parameters())


def test_the_bar_is_gone_when_it_is_done(backbone: Backbone, images: EvaluationImages) -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    embed([pooled_reference(backbone)], images, title="Embedding birds", console=console)
    assert "Embedding birds" not in console.file.getvalue()  # type: ignore[attr-defined]
