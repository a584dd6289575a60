"""The pooled reference of a run, to search with beside its model: the same network as it was before training."""

from pathlib import Path

from rich.console import Console

from conspecific.data.manifest import Manifest
from conspecific.errors import ConfigError
from conspecific.models import Backbone, Embedder, pooled_reference
from conspecific.models.weights import holds_pooled_reference, weights_identity
from conspecific.runs.open import OpenRun
from conspecific.types import EmbeddingSet


def embed_by_reference(
    opened: OpenRun, manifest: Manifest, folder: Path, console: Console
) -> tuple[Embedder, EmbeddingSet]:
    """Return the pooled reference, and the embeddings of all images of a checked manifest by it.

    folder: of the embeddings by the model; those by the reference are kept beside it.
    Raises ConfigError where the run kept the pooled reference itself, or its pretrained weights are not there.
    """
    if holds_pooled_reference(opened.weights):
        raise ConfigError("this run kept the pooled reference, and has no other model to compare it with")
    backbone, weights = str(opened.trained.model["backbone"]), str(opened.trained.model["weights"])
    if weights == "none":
        raise ConfigError("this run started from random weights (model.weights=none)")
    reference = pooled_reference(Backbone(backbone, weights))
    place = folder.with_name(f"{folder.name}_pooled_reference")
    identity = weights_identity(backbone, weights)
    return reference, opened.embedded(reference, identity, manifest, manifest.fingerprint(), place, console)


def embed_untrained(opened: OpenRun, console: Console) -> tuple[Manifest, EmbeddingSet]:
    """Check the images, and return them with their embeddings by the pooled reference of a run."""
    if holds_pooled_reference(opened.weights):
        _, manifest, embeddings = opened.embed_all(console)
        return manifest, embeddings
    manifest, fingerprint = opened.checked(console, scored=False)
    folder = opened.embeddings_folder(fingerprint, opened.encoder_facts()["weights"])
    return manifest, embed_by_reference(opened, manifest, folder, console)[1]
