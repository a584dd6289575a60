"""The covariance of a run's embeddings within species, which `refine.wiener` takes for noise."""

import torch

from conspecific.config.refine import RefineConfig
from conspecific.errors import ConfigError
from conspecific.evaluation import Evaluator
from conspecific.files import sha256_of
from conspecific.index.wiener import within_covariance
from conspecific.models import Embedder
from conspecific.models.tensor_file import read_metadata, read_tensors, save_tensors
from conspecific.runs.directory import RunDirectory
from conspecific.runs.open import OpenRun
from conspecific.types import FloatArray

MOST = 4096  # dimensions: the file takes 64 MiB then
COVARIANCE, WEIGHTS = "covariance", "weights"  # the tensor, and the SHA-256 of the weights it belongs to


def write_within_species(run: RunDirectory, embedder: Embedder, evaluator: Evaluator) -> None:
    """Embed the training images of an evaluator, and write their covariance within species beside the weights.

    embedder: as it was saved in `run.weights`. Nothing is written for more than MOST dimensions, or where no species
    has two images.
    """
    side, device = evaluator.image_size, next(embedder.parameters()).device
    with torch.inference_mode():
        if embedder.eval()(torch.zeros(1, 3, side, side, device=device)).shape[1] > MOST:
            return
    found = evaluator.embed_training(embedder, "Embedding the training images")
    covariance = within_covariance(found.vectors, found.labels)
    if covariance is not None:
        weights = {WEIGHTS: sha256_of(run.weights)}
        save_tensors({COVARIANCE: torch.from_numpy(covariance)}, run.within_species, weights)


def read_within_species(opened: OpenRun) -> FloatArray | None:
    """Return the covariance [D, D] float32 of a run's embeddings; None where it has none of these embeddings.

    Raises ConfigError where the file is damaged.
    """
    run = opened.run
    if run is None or opened.weights != run.weights or opened.embedder.truncate is not None:
        return None
    file = run.within_species
    if not file.is_file() or read_metadata(file).get(WEIGHTS) != sha256_of(run.weights):
        return None
    covariance = read_tensors(file).get(COVARIANCE)
    if covariance is None or covariance.dtype != torch.float32 or covariance.ndim != 2:
        raise ConfigError(f"{file} holds no covariance in float32: restore it from a copy")
    if covariance.shape[0] != covariance.shape[1] or not covariance.isfinite().all():
        raise ConfigError(f"{file} holds {tuple(covariance.shape)} values, or some that are not finite: restore it")
    found: FloatArray = covariance.numpy()
    return found


def asked_within_species(opened: OpenRun, refine: RefineConfig) -> FloatArray | None:
    """Return what `read_within_species` returns; None where `refine` does without. Raises ConfigError for none."""
    if not refine.wiener:
        return None
    if (found := read_within_species(opened)) is None:
        place = opened.weights if opened.run is None else opened.run.path
        raise ConfigError(
            f"refine.wiener needs how embeddings vary within a species, and {place} does not have it for these: a run "
            f"writes {RunDirectory(place).within_species.name} at the end of training, where a species has two "
            f"training images and embeddings have at most {MOST:,} dimensions, and it is not for truncated ones. Train "
            "again with this version, or leave refine.wiener out"
        )
    return found
