"""One evaluation set-up: the same pictures, size and device for the baseline, every epoch and the final test."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from rich.console import Console

from conspecific.data.dataset import EvaluationPictures
from conspecific.data.manifest import Manifest
from conspecific.data.progress import progress_bar
from conspecific.data.splits import Part, Splits
from conspecific.errors import ConfigError
from conspecific.evaluation.embed import Activations, embed, frozen_activations
from conspecific.evaluation.evaluate import evaluate
from conspecific.models import Backbone, Embedder
from conspecific.types import EmbeddingSet, EvalResult, FloatArray, IntArray


@dataclass(frozen=True)
class Evaluator:
    """Embeds and scores the parts of one manifest.

    fingerprint: the manifest's, see `data.check.check_manifest`. image_size: side in pixels. workers: decoding threads.
    activations: part -> what the frozen stages make of its pictures, where they were computed once for all epochs.
    """

    manifest: Manifest
    splits: Splits
    fingerprint: str
    image_size: int
    workers: int
    device: torch.device
    console: Console
    activations: Mapping[str, FloatArray] = field(default_factory=dict)

    def part(self, name: str) -> Part:
        """The part called `val` or `test`."""
        if name not in ("val", "test"):
            raise ConfigError(f"part={name} is unknown. Known here: test, val.")
        found: Part = getattr(self.splits, name)
        return found

    def encoded_once(self, backbone: Backbone, name: str, ids: IntArray) -> "Evaluator":
        """The same, with what the frozen stages of this backbone make of some pictures computed for all epochs.

        name: val or test where they are that part's, or anything else to find them by. Only for embedders whose frozen
        stages are this backbone's. Where it cannot be cut, nothing changes.
        """
        if not backbone.is_cut:
            return self
        pictures, title = EvaluationPictures(self.manifest, ids, self.image_size), f"Encoding {name} once"
        found = frozen_activations(
            backbone, pictures, workers=self.workers, device=self.device, title=title, console=self.console
        )
        return replace(self, activations={**self.activations, name: found})

    def embed(
        self, embedders: Mapping[str, Embedder], ids: IntArray, title: str, activations: Activations | None = None
    ) -> dict[str, EmbeddingSet]:
        """Embed pictures with embedders that share a backbone; from its frozen stages' activations, where given."""
        pictures = EvaluationPictures(self.manifest, ids, self.image_size)
        found = embed(
            list(embedders.values()),
            pictures,
            workers=self.workers,
            device=self.device,
            title=title,
            console=self.console,
            activations=activations,
        )
        return dict(zip(embedders, found, strict=True))

    def score(self, embedders: Mapping[str, Embedder], part: str, title: str) -> dict[str, EvalResult]:
        """Embed a part once and score it under each embedder."""
        ids = self.part(part)
        facts = {"part": part, "protocol": self.splits.protocol, "image_size": self.image_size}
        found = self.embed(embedders, ids.ids, title, self.activations.get(part))
        with progress_bar(self.console) as progress:
            return {
                name: evaluate(found[name], ids, self.manifest, embedder.metric, {"name": name, **facts})
                for name, embedder in progress.track(embedders.items(), description="Searching")
            }


def workers_for(asked: int | None) -> int:
    """How many decoders to run: as asked, or one a core and eight at most."""
    return min(os.cpu_count() or 1, 8) if asked is None else asked


def device_for(asked: str) -> torch.device:
    """A torch device by name; `auto` takes a GPU where there is one. Raises ConfigError for one that is not here."""
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=asked).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device={asked} cannot be used here: {str(error).splitlines()[0]}") from error
