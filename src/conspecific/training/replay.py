"""Computing the loss of a batch once more in which training failed."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build
from conspecific.errors import RunError
from conspecific.runs.directory import RunDirectory
from conspecific.runs.open import check_parts
from conspecific.runs.record import read_config
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.parts import build_loss
from conspecific.training.random_states import restore_random_states
from conspecific.training.resume import read_checkpoint
from conspecific.training.trainer import build_trainer

NEEDED = ("epoch", "batch", "random_states", "class_of_label", "teacher_embeddings", "state_dict")


class Replayed(NamedTuple):
    """A failed step: its loss, a scalar, the module with the weights from before it, the batch, and the epoch, from 0.

    The step has added its batch to a cross-batch memory of the module.
    """

    loss: Tensor
    module: FineTuner
    batch: Mapping[str, Any]
    epoch: int


def replay_failed_batch(run: str | Path, allow: Sequence[str] = ()) -> Replayed:
    """Compute the loss in which the training of a run failed, from `checkpoints/failed_batch.pt`.

    The batch, the weights, the cross-batch memory and the random states are those of the failed step, so that the loss
    is equal to the last bit on the same machine and versions.

    allow: modules of the user's own that the run may be built from. Raises RunError where the run keeps no failed
    batch, or it is damaged, or of another model or loss.
    """
    directory = RunDirectory(Path(run).expanduser())
    config = copy.copy(read_config(directory))
    config.allow = list(allow)
    check_parts(directory, config, allow)
    stored = read_checkpoint(directory.failed_batch, NEEDED)
    trainer = build_trainer(config, logger=False, enable_checkpointing=False)
    device = trainer.strategy.root_device
    try:
        module = _module(config, stored).to(device)
        batch = {name: value.to(device) for name, value in stored["batch"].items()}
        restore_random_states(stored["random_states"])
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RunError(
            f"{directory.failed_batch} does not belong to the model and loss of its run: {reason}"
        ) from error
    with trainer.precision_plugin.forward_context():
        return Replayed(module.batch_loss(batch, stored["epoch"]), module, batch, stored["epoch"])


def _module(config: TrainConfig, stored: Mapping[str, Any]) -> FineTuner:
    embedder = build({**config.model, "weights": "none"}, "model", config.allow)
    classes = int(stored["class_of_label"].max()) + 1
    loss = build_loss(config, classes, embedder.loss_dimensions(config.loader.train_size))
    teacher, rows = None, stored["teacher_embeddings"]
    if rows is not None:  # of the images of the batch alone
        ids = stored["batch"]["index"]
        teacher = torch.zeros(int(ids.max()) + 1, rows.shape[1])
        teacher[ids] = rows
    module = FineTuner(embedder, loss, classes, recipe=config.recipe, teacher_embeddings=teacher)
    module.class_of_label = stored["class_of_label"]
    module.load_state_dict(stored["state_dict"])
    return module
