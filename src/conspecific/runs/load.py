"""Open a trained embedder in Python."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import TrainConfig, UseConfig
from conspecific.errors import RunError
from conspecific.models import Embedder
from conspecific.models.encode import device_for
from conspecific.runs.open import open_run


def load(
    path: str | os.PathLike[str],
    *,
    model: str | Sequence[str] | None = None,
    image_size: int | None = None,
    device: str = "auto",
    truncate: int | None = None,
) -> Embedder:
    """Return the embedder of a run, or of a weights file, in evaluation mode.

    path: a run directory, or a .safetensors file of an embedder's weights together with `model`. Of a run that was
        interrupted, the weights of its best epoch so far are taken, with a warning.
    model: what the weights belong to: a name of `configs/model/`, or overrides as `conspecific train` takes them.
    image_size: side in pixels of the square that images are cropped to; None takes that of the run's evaluation.
    device: a torch device; auto takes a GPU if there is one.
    truncate: use only that many of the first dimensions, for embedders trained for it (Matryoshka, Kusupati et al.
        2022, arXiv:2205.13147).

    Raises ValueError (RunError, ConfigError) if `path` is neither, a run has no weights, the weights do not fit, the
    model or device is unknown, or the embeddings have fewer than `truncate` dimensions.

    >>> from tempfile import TemporaryDirectory
    >>> from conspecific.models import build_embedder
    >>> from conspecific.models.weights import save_weights
    >>> with TemporaryDirectory() as folder:
    ...     weights = Path(folder) / "weights.safetensors"
    ...     save_weights(build_embedder("test_resnet", "none", head="none"), weights)
    ...     embedder = load(weights, model=["model=timm", "model.backbone=test_resnet", "model.head=none"], truncate=8)
    >>> from PIL import Image
    >>> embedder.embed([Image.new("RGB", (64, 48), "orange")]).shape
    (1, 8)
    """
    place = Path(path).expanduser()
    if model is None:
        if place.is_file():
            raise RunError(f"{path} is a file: say what its weights belong to, as model='efficientnet_lite0'")
        config = UseConfig(run=str(place), image_size=image_size, truncate=truncate)
    else:
        overrides = [f"model={model}"] if isinstance(model, str) else list(model)
        composed = typed(compose_config("train", overrides), TrainConfig)
        size = image_size or composed.loader.image_size
        config = UseConfig(weights=str(place), model=composed.model, data={}, image_size=size, truncate=truncate)
    opened = open_run(config)
    if opened.caution:
        warnings.warn(opened.caution, stacklevel=2)
    opened.embedder.image_size = opened.image_size
    return opened.embedder.eval().to(device_for(device))
