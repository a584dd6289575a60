"""Random numbers that a training step draws, as a random miner or dropout does: the same for a step of a run, however
often the run was interrupted and whatever else drew some."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

RandomStates = Mapping[str, Any]


class SeedSteps(Callback):
    """Seeds the generators of torch, numpy and Python before each training step, from seed, epoch and step alone.

    A resumed run and one with another number of worker processes then draw what an uninterrupted one draws.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, place: int) -> None:
        seed = int(np.random.SeedSequence((self.seed, trainer.current_epoch, place)).generate_state(1)[0])
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)


def random_states() -> dict[str, Any]:
    """Return the states of the generators of torch, numpy, Python and each GPU, as tensors and plain containers."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "numpy": (name, torch.from_numpy(np.array(keys)), *rest),
        "python": random.getstate(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],  # type: ignore[no-untyped-call]
    }


def restore_random_states(states: RandomStates) -> None:
    """Set the generators to states that `random_states` returned. GPUs that this machine lacks are left out."""
    torch.set_rng_state(states["torch"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy(), *rest))
    random.setstate(states["python"])
    for device, state in list(enumerate(states["cuda"]))[: torch.cuda.device_count()]:
        torch.cuda.set_rng_state(state, device)
