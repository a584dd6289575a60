"""A run decodes each image once for evaluation, takes it through the frozen stages once, and says where time went."""

import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import conspecific
from conspecific.data.dataset import EvaluationImages, Item
from conspecific.models import Backbone, FrozenStages

SMALL = (
    "data=folder",
    "loader.image_size=64",
    "loader.train_size=64",
    "loader.classes_per_batch=4",
    "loader.samples_per_class=2",
    "loader.workers=0",
    "recipe.cached_augmentations=0",
    "recipe.head_epochs=0",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "encode.backend=torch",
)


@pytest.mark.slow
def test_each_image_is_decoded_and_encoded_once(
    make_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    read: Counter[int] = Counter()
    passes: Counter[str] = Counter()
    decode, whole, frozen = EvaluationImages.__getitem__, Backbone.forward, FrozenStages.forward

    def reading(images: EvaluationImages, place: int) -> Item:
        read[int(images.ids[place])] += 1
        return decode(images, place)

    def through_all(backbone: Backbone, images: torch.Tensor) -> torch.Tensor:
        if images.shape[-1] == 64:  # the leak check has a size of its own
            passes["all stages"] += 0 if torch.is_grad_enabled() else len(images)
        return whole(backbone, images)

    def through_frozen(stages: FrozenStages, images: torch.Tensor) -> torch.Tensor:
        passes["frozen stages"] += len(images)
        return frozen(stages, images)

    monkeypatch.setattr(EvaluationImages, "__getitem__", reading)
    monkeypatch.setattr(Backbone, "forward", through_all)
    monkeypatch.setattr(FrozenStages, "forward", through_frozen)
    root = make_folder({f"species {letter}": 12 for letter in "abcd"}, size=(70, 64))
    folders = [f"data.root={root}", f"paths.cache={tmp_path / 'cache'}", f"paths.runs={tmp_path / 'runs'}"]
    logging_before = list(logging.getLogger().handlers), logging.getLogger().level
    run = conspecific.train([*SMALL, *folders])
    assert (logging.getLogger().handlers, logging.getLogger().level) == logging_before
    counts = run.counts
    assert counts.train + counts.val + counts.tested == 48
    assert read == {index: 1 for index in range(48)}
    assert run.directory.embedding_map.is_file(), "made of the same activations"
    assert run.start.keys() == run.epochs[0].metrics.keys(), "the metrics before training, on the same images"
    trainings = run.selection.folds + 1
    assert passes["frozen stages"] == 48
    blank = 2 * trainings + 1  # two tell the loss its dimensions, one whether the covariance within species is kept
    assert passes["all stages"] == blank
    assert trainings == 4, "three folds, and once more on all images"
    phases = {"reading", "encoding", "training", "scoring", "report"}
    assert run.cost.seconds.keys() == phases and sum(run.cost.seconds.values()) <= 60 * run.cost.minutes + 60
    assert json.loads(run.directory.summary.read_text())["seconds"] == run.cost.seconds
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Time: ")]
    assert line == f"Time: {run.cost}"
