"""The frozen stages' activations of augmented training pictures, computed once."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from conspecific.config.schema import TrainConfig
from conspecific.data.cached_views import CachedViews, cached_seed
from conspecific.data.dataset import Item, TrainingPictures, View
from conspecific.data.progress import progress_bar
from conspecific.errors import ConfigError
from conspecific.evaluation import Evaluator
from conspecific.evaluation.store import unnamed_file
from conspecific.models import Backbone
from conspecific.training.datamodule import Pictures

BATCH = 64


def cache_views(backbone: Backbone, pictures: Pictures, evaluator: Evaluator, config: TrainConfig) -> CachedViews:
    """Return `recipe.cached_views` views of each training picture, through the frozen stages, at each size of crops.

    They lie in the cache folder, in files without a name that go with the process. Raises ConfigError where no stage is
    frozen or the backbone cannot be cut.
    """
    views = config.recipe.cached_views
    if not backbone.is_cut:
        raise ConfigError(
            f"recipe.cached_views={views} needs frozen stages: set model.trainable_stages to a small number, or "
            f"recipe.cached_views=0 if torch.fx cannot cut {backbone.name}"
        )
    ids, folder = evaluator.splits.train, Path(config.paths.cache).expanduser()
    values = {}
    for size in sorted(set(pictures.sizes)):
        asked = [
            View(int(index), cached_seed(config.seed, view, int(index)), size) for view in range(views) for index in ids
        ]
        found = _encode(backbone, pictures.train_pictures, asked, evaluator, folder)
        values[size] = found.reshape(views, len(ids), *found.shape[1:])
    return CachedViews(evaluator.manifest, ids, values)


def _encode(
    backbone: Backbone, pictures: TrainingPictures, asked: list[View], evaluator: Evaluator, folder: Path
) -> NDArray[np.float16]:
    """What the frozen stages make of views, [len(asked), ...]."""
    batches = [asked[start : start + BATCH] for start in range(0, len(asked), BATCH)]
    loader: DataLoader[Item] = DataLoader(pictures, batch_sampler=batches, num_workers=evaluator.workers)
    device, done = evaluator.device, 0
    found: NDArray[np.float16] | None = None
    backbone.to(device)
    with torch.inference_mode(), progress_bar(evaluator.console) as progress:
        task = progress.add_task(f"Encoding views at {asked[0].size} px once", total=len(asked))
        for batch in loader:
            with torch.autocast(device.type, torch.bfloat16, enabled=_has_bf16(device)):
                block = backbone.activations(batch["image"].to(device)).half().cpu().numpy()
            if found is None:
                found = unnamed_file(folder, (len(asked), *block.shape[1:]), np.float16)
            found[done : done + len(block)] = block
            done += len(block)
            progress.update(task, completed=done)
    assert found is not None, "there are training pictures"
    return found


def _has_bf16(device: torch.device) -> bool:
    """Whether bfloat16, of which half precision keeps every digit, is faster here."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    supported: bool = torch.cpu._is_avx512_bf16_supported()
    return device.type == "cpu" and supported
